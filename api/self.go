package api

import (
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pushquorum/expo"
)

// selfMaxAge is how long pushes are checked against the same list of own metrics. The list only grows, by families whose first
// series comes late; gathering it for each push would cost more than the push.
const selfMaxAge = 10 * time.Second

// self is the process's own metrics, where they share a page with the pushed ones.
type self struct {
	gatherer prometheus.Gatherer
	met      *scrapeLog
	now      func() time.Time

	mu      sync.Mutex // guards what follows
	last    *gathered
	fetched time.Time
}

// gathered are the process's own metrics at one time. Immutable.
type gathered struct {
	exposition expo.Exposition
	// rivals are their headers, under each name that clashes with them.
	rivals map[string][]expo.Header
}

// clash returns why one of the families cannot stand on one page with the process's own metrics, or nil.
func (s *self) clash(families []*expo.Family) error {
	own := s.known()
	for _, f := range families {
		if err := own.clash(*f.Header); err != nil {
			return err
		}
	}
	return nil
}

// merge returns the process's own metrics and the stored ones as one page. The API refuses pushes that clash with its own
// metrics; one that is stored nevertheless (by another version, or before this process had the metric) is left out, because
// it would spoil the whole page.
func (s *self) merge(own *gathered, stored expo.Exposition) expo.Exposition {
	fitting := func(yield func(expo.Header, iter.Seq[*expo.Family]) bool) {
		for h, parts := range stored {
			if err := own.clash(h); err != nil {
				s.met.once(slog.LevelWarn, err, "a stored metric is left out of the page: delete it, or push it under another name", "metric", h.Name)
				continue
			}
			if !yield(h, parts) {
				return
			}
		}
	}
	return expo.Merge(own.exposition, fitting)
}

func (s *self) known() *gathered {
	s.mu.Lock()
	own, fresh := s.last, s.now().Sub(s.fetched) < selfMaxAge
	s.mu.Unlock()
	if own == nil || !fresh {
		own = s.gather()
	}
	return own
}

func (s *self) gather() *gathered {
	mfs, err := s.gatherer.Gather()
	if err != nil { // the rest of the metrics is in mfs
		s.met.once(slog.LevelError, err, "gathering own metrics")
	}
	own := &gathered{exposition: expo.Gathered(mfs), rivals: make(map[string][]expo.Header, 3*len(mfs))}
	for h := range own.exposition {
		for _, name := range expo.ClashingNames(h.Name, h.Type) {
			own.rivals[name] = append(own.rivals[name], h)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.fetched = own, s.now()
	return own
}

// clash returns why a family cannot stand beside the process's own, or nil.
func (g *gathered) clash(h expo.Header) error {
	for _, own := range g.rivals[h.Name] {
		if err := expo.Clash(h, own); err != nil {
			return fmt.Errorf("%w; the other is a metric of this gateway itself", err)
		}
	}
	return nil
}
