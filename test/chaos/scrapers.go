package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

const (
	scrapers    = 2
	staleHeader = "X-PushQuorum-Stale"
	// scrapeWithin is --read.timeout, 1 s, and as much slack as a push has.
	scrapeWithin = time.Second + answerSlack
)

// scraper is one client that scrapes all replicas.
type scraper struct {
	id     int
	c      *cluster
	asker  *asker
	chance *rand.Rand
}

func (s *scraper) run(ctx context.Context) {
	for ctx.Err() == nil {
		s.scrape()
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(s.chance.Int64N(int64(80 * time.Millisecond)))):
		}
	}
}

func (s *scraper) scrape() {
	_, _, _ = s.scrapeOf(s.c.any(s.chance), false)
}

// scrapeOf scrapes one replica and records what it shows; final keeps it also where it shows nothing new. It returns
// the page and whether it was marked as stale.
func (s *scraper) scrapeOf(r *replica, final bool) (page []byte, stale bool, err error) {
	h := s.c.history
	q := ask{url: r.url("/metrics"), timeout: scrapeWithin + time.Second}
	if !final && s.chance.IntN(3) == 0 {
		q.header = map[string]string{"Accept": string(expfmt.NewFormat(expfmt.TypeProtoDelim))}
	}
	o := operation{kind: read, client: s.id, call: h.now(), where: r.name}
	a, err := s.asker.do(q)
	o.ret = h.now()
	excused := r.mayHaveFailed(o.call, o.ret)
	switch {
	case err != nil:
		h.count("scrapes without an answer")
		if !excused {
			s.c.violate("%s gave no answer to a scrape within %s: %v", r.name, o.ret-o.call, err)
		}
		return nil, false, err
	case !excused && o.ret-o.call > scrapeWithin:
		s.c.violate("%s answered a scrape only after %s", r.name, o.ret-o.call)
	}
	switch {
	case a.status == http.StatusServiceUnavailable && strings.TrimSpace(string(a.body)) != "":
		h.count("scrapes refused")
		return nil, false, errors.New(strings.TrimSpace(string(a.body)))
	case a.status != http.StatusOK:
		s.c.violate("%s answered a scrape with %d: %q", r.name, a.status, a.body)
		return nil, false, fmt.Errorf("status %d", a.status)
	}
	shown, err := parse(a)
	if err != nil {
		s.c.violate("a scrape of %s does not parse: %v\n%s", r.name, err, a.body)
		return nil, false, err
	}
	stale = a.header.Get(staleHeader) != ""
	h.saw(shown, o, stale, final)
	return a.body, stale, nil
}

// parse reads a page, all of it, and returns what it shows of each group.
func parse(a answer) (map[string]content, error) {
	out := map[string]content{}
	decoder := expfmt.NewDecoder(bytes.NewReader(a.body), expfmt.ResponseFormat(a.header))
	for {
		var family dto.MetricFamily
		if err := decoder.Decode(&family); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, err
		}
		for _, metric := range family.GetMetric() {
			if err := show(out, family.GetName(), metric); err != nil {
				return nil, err
			}
		}
	}
}

// show adds one series of a page to what the page shows.
func show(out map[string]content, family string, metric *dto.Metric) error {
	job := ""
	for _, label := range metric.GetLabel() {
		if label.GetName() == "job" {
			job = label.GetValue()
		}
	}
	shown := out[job]
	if family == "push_time_seconds" {
		shown.there = true
	}
	for i := range shown.values {
		if family != familyName(i) {
			continue
		}
		if shown.values[i] != 0 {
			return fmt.Errorf("the group %q has %s twice", job, family)
		}
		shown.values[i] = int32(metric.GetGauge().GetValue())
	}
	out[job] = shown
	return nil
}
