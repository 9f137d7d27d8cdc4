package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo"
	"pushquorum/expo/page"
	"pushquorum/fsm"
)

var scrapeForms = []http.Header{
	{"Accept-Encoding": {"identity"}},
	{"Accept-Encoding": {"gzip"}},
	{"Accept-Encoding": {"zstd"}},
	{
		"Accept-Encoding": {"identity"},
		"Accept": {
			"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
		},
	},
	{"Accept-Encoding": {"gzip"}, "Accept": {"text/plain;version=1.0.0;escaping=allow-utf-8"}},
}

// scraped asks for the telemetry path in a form and takes the compression off.
func (g *gateway) scraped(t *testing.T, h http.Header) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.server.URL+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = h.Clone()
	res, err := g.server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK || res.ContentLength < 0 && g.api.cfg.PageBytes == 0 {
		t.Fatalf("status %d, length %d", res.StatusCode, res.ContentLength)
	}
	body := io.Reader(res.Body)
	switch res.Header.Get("Content-Encoding") {
	case page.Gzip:
		if body, err = gzip.NewReader(body); err != nil {
			t.Fatal(err)
		}
	case page.Zstd:
		z, err := zstd.NewReader(body)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		body = z
	}
	content, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// ownMetrics are a process's own metrics whose values a test can change.
type ownMetrics struct {
	value    atomic.Int64
	gathered atomic.Int64  // how often
	hold     chan struct{} // Gather waits until it is closed, if there is one
}

// Gather implements prometheus.Gatherer: metrics before, among and behind those that are pushed, one of them of the
// same name.
func (o *ownMetrics) Gather() ([]*dto.MetricFamily, error) {
	o.gathered.Add(1)
	if o.hold != nil {
		<-o.hold
	}
	var mfs []*dto.MetricFamily
	for _, name := range []string{"a_own", "m1", "m1_own", "m3_own", "z_own"} {
		mfs = append(mfs, &dto.MetricFamily{
			Name: proto.String(name), Help: proto.String("own"), Type: dto.MetricType_GAUGE.Enum(),
			Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: proto.Float64(float64(o.value.Load()))}}},
		})
	}
	return mfs, nil
}

// TestAScrapeShowsWhatIsStored pushes, deletes and wipes at random, and holds each scrape against one that is encoded
// anew, in a cluster and standalone.
func TestAScrapeShowsWhatIsStored(t *testing.T) {
	for _, standalone := range []bool{false, true} {
		own := &ownMetrics{}
		g := start(t, func(c *Config) { c.IncludeSelf, c.Gatherer = standalone, own })
		now := time.Unix(1, 0)
		g.api.pages.now = func() time.Time { return now }
		rng := rand.New(rand.NewPCG(3, 14))
		for step := range 300 {
			path := fmt.Sprintf("/metrics/job/j%d/instance/i%d", rng.IntN(5), rng.IntN(20))
			switch n := rng.IntN(20); {
			case n == 0:
				g.must(http.StatusAccepted, "PUT", "/api/v1/admin/wipe", "")
			case n < 4:
				g.must(http.StatusAccepted, "DELETE", path, "")
			case n < 8: // nothing: the same view again
			default:
				var body strings.Builder
				for f := range 1 + rng.IntN(4) {
					fmt.Fprintf(&body, "# HELP m%d help %d\n# TYPE m%d gauge\n", f, rng.IntN(3), f)
					for s := range 1 + rng.IntN(4) {
						fmt.Fprintf(&body, "m%d{s=\"%d\\n%s\"} %d\n", f, s, strings.Repeat("x", rng.IntN(100)),
							rng.IntN(1000))
					}
				}
				fmt.Fprintf(&body, "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum "+
					"1\nh_count 2\n")
				g.must(http.StatusOK, []string{"PUT", "POST"}[rng.IntN(2)], path, body.String())
			}
			own.value.Add(1)
			now = now.Add(selfMetricsMaxAge)
			h := scrapeForms[rng.IntN(len(scrapeForms))]
			e := g.replica.View().Exposition()
			if standalone {
				mfs, _ := own.Gather()
				e = page.Merge(page.Gathered(mfs), e)
			}
			var fresh bytes.Buffer
			if err := page.Write(&fresh, page.NegotiateFormat(h), e); err != nil {
				t.Fatal(err)
			}
			if got := g.scraped(t, h); !bytes.Equal(got, fresh.Bytes()) {
				t.Fatalf("standalone %v, step %d, %v: a page of %d bytes differs from one of %d bytes encoded "+
					"anew:\n%s\nwant\n%s",
					standalone, step, h, len(got), fresh.Len(), got, fresh.Bytes())
			}
			if kept := len(g.api.pages.list); kept > maxPages {
				t.Fatalf("%d pages are kept", kept)
			}
		}
	}
}

// TestOwnMetricsOnAPageAreAtMostASecondOld, and new as soon as what is stored has changed.
func TestOwnMetricsOnAPageAreAtMostASecondOld(t *testing.T) {
	own := &ownMetrics{}
	g := start(t, func(c *Config) { c.IncludeSelf, c.Gatherer = true, own })
	now := time.Unix(1, 0)
	g.api.pages.now = func() time.Time { return now }
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "pushed 1\n")
	for _, step := range []struct {
		what string
		pass time.Duration
		push bool
		want int
	}{
		{"the first scrape", 0, false, 1},
		{"at once", 0, false, 1},
		{"within the second", selfMetricsMaxAge - 1, false, 1},
		{"after it", 1, false, 4},
		{"after a push", 0, true, 5},
	} {
		own.value.Add(1)
		now = now.Add(step.pass)
		if step.push {
			g.must(http.StatusOK, "PUT", "/metrics/job/a", "pushed 2\n")
		}
		page := g.scrape()
		if want := fmt.Sprintf("a_own %d\n", step.want); !strings.Contains(page, want) {
			t.Errorf("%s: want %q in\n%s", step.what, want, page)
		}
	}
}

func unbounded() pageBudget { return newPageBudget(0, prometheus.NewGauge(prometheus.GaugeOpts{})) }

// TestScrapesAtTheSameTimeShareAPage, unless it lacks a push that a scrape has to show. Who goes away does not wait for
// it.
func TestScrapesAtTheSameTimeShareAPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &ownMetrics{hold: make(chan struct{})}
		log := slog.New(slog.DiscardHandler)
		machine := fsm.New(log)
		ps := newPages(machine, &selfMetrics{gatherer: own, scrapeLog: newScrapeLog(log), now: time.Now}, nil,
			unbounded())
		f := pageForm{format: expfmt.FmtText, encoding: page.Identity}
		var got [6]*page.Page
		var wg sync.WaitGroup
		ask := func(i int) {
			index := machine.View().Index()
			wg.Go(func() {
				s, err := ps.get(t.Context(), f, index, nil)
				if err != nil {
					t.Error(err)
					return
				}
				got[i] = s.page
				ps.release(s, nil)
			})
			synctest.Wait() // until it builds, or waits for the one that does
		}
		for i := range 3 {
			ask(i)
		}
		labels := expo.NewLabels(map[string]string{"job": "late"})
		commit(machine, fsm.EncodePush(fsm.Request{ID: fsm.NewRequestID()}, labels, true,
			[]*expo.Family{expo.Gauge(&expo.Header{Name: "late", Type: dto.MetricType_GAUGE}, labels.Key(), 1)}),
			time.Unix(1, 0))
		for i := range 3 {
			ask(3 + i)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := ps.get(gone, f, 0, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("a scrape that was given up: got %v", err)
		}
		close(own.hold)
		wg.Wait()
		for i, p := range got {
			var b bytes.Buffer
			if _, err := p.WriteTo(&b); err != nil {
				t.Fatal(err)
			}
			if p != got[i/3*3] {
				t.Errorf("scrape %d has a page of its own", i)
			}
			if shown := strings.Contains(b.String(), "\nlate{"); shown != (i >= 3) {
				t.Errorf("scrape %d shows the push: %v", i, shown)
			}
		}
		if n := own.gathered.Load(); n != 2 {
			t.Errorf("own metrics were gathered %d times", n)
		}
	})
}

// TestAPageThatNobodyAsksForIsDropped.
// TestAPageInUseStays, whatever else is asked for, until nobody seems to need it any more.
func TestAPageInUseStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newPages(fsm.New(slog.New(slog.DiscardHandler)), nil, nil, unbounded())
		ask := func(f pageForm) {
			t.Helper()
			s, err := ps.get(t.Context(), f, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			ps.release(s, nil)
		}
		kept := func(f pageForm) bool { return slices.ContainsFunc(ps.list, func(s *slot) bool { return s.form == f }) }
		scraper := pageForm{expfmt.FmtText, page.Gzip}
		var others []pageForm
		for _, format := range []expfmt.Format{expfmt.FmtProtoDelim, expfmt.FmtProtoText, expfmt.FmtProtoCompact} {
			for _, encoding := range []string{page.Identity, page.Gzip, page.Zstd} {
				others = append(others, pageForm{format, encoding})
			}
		}
		for _, f := range others {
			if ask(f); !kept(f) {
				t.Error("what was asked for once is in the way")
			}
		}
		ask(scraper)
		ask(scraper)
		for range 3 {
			for _, f := range others {
				ask(f)
				ask(f)
				if !kept(scraper) || len(ps.list) > maxPages {
					t.Fatalf("%d pages are kept, the scraper's: %v", len(ps.list), kept(scraper))
				}
			}
		}
		if n := len(ps.live); n != len(ps.list) {
			t.Errorf("%d pages are kept, and %d are there", len(ps.list), n)
		}
		time.Sleep(inUseFor) //nolint:forbidigo // the clock is the bubble's
		for _, f := range others[:maxPages] {
			ask(f)
		}
		if kept(scraper) {
			t.Errorf("it stays in use without being asked for")
		}
	})
}

// TestAFirstPageWaitsForOthersAndTheNextOfAFormDoesNot: that costs little, and nobody asks for it for the first time.
func TestAFirstPageWaitsForOthersAndTheNextOfAFormDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := startWithoutServer(t)
		ps := g.api.pages
		scraper := pageForm{expfmt.FmtText, page.Gzip}
		s, err := ps.get(t.Context(), scraper, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		ps.release(s, nil)
		ps.firstBuildTurns <- struct{}{} // one that takes long …
		ps.buildTurns <- struct{}{}      // … and has its turn
		benchPush(t, g, 0, 1)
		index := g.replica.Applied()
		began := time.Now()
		if s, err = ps.get(t.Context(), scraper, index, nil); err != nil || time.Since(began) > 0 {
			t.Fatalf("the next page of a form: %v after %s", err, time.Since(began))
		}
		ps.release(s, nil)
		_, err = ps.get(t.Context(), pageForm{expfmt.FmtProtoDelim, page.Gzip}, index, nil)
		if !errors.Is(err, errNotItsTurn) || time.Since(began) != laneWait {
			t.Errorf("another form: %v after %s", err, time.Since(began))
		}
	})
}

func TestAPageThatNobodyAsksForIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := newPages(fsm.New(slog.New(slog.DiscardHandler)), nil, nil, unbounded())
		ask := func(encoding string) {
			t.Helper()
			s, err := ps.get(t.Context(), pageForm{format: expfmt.FmtText, encoding: encoding}, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			ps.release(s, nil)
		}
		kept := func() int {
			synctest.Wait()
			ps.mu.Lock()
			defer ps.mu.Unlock()
			return len(ps.list)
		}
		ask(page.Gzip)
		ask(page.Zstd)
		time.Sleep(pageIdle - 1) //nolint:forbidigo // the clock is the bubble's
		ask(page.Gzip)
		if n := kept(); n != 2 {
			t.Errorf("%d pages are kept before their time is over, want 2", n)
		}
		time.Sleep(time.Nanosecond) //nolint:forbidigo // the clock is the bubble's
		if n := kept(); n != 1 {
			t.Errorf("%d pages are kept, want the one that was asked for", n)
		}
		time.Sleep(pageIdle) //nolint:forbidigo // the clock is the bubble's
		if n := kept(); n != 0 {
			t.Errorf("%d pages are kept for ever", n)
		}
	})
}

// TestScrapesDuringPushesShowOneState: each push writes the same number into two families, far apart on the page.
func TestScrapesDuringPushesShowOneState(t *testing.T) {
	g := start(t)
	filler := strings.Repeat("y", 2000)
	push := func(n int) {
		var body strings.Builder
		fmt.Fprintf(&body, "aa %d\n", n)
		for i := range 20 {
			fmt.Fprintf(&body, "mm{i=\"%d\",filler=\"%s\"} 1\n", i, filler)
		}
		fmt.Fprintf(&body, "zz %d\n", n)
		g.must(http.StatusOK, "PUT", "/metrics/job/a", body.String())
	}
	push(0)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i := range 4 {
		wg.Go(func() {
			last := 0
			for {
				select {
				case <-stop:
					return
				default:
				}
				page := string(g.scraped(t, scrapeForms[i%3]))
				var aa, zz int
				for line := range strings.Lines(page) {
					_, _ = fmt.Sscanf(line, `aa{instance="",job="a"} %d`, &aa)
					_, _ = fmt.Sscanf(line, `zz{instance="",job="a"} %d`, &zz)
				}
				if aa != zz || aa < last {
					t.Errorf("a page shows %d and %d, after one that showed %d", aa, zz, last)
					return
				}
				last = aa
			}
		})
	}
	for n := 1; n <= 100; n++ {
		push(n)
	}
	close(stop)
	wg.Wait()
}

// TestADamagedPartDoesNotSpoilTheScrape, in either mode: what is stored comes out without it.
func TestADamagedPartDoesNotSpoilTheScrape(t *testing.T) {
	for _, self := range []bool{false, true} {
		g := start(t, func(c *Config) { c.IncludeSelf = self })
		g.must(http.StatusOK, "PUT", "/metrics/job/good", "good 1\n")
		g.must(http.StatusOK, "PUT", "/metrics/job/bad", "# TYPE bad gauge\nbad 1\n")
		// A command like that is rejected: so it is the memory that is damaged.
		bad, found := g.replica.FSM.View().Group(expo.NewLabels(map[string]string{"job": "bad"}).Key())
		if !found {
			t.Fatal("the group is not stored")
		}
		bad.Families[0].Metrics()[1] ^= 0x40
		for range 2 {
			page := g.scrape()
			if !strings.Contains(page, "good{instance=\"\",job=\"good\"} 1\n") ||
				strings.Contains("\n"+page, "\nbad{") {
				t.Errorf("own metrics %v: the scrape is\n%s", self, page)
			}
		}
	}
}
