package main

import (
	"strings"
	"testing"
)

func TestMinFreeIsASizeOrAuto(t *testing.T) {
	for text, want := range map[string]minFree{"auto": 0, "0": -1, "0B": -1, "500MB": 500 << 20, "1GB": 1 << 30} {
		m := minFree(7)
		if err := m.Set(text); err != nil || m != want {
			t.Errorf("%s is read as %d, %v; want %d", text, m, err, want)
		}
		var again minFree
		if err := again.Set(m.String()); err != nil || again != m {
			t.Errorf("%s is shown as %s, which is read as %d, %v", text, m.String(), again, err)
		}
	}
	for _, text := range []string{"", "much", "-5MB", "5%", "500"} {
		m := minFree(7)
		if err := m.Set(text); err == nil || m != 7 || !strings.Contains(err.Error(), "--storage.min-free="+text) {
			t.Errorf("%q is read as %d, %v", text, m, err)
		}
	}
}
