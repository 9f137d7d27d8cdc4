package api

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	dto "github.com/prometheus/client_model/go"

	"pushquorum/expo"
	"pushquorum/fsm"
)

var scrapeForms = []http.Header{
	{"Accept-Encoding": {"identity"}},
	{"Accept-Encoding": {"gzip"}},
	{"Accept-Encoding": {"zstd"}},
	{"Accept-Encoding": {"identity"}, "Accept": {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"}},
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
	if res.StatusCode != http.StatusOK || res.ContentLength < 0 {
		t.Fatalf("status %d, length %d", res.StatusCode, res.ContentLength)
	}
	body := io.Reader(res.Body)
	switch res.Header.Get("Content-Encoding") {
	case expo.Gzip:
		if body, err = gzip.NewReader(body); err != nil {
			t.Fatal(err)
		}
	case expo.Zstd:
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

// TestASavedPageIsWhatIsStored pushes, deletes and wipes at random, and holds each scrape against one that is encoded anew.
func TestASavedPageIsWhatIsStored(t *testing.T) {
	g := start(t)
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
					fmt.Fprintf(&body, "m%d{s=\"%d\\n%s\"} %d\n", f, s, strings.Repeat("x", rng.IntN(100)), rng.IntN(1000))
				}
			}
			fmt.Fprintf(&body, "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\nh_count 2\n")
			g.must(http.StatusOK, []string{"PUT", "POST"}[rng.IntN(2)], path, body.String())
		}
		h := scrapeForms[rng.IntN(len(scrapeForms))]
		var fresh bytes.Buffer
		if err := expo.Write(&fresh, expo.NegotiateFormat(h), g.replica.View().Exposition()); err != nil {
			t.Fatal(err)
		}
		if got := g.scraped(t, h); !bytes.Equal(got, fresh.Bytes()) {
			t.Fatalf("step %d, %v: a saved page of %d bytes differs from one of %d bytes encoded anew", step, h, len(got), fresh.Len())
		}
		if kept := len(g.api.pages.list); kept > maxPages {
			t.Fatalf("%d pages are kept", kept)
		}
	}
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
	for _, p := range g.api.pages.list {
		if p.readers != 0 {
			t.Errorf("a page has %d readers when nobody reads", p.readers)
		}
	}
}

// TestADamagedPartDoesNotSpoilTheScrape, in either mode: what is stored comes out without it.
func TestADamagedPartDoesNotSpoilTheScrape(t *testing.T) {
	for _, self := range []bool{false, true} {
		g := start(t, func(c *Config) { c.IncludeSelf = self })
		g.must(http.StatusOK, "PUT", "/metrics/job/good", "good 1\n")
		bad := &expo.Family{Name: "bad", Type: dto.MetricType_GAUGE, Metrics: []byte{4<<3 | 2, 1, 0xff}, Series: []expo.SeriesID{{1}}}
		command := fsm.EncodePush(fsm.Request{ID: fsm.NewRequestID()}, expo.NewLabels(map[string]string{"job": "bad"}), true, []*expo.Family{bad})
		if res := commit(g.replica.FSM, command, time.Unix(1, 0)); res.Status != fsm.Applied {
			t.Fatal(res)
		}
		for range 2 {
			page := g.scrape()
			if !strings.Contains(page, "good{instance=\"\",job=\"good\"} 1\n") || strings.Contains(page, "\nbad{") {
				t.Errorf("own metrics %v: the scrape is\n%s", self, page)
			}
		}
	}
}
