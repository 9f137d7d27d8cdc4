package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
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
						path := filepath.Join(dir, fmt.Sprintf("%s-%d.html", g.name, i))
						if err := porcupine.VisualizePath(model(), v.info, path); err != nil {
							path = err.Error()
						}
						c.violate("group %s: %s; see %s", g.name, v.what, path)
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
