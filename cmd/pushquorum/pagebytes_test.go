package main

import "testing"

func TestPagesTakeAShareOfTheMemory(t *testing.T) {
	for _, row := range []struct{ flag, available, want int64 }{
		{0, 256 << 20, 64 << 20},
		{1 << 20, 256 << 20, 1 << 20},
		{0, 0, 0},
	} {
		if got := maxPageBytes(row.flag, row.available); got != row.want {
			t.Errorf("--web.max-page-bytes=%d of %d: got %d, want %d", row.flag, row.available, got, row.want)
		}
	}
}
