package api

import (
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pushquorum/expo"
	"pushquorum/expo/page"
)

// selfMaxAge is how long pushes are checked against the same list of own metrics. The list only grows, by families whose first
// series comes late; gathering it for each push would cost more than the push.
const selfMaxAge = 10 * time.Second

// self is the process's own metrics. Their names and types are theirs, whether they share a page with the pushed ones
// or not: what one client pushes under such a name in another type would be in the way of all clients that push the
// metrics of their own processes.
type self struct {
	gatherer prometheus.Gatherer
	met      *scrapeLog
	now      func() time.Time

	mu       sync.Mutex // guards what follows
	last     *gathered
	fetched  time.Time
	renewing bool
}

// gathered are the process's own metrics at one time. Immutable.
type gathered struct {
	exposition expo.Exposition
	// rivals are their headers, under each name that clashes with them.
	rivals map[string][]expo.Header
}

// clash returns why some of the families cannot stand beside the process's own metrics, or nil.
func (s *self) clash(families []*expo.Family) error {
	own := s.known()
	for i, f := range families {
		if _, clashes := own.rival(f); clashes {
			return own.clashes(families[i:])
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
			if rival, clashes := own.rivalOf(h); clashes {
				err := expo.Clash(h, rival)
				s.met.once(slog.LevelWarn, err,
					"a stored metric is left out of the page, because this gateway itself has one: delete its groups, or push it under another name",
					"metric", h.Name)
				continue
			}
			if !yield(h, parts) {
				return
			}
		}
	}
	return page.Merge(own.exposition, fitting)
}

// known returns the list that pushes are checked against. The first push makes it; when it is old, it is made anew beside the
// pushes: a collector that takes long, or hangs, must not keep the turn of one.
func (s *self) known() *gathered {
	s.mu.Lock()
	own := s.last
	renew := own != nil && !s.renewing && s.now().Sub(s.fetched) >= selfMaxAge
	if renew {
		s.renewing = true
	}
	s.mu.Unlock()
	if own == nil {
		return s.gather()
	}
	if renew {
		go s.renew() // one at a time, which ends when the collectors do
	}
	return own
}

func (s *self) renew() {
	defer func() {
		if p := recover(); p != nil {
			s.met.once(slog.LevelError, page.Caught(p), "gathering own metrics")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.renewing = false
	}()
	s.gather()
}

func (s *self) gather() *gathered {
	mfs, err := s.gatherer.Gather()
	if err != nil { // the rest of the metrics is in mfs
		s.met.once(slog.LevelError, err, "gathering own metrics")
	}
	own := &gathered{exposition: page.Gathered(mfs), rivals: make(map[string][]expo.Header, 3*len(mfs))}
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

// rival returns the own metric with which a pushed family clashes, if there is one. A family without series removes
// what is stored, which clashes with nothing.
func (g *gathered) rival(f *expo.Family) (own expo.Header, clashes bool) {
	if f.Len() == 0 {
		return expo.Header{}, false
	}
	return g.rivalOf(*f.Header)
}

func (g *gathered) rivalOf(h expo.Header) (own expo.Header, clashes bool) {
	for _, own := range g.rivals[h.Name] {
		if expo.Clash(h, own) != nil {
			return own, true
		}
	}
	return expo.Header{}, false
}

// clashes says which of the families clash, the first of which does, and what to do.
func (g *gathered) clashes(families []*expo.Family) error {
	const listed, room = 5, 300 // families, bytes
	var reasons []string
	var first expo.Header
	n, typed := 0, true
	for _, f := range families {
		own, clashes := g.rival(f)
		if !clashes {
			continue
		}
		if n++; n == 1 {
			first = own
		}
		typed = typed && own.Name == f.Name
		if len(reasons) < listed {
			reasons = append(reasons, ownReason(f.Header, own))
		}
	}
	mend := "push under another name"
	if typed {
		mend = fmt.Sprintf(`push with that type, as by "# TYPE %s %s", or under another name`, first.Name, expo.TypeWord(first.Type))
	}
	return fmt.Errorf("%s: %s", expo.Some(reasons, n, room), mend)
}

// ownReason says how a pushed family clashes with an own metric, whose name bounds the pushed one.
func ownReason(pushed *expo.Header, own expo.Header) string {
	word := expo.TypeWord
	switch {
	case pushed.Name == own.Name:
		return fmt.Sprintf("%q is pushed as %s, but is a %s of this gateway itself", own.Name, word(pushed.Type), word(own.Type))
	case strings.HasPrefix(pushed.Name, own.Name):
		return fmt.Sprintf("%q is a name of samples of the %s %q of this gateway itself", pushed.Name, word(own.Type), own.Name)
	default:
		return fmt.Sprintf("the %s %q has samples of the name %q, which is a metric of this gateway itself",
			word(pushed.Type), pushed.Name, own.Name)
	}
}
