package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// checkTimeout is how long the check of one group may take. A check that takes longer has found nothing, and is
// reported as
// such.
const checkTimeout = 20 * time.Second

// judge checks histories, in between and at the end, and writes a picture of each that is wrong into dir.
type judge struct {
	c   *cluster
	dir string

	mu                        sync.Mutex
	found                     map[*group]bool // what is wrong with a group is said once
	groups, operations, stale int             // checked at the end
	undecided                 int
}

// run checks again and again, while clients are busy, the groups that they are or were writing to a little while ago.
func (j *judge) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(3 * time.Second):
		}
		for _, g := range j.c.history.all() {
			if ctx.Err() != nil {
				return
			}
			if g.isFresh(j.c.history) {
				ops, _ := j.c.history.of(g)
				j.report(g, ops, checkGroup(ops, time.Second), false) // what takes long is left for the end
			}
		}
	}
}

// isFresh says whether there may be news of a group: it is written to, or its deletion is not long ago.
func (g *group) isFresh(h *history) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return g.retired == 0 || h.now()-g.retired < 2*cleanAfter
}

// all checks every group, with all that was seen of it.
func (j *judge) all() {
	began := time.Now()
	var workers sync.WaitGroup
	queue := make(chan *group)
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for g := range queue {
				ops, stale := j.c.history.of(g)
				v := checkGroup(ops, checkTimeout)
				j.report(g, ops, v, true)
				if v.result == porcupine.Ok {
					for _, s := range stale {
						j.report(g, ops, checkStale(ops, s, checkTimeout), true)
					}
				}
				j.mu.Lock()
				j.groups++
				j.operations += len(ops)
				j.stale += len(stale)
				j.mu.Unlock()
			}
		})
	}
	for _, g := range j.c.history.all() {
		queue <- g
	}
	close(queue)
	workers.Wait()
	j.c.note("checked %d groups, %d operations, %d stale reads of groups, in %.1f s", j.groups, j.operations, j.stale,
		time.Since(began).Seconds())
}

func (j *judge) report(g *group, ops []operation, v verdict, final bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case v.result == porcupine.Unknown && final:
		j.undecided++
		j.c.note("UNDECIDED: the check of group %s (%d operations, %d of unknown outcome) takes too long",
			g.name, len(ops), g.unknown)
	case v.result == porcupine.Illegal && !j.found[g]:
		j.found[g] = true
		path := filepath.Join(j.dir, g.name)
		err := errors.Join(porcupine.VisualizePath(model(), v.info, path+".html"), writeList(path+".txt", ops))
		if err != nil {
			path = err.Error()
		}
		j.c.violate("group %s: %s; see %s.html and .txt%s", g.name, v.text, path, v.where())
	}
}

// writeList writes the operations one a line, in order of their calls.
func writeList(path string, ops []operation) error {
	var text strings.Builder
	for _, o := range ops {
		fmt.Fprintln(&text, o)
	}
	return os.WriteFile(path, []byte(text.String()), 0o600)
}

// where says what cannot be explained: the first operation, by its return, that no order of operations goes beyond.
func (v verdict) where() string {
	parts := v.info.PartialLinearizationsOperations()
	if len(parts) == 0 {
		return ""
	}
	var longest []porcupine.Operation
	for _, order := range parts[0] {
		if len(order) > len(longest) {
			longest = order
		}
	}
	state, text := content{}, ""
	for _, o := range longest {
		op := o.Input.(operation)
		text = op.String()
		if op.kind != read {
			state = op.apply(state)
		}
	}
	return fmt.Sprintf(
		"\n           the longest order that explains what was seen has %d operations, and ends with %s and %s",
		len(longest), text, state)
}

// figures is one line of what was counted.
func (h *history) figures() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	text := ""
	for _, event := range slices.Sorted(maps.Keys(h.counts)) {
		text += fmt.Sprintf(", %d %s", h.counts[event], event)
	}
	if text == "" {
		return "nothing"
	}
	return text[2:]
}
