package main

import (
	"strings"
	"testing"
)

func TestASizeIsANumberOrAuto(t *testing.T) {
	const suitable = 48 << 20
	for text, want := range map[string]struct {
		bytes int64
		shown string
	}{
		"auto": {suitable, "auto"}, "0": {0, "0"}, "0B": {0, "0"},
		"1KB": {1 << 10, "1KiB"}, "100MB": {100 << 20, "100MiB"}, "1GiB": {1 << 30, "1GiB"},
	} {
		b := &autoBytes{flag: "some.size", bytes: 7}
		if err := b.Set(text); err != nil || b.or(suitable) != want.bytes || b.String() != want.shown {
			t.Errorf("%s is %d bytes, shown as %s, %v; want %d, shown as %s", text, b.or(suitable), b, err, want.bytes,
				want.shown)
		}
		again := &autoBytes{flag: "some.size"}
		if err := again.Set(b.String()); err != nil || *again != *b {
			t.Errorf("%s is shown as %s, which is read as %+v, %v", text, b, again, err)
		}
	}
	for _, text := range []string{"", "-1", "many", "-5MB", "1000", "5%"} {
		b := &autoBytes{flag: "some.size", bytes: 7}
		if err := b.Set(text); err == nil || b.bytes != 7 || !strings.Contains(err.Error(), "--some.size="+text) {
			t.Errorf("%q is read as %d, %v", text, b.bytes, err)
		}
	}
}
