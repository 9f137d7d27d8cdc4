package api

import (
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"pushquorum/expo"
)

// selfMaxAge is how long pushes are checked against the same list of own metrics. The list only grows, by families whose first
// series comes late; gathering it for each push would cost more than the push.
const selfMaxAge = 10 * time.Second

// self is the process's own metrics, where they share a page with the pushed ones.
type self struct {
	gatherer prometheus.Gatherer
	log      *slog.Logger
	now      func() time.Time

	mu      sync.Mutex // guards what follows; headers is replaced, never changed
	headers map[string]expo.Header
	fetched time.Time
}

// clash returns why one of the families cannot stand on one page with the process's own metrics, or nil.
func (s *self) clash(families []*expo.Family) error {
	own := s.known()
	for _, f := range families {
		if err := clashWith(own, f.Header()); err != nil {
			return err
		}
	}
	return nil
}

// merge returns the process's own metrics and the stored ones as one page. The API refuses pushes that clash with its own
// metrics; one that is stored nevertheless (by another version, or before this process had the metric) is left out, because
// it would spoil the whole page.
func (s *self) merge(stored expo.Exposition) expo.Exposition {
	mfs, own := s.gather()
	fitting := func(yield func(expo.Header, iter.Seq[*expo.Family]) bool) {
		for h, parts := range stored {
			if err := clashWith(own, h); err != nil {
				s.log.Warn("a stored metric is left out of the page: delete it, or push it under another name", "metric", h.Name, "err", err)
				continue
			}
			if !yield(h, parts) {
				return
			}
		}
	}
	return expo.Merge(expo.Gathered(mfs), fitting)
}

func (s *self) known() map[string]expo.Header {
	s.mu.Lock()
	own, fresh := s.headers, s.now().Sub(s.fetched) < selfMaxAge
	s.mu.Unlock()
	if own == nil || !fresh {
		_, own = s.gather()
	}
	return own
}

func (s *self) gather() ([]*dto.MetricFamily, map[string]expo.Header) {
	mfs, err := s.gatherer.Gather()
	if err != nil { // the rest of the metrics is in mfs
		s.log.Error("gathering own metrics", "err", err)
	}
	own := make(map[string]expo.Header, len(mfs))
	for _, mf := range mfs {
		own[mf.GetName()] = expo.Header{Name: mf.GetName(), Help: mf.GetHelp(), Unit: mf.GetUnit(), Type: mf.GetType()}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.headers, s.fetched = own, s.now()
	return mfs, own
}

// clashWith looks only at the few names that could clash with h, however many there are.
func clashWith(own map[string]expo.Header, h expo.Header) error {
	for _, name := range expo.ClashingNames(h.Name, h.Type) {
		if other, ok := own[name]; ok {
			if err := expo.Clash(h, other); err != nil {
				return fmt.Errorf("%w; the other is a metric of this gateway itself", err)
			}
		}
	}
	return nil
}
