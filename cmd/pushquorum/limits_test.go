package main

import "testing"

func TestTheStateMayTakeAShareOfTheMemory(t *testing.T) {
	for memory, want := range map[int64]int64{0: 0, 64 << 20: 8 << 20, 128 << 20: 16 << 20, 256 << 20: 48 << 20, 4 << 30: 1008 << 20} {
		if got := stateShare(memory); got != want {
			t.Errorf("of %d MiB the state may take %d bytes, want %d", memory>>20, got, want)
		}
	}
}

func TestTheLimitOfTheStateIsReadFromTheFlag(t *testing.T) {
	const memory = 256 << 20
	for text, want := range map[string]struct {
		limit int64
		shown string
	}{"0": {48 << 20, "0"}, "off": {0, "off"}, "100MB": {100 << 20, "100MiB"}, "1KB": {1 << 10, "1KiB"}, "1GiB": {1 << 30, "1GiB"}} {
		var s stateBytes
		if err := s.Set(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got := s.limit(memory); got != want.limit || s.String() != want.shown {
			t.Errorf("%s is %d bytes, shown as %s; want %d, shown as %s", text, got, s.String(), want.limit, want.shown)
		}
	}
	for _, text := range []string{"", "-1", "many", "-5MB", "1000"} {
		if err := new(stateBytes).Set(text); err == nil {
			t.Errorf("%q is taken for a size", text)
		}
	}
}
