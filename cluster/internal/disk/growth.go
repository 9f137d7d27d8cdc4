package disk

import "sync"

const (
	// growthStep is how many bytes of entries lie between two marks at first, and growthMarks how many marks there are
	// at most.
	growthStep  = 64 << 10
	growthMarks = 256
)

// mark says how many bytes of entries had come into the log by the time of the entry at index.
type mark struct{ index, total uint64 }

// growth counts the bytes that come into the log, in a way that tells how many came after a given entry. It need not be
// exact: marks are set now and then, and what is counted begins with the last mark at or before that entry.
type growth struct {
	mu    sync.Mutex
	total uint64
	last  uint64 // index of the last entry
	marks []mark // in order of index; the first stands for all that came before it
	step  uint64 // bytes between two marks
}

func newGrowth() *growth { return &growth{marks: []mark{{}}, step: growthStep} }

// add counts an entry. One with the index of an earlier entry takes its place, as after a conflict.
func (g *growth) add(index, bytes uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n := len(g.marks) - 1; n > 0 && g.marks[n].index >= index; n-- {
		g.marks = g.marks[:n]
	}
	g.total += bytes
	g.last = index
	if g.total-g.marks[len(g.marks)-1].total < g.step {
		return
	}
	if len(g.marks) == growthMarks {
		for i := range growthMarks / 2 { // every other one
			g.marks[i] = g.marks[2*i]
		}
		g.marks, g.step = g.marks[:growthMarks/2], 2*g.step
	}
	g.marks = append(g.marks, mark{index, g.total})
}

// startAfter makes the count begin after the entry at index.
func (g *growth) startAfter(index uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if index >= g.last {
		g.marks, g.step = append(g.marks[:0], mark{index, g.total}), growthStep
		return
	}
	from := 0
	for i, m := range g.marks {
		if m.index <= index {
			from = i
		}
	}
	g.marks = append(g.marks[:0], g.marks[from:]...)
}

// bytes is how many came since the count begins.
func (g *growth) bytes() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total - g.marks[0].total
}
