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

// reservedNamesMaxAge is how long pushes are checked against the same list of reserved names. The list only grows, by
// families whose first series comes late, and gathering it for each push would cost more than the push.
const reservedNamesMaxAge = 10 * time.Second

// selfMetrics are the process's own metrics. Their names and types are reserved, also where they share no page with the
// pushed ones: what one client pushes under such a name in another type would be in the way of all clients that push
// the metrics of their own processes.
type selfMetrics struct {
	gatherer  prometheus.Gatherer
	scrapeLog *scrapeLog
	now       func() time.Time

	// mu guards the fields below.
	mu       sync.Mutex
	last     *gathered
	fetched  time.Time // when last was gathered
	renewing bool
}

// gathered are the process's own metrics at one time. Immutable.
type gathered struct {
	exposition expo.Exposition
	// reservedNames are their headers, under each name that clashes with them.
	reservedNames map[string][]expo.Header
}

// checkReserved returns an error that says which of the families clash with the process's own metrics, or nil.
func (s *selfMetrics) checkReserved(families []*expo.Family) error {
	own := s.reserved()
	for i, f := range families {
		if _, clashes := own.clashWithFamily(f); clashes {
			return own.clashError(families[i:])
		}
	}
	return nil
}

// merge returns the process's own metrics and the stored ones as one page. A stored family that clashes with an own
// metric is left out, because it would spoil the whole page. There may be one, though the API refuses such pushes: from
// another version, or from before this process had the metric.
func (s *selfMetrics) merge(own *gathered, stored expo.Exposition) expo.Exposition {
	fitting := func(yield func(expo.Header, iter.Seq[*expo.Family]) bool) {
		for h, parts := range stored {
			if reserved, clashes := own.clashWithHeader(h); clashes {
				err := expo.Clash(h, reserved)
				s.scrapeLog.once(slog.LevelWarn, err,
					"a stored metric is left out of the page, because this gateway itself "+
						"has one: delete its groups, or push it under another name", "metric", h.Name)
				continue
			}
			if !yield(h, parts) {
				return
			}
		}
	}
	return page.Merge(own.exposition, fitting)
}

// reserved returns the list that pushes are checked against. The first push makes it. An old list is made anew beside
// the pushes, because a prometheus.Collector that takes long, or hangs, must not hold the decode slot of a push.
func (s *selfMetrics) reserved() *gathered {
	s.mu.Lock()
	own := s.last
	renew := own != nil && !s.renewing && s.now().Sub(s.fetched) >= reservedNamesMaxAge
	if renew {
		s.renewing = true
	}
	s.mu.Unlock()
	if own == nil {
		return s.gather()
	}
	if renew {
		go s.renew() // one at a time; it ends when all Collectors have returned
	}
	return own
}

func (s *selfMetrics) renew() {
	defer func() {
		if p := recover(); p != nil {
			s.scrapeLog.once(slog.LevelError, page.Caught(p), "gathering own metrics")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.renewing = false
	}()
	s.gather()
}

func (s *selfMetrics) gather() *gathered {
	mfs, err := s.gatherer.Gather()
	if err != nil { // the rest of the metrics is in mfs
		s.scrapeLog.once(slog.LevelError, err, "gathering own metrics")
	}
	own := &gathered{exposition: page.Gathered(mfs), reservedNames: make(map[string][]expo.Header, 3*len(mfs))}
	for h := range own.exposition {
		for _, name := range expo.ClashingNames(h.Name, h.Type) {
			own.reservedNames[name] = append(own.reservedNames[name], h)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last, s.fetched = own, s.now()
	return own
}

// clashWithFamily returns the own metric with which a pushed family clashes, if there is one. A family without series
// clashes with nothing, because it only removes what is stored.
func (g *gathered) clashWithFamily(f *expo.Family) (own expo.Header, clashes bool) {
	if f.Len() == 0 {
		return expo.Header{}, false
	}
	return g.clashWithHeader(*f.Header)
}

func (g *gathered) clashWithHeader(h expo.Header) (own expo.Header, clashes bool) {
	for _, own := range g.reservedNames[h.Name] {
		if expo.Clash(h, own) != nil {
			return own, true
		}
	}
	return expo.Header{}, false
}

// clashError says which of the families clash, and what to do. The first of them does.
func (g *gathered) clashError(families []*expo.Family) error {
	const listed, room = 5, 300 // families, bytes
	var reasons []string
	var first expo.Header
	n, typed := 0, true
	for _, f := range families {
		own, clashes := g.clashWithFamily(f)
		if !clashes {
			continue
		}
		if n++; n == 1 {
			first = own
		}
		typed = typed && own.Name == f.Name
		if len(reasons) < listed {
			reasons = append(reasons, clashText(f.Header, own))
		}
	}
	mend := "push under another name"
	if typed {
		mend = fmt.Sprintf(`push with that type, as by "# TYPE %s %s", or under another name`, first.Name,
			expo.TypeWord(first.Type))
	}
	return fmt.Errorf("%s: %s", expo.Some(reasons, n, room), mend)
}

// clashText says how a pushed family clashes with an own metric. The own metric's name bounds the length of the pushed
// one.
func clashText(pushed *expo.Header, own expo.Header) string {
	word := expo.TypeWord
	switch {
	case pushed.Name == own.Name:
		return fmt.Sprintf("%q is pushed as %s, but is a %s of this gateway itself", own.Name, word(pushed.Type),
			word(own.Type))
	case strings.HasPrefix(pushed.Name, own.Name):
		return fmt.Sprintf("%q is a name of samples of the %s %q of this gateway itself", pushed.Name, word(own.Type),
			own.Name)
	default:
		return fmt.Sprintf("the %s %q has samples of the name %q, which is a metric of this gateway itself",
			word(pushed.Type), pushed.Name, own.Name)
	}
}
