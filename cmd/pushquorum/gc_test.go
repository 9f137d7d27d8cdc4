package main

import "testing"

func TestAHeapGrowsByAPartOfItsSize(t *testing.T) {
	for _, row := range []struct {
		live uint64 // MiB
		want int
	}{
		{0, 400},
		{1, 400},
		{16, 400},
		{32, 200},
		{64, 93},
		{80, 55},
		{96, 29},
		{112, 13},
		{128, 13},
		{256, 13},
		{320, 40},
		{384, 66},
		{512, 75},
		{4096, 75},
	} {
		if got := growthPercent(row.live << 20); got != row.want {
			t.Errorf("a heap of %d MiB may grow by %d %%, want %d %%", row.live, got, row.want)
		}
	}
}
