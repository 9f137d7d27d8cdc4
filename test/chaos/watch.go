package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// watch holds the state hashes of all replicas against each other, index by index, all the time.
type watch struct {
	c *cluster

	mu       sync.Mutex
	hashes   map[uint64]map[string][]string // index → hash → replicas
	compared int                            // indexes at which more than one replica was seen
	diverged bool
}

// run asks one replica after another, each about twenty times a second.
func (w *watch) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, r := range w.c.replicas {
		all.Go(func() {
			for ctx.Err() == nil {
				if !r.isMember() {
					// It has left, or has not come yet.
				} else if s, err := w.c.status(r); err == nil {
					w.saw(r.name, s)
				}
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
	all.Wait()
}

func (w *watch) saw(name string, s status) {
	if s.AppliedIndex == 0 {
		return // nothing yet
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	at := w.hashes[s.AppliedIndex]
	if at == nil {
		at = map[string][]string{}
		w.hashes[s.AppliedIndex] = at
	}
	seen := map[string]bool{name: true}
	for _, names := range at {
		for _, n := range names {
			if n == name && len(at) == 1 && at[s.StateHash] != nil {
				return // said so before
			}
			seen[n] = true
		}
	}
	at[s.StateHash] = append(at[s.StateHash], name)
	if len(seen) == 2 {
		w.compared++
	}
	if len(at) > 1 && !w.diverged {
		w.diverged = true
		var sides []string
		for hash, names := range at {
			sides = append(sides, fmt.Sprintf("%s: %s", strings.Join(names, ", "), hash))
		}
		w.c.violate("the replicas have diverged at index %d: %s", s.AppliedIndex, strings.Join(sides, "; "))
	}
}

// agree waits until all replicas are at the same index, with the same hash and the same page. Nobody may be writing.
func (w *watch) agree(reader *scraper) error {
	err := attempt(readyWithin, func() error {
		hashes := map[string][]string{}
		for _, r := range w.c.members() {
			s, err := w.c.status(r)
			if err != nil {
				return err
			}
			w.saw(r.name, s)
			at := fmt.Sprintf("index %d hash %s", s.AppliedIndex, s.StateHash)
			hashes[at] = append(hashes[at], r.name)
		}
		if len(hashes) != 1 {
			return fmt.Errorf("the replicas are not at one state: %v", hashes)
		}
		return nil
	})
	if err != nil {
		return err
	}
	pages := map[string][]string{}
	for _, r := range w.c.members() {
		err := attempt(readyWithin, func() error {
			page, stale, err := reader.scrapeOf(r, true)
			if err == nil && stale {
				err = fmt.Errorf("the last scrape of %s is marked as stale", r.name)
			}
			if err == nil {
				pages[string(page)] = append(pages[string(page)], r.name)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if len(pages) != 1 {
		return fmt.Errorf("the last scrapes of the replicas differ")
	}
	return nil
}
