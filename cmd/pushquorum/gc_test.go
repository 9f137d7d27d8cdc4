package main

import "testing"

func TestALargeHeapGrowsByAPartOfItsSizeAndASmallOneByMore(t *testing.T) {
	for _, row := range []struct {
		live uint64 // MiB
		want int
	}{{0, 400}, {1, 400}, {16, 400}, {32, 200}, {64, 100}, {80, 60}, {96, 33}, {128, 30}, {4096, 30}} {
		if got := gcPercentFor(row.live << 20); got != row.want {
			t.Errorf("a heap of %d MiB may grow by %d %%, want %d %%", row.live, got, row.want)
		}
	}
}
