package disk

import (
	"testing"
)

func TestWhatCameAfterAnEntryIsCountedWhateverCameBefore(t *testing.T) {
	const entry = 3 << 10
	for _, tc := range []struct {
		name          string
		entries, from uint64
	}{
		{"nothing", 0, 0},
		{"all of it", 1000, 0},
		{"after the first half", 1000, 500},
		{"after the last entry", 1000, 1000},
		{"after an entry that has not come", 1000, 5000},
		{"of more than there are marks for", 100_000, 50_000},
		{"little of very much", 1_000_000, 999_000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := newGrowth()
			for i := range tc.entries {
				g.add(i+1, entry)
			}
			if len(g.marks) > growthMarks {
				t.Errorf("%d marks, want %d at most", len(g.marks), growthMarks)
			}
			g.startAfter(tc.from)
			want := entry * (tc.entries - min(tc.from, tc.entries))
			slack := max(2*growthStep, 2*entry*tc.entries/(growthMarks/2))
			if got := g.bytes(); got < want || got > want+slack {
				t.Errorf("%d bytes are counted, want %d and at most %d more", got, want, slack)
			}
			// And on from there.
			before := g.bytes()
			for i := range uint64(100) {
				g.add(max(tc.entries, tc.from)+i+1, entry)
			}
			if got := g.bytes() - before; got != 100*entry {
				t.Errorf("100 entries more are counted as %d bytes, want %d", got, 100*entry)
			}
		})
	}
}

func TestEntriesThatWereReplacedLeaveNoMarksBehind(t *testing.T) {
	g := newGrowth()
	for i := range uint64(100) {
		g.add(i+1, growthStep)
	}
	for i := range uint64(10) {
		g.add(i+50, growthStep) // another leader's
	}
	for i, m := range g.marks[1:] {
		if m.index <= g.marks[i].index {
			t.Fatalf("marks %v are out of order", g.marks)
		}
	}
	g.startAfter(59)
	if got := g.bytes(); got != 0 {
		t.Errorf("%d bytes after the last entry", got)
	}
	g.add(60, 1)
	if got := g.bytes(); got != 1 {
		t.Errorf("%d bytes after one of a byte", got)
	}
}
