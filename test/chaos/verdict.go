package main

import (
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

// patience is how long the check of one group may take. A check that takes longer has found nothing, and is reported as such.
const patience = 20 * time.Second

// judge checks the history of every group, and writes a picture of each that is wrong into dir.
func (c *cluster) judge(dir string) (undecided int) {
	began := time.Now()
	groups := c.history.all()
	var mu sync.Mutex
	operations, stale := 0, 0
	var workers sync.WaitGroup
	queue := make(chan *group)
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for g := range queue {
				ops := c.history.of(g)
				verdicts := []verdict{checkGroup(ops, patience)}
				if verdicts[0].result == porcupine.Ok {
					for _, s := range g.stale {
						verdicts = append(verdicts, checkStale(ops, s, patience))
					}
				}
				mu.Lock()
				operations += len(ops)
				stale += len(g.stale)
				for i, v := range verdicts {
					switch v.result {
					case porcupine.Unknown:
						undecided++
						c.note("UNDECIDED: the check of group %s (%d operations, %d of unknown outcome) takes too long", g.name, len(ops), g.unknown)
					case porcupine.Illegal:
						path := filepath.Join(dir, fmt.Sprintf("%s-%d", g.name, i))
						if err := errors.Join(porcupine.VisualizePath(model(), v.info, path+".html"), writeList(path+".txt", ops)); err != nil {
							path = err.Error()
						}
						c.violate("group %s: %s; see %s.html and .txt%s", g.name, v.what, path, v.where())
					case porcupine.Ok:
					}
				}
				mu.Unlock()
			}
		})
	}
	for _, g := range groups {
		queue <- g
	}
	close(queue)
	workers.Wait()
	c.note("checked %d groups, %d operations, %d stale reads of groups, in %.1f s", len(groups), operations, stale, time.Since(began).Seconds())
	return undecided
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
	return fmt.Sprintf("\n           the longest order that explains what was seen has %d operations, and ends with %s and %s", len(longest), text, state)
}

// figures is one line of what was counted.
func (h *history) figures() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	text := ""
	for _, what := range slices.Sorted(maps.Keys(h.counts)) {
		text += fmt.Sprintf(", %d %s", h.counts[what], what)
	}
	if text == "" {
		return "nothing"
	}
	return text[2:]
}
