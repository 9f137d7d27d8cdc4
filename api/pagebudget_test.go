package api

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo"
	"pushquorum/expo/page"
	"pushquorum/fsm"
)

// everyForm returns headers that ask for each form there is.
func everyForm() (headers []http.Header) {
	for _, accept := range []string{
		"text/plain;version=0.0.4",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=compact-text",
	} {
		for _, escaping := range []string{"allow-utf-8", "underscores", "dots", "values"} {
			for _, encoding := range []string{page.Identity, page.Gzip, page.Zstd} {
				headers = append(headers, http.Header{
					"Accept":          {accept + ";escaping=" + escaping},
					"Accept-Encoding": {encoding},
				})
			}
		}
	}
	return headers
}

// pushLarge pushes a group of so many series.
func pushLarge(t testing.TB, g *gateway, series, value int) {
	t.Helper()
	if res := commit(g.replica.FSM, largeCommand(t, g, series, value), time.Unix(1_700_000_000+int64(value),
		0)); res.Status != fsm.Applied {
		t.Fatal(res)
	}
}

func largeCommand(t testing.TB, g *gateway, series, value int) []byte {
	t.Helper()
	labels := expo.NewLabels(map[string]string{"job": "large"})
	mf := &dto.MetricFamily{Name: proto.String("large"), Type: dto.MetricType_GAUGE.Enum()}
	for i := range series {
		mf.Metric = append(mf.Metric, &dto.Metric{
			Label: []*dto.LabelPair{{Name: proto.String("n"), Value: proto.String(fmt.Sprintf("%07d", i))}},
			Gauge: &dto.Gauge{Value: proto.Float64(float64(value))},
		})
	}
	families, err := expo.Canonical(labels, []*dto.MetricFamily{mf}, g.api.naming.scheme)
	if err != nil {
		t.Fatal(err)
	}
	return fsm.EncodePush(fsm.Request{ID: fsm.NewRequestID()}, labels, true, families)
}

// gate is held by whoever writes an answer, so that a test can stop them all.
var gate sync.RWMutex

// peakHeap returns how many bytes more are in use, at most, while something is done than before. It looks while all
// writes stand still: what is garbage by then does not count.
func peakHeap(do func()) int64 {
	live := func() int64 {
		gate.Lock()
		defer gate.Unlock()
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := live()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	looks := time.NewTicker(20 * time.Millisecond)
	defer looks.Stop()
	for peak := before; ; peak = max(peak, live()) {
		select {
		case <-done:
			return peak - before
		case <-looks.C:
		}
	}
}

// peakWithin is peakHeap, once more, and twice, where that is above a limit: what others do meanwhile, and garbage that
// comes between two looks, only add to it.
func peakWithin(limit int64, do func()) int64 {
	peak := peakHeap(do)
	for range 2 {
		if peak > limit {
			peak = min(peak, peakHeap(do))
		}
	}
	return peak
}

// ask calls the handler without a network.
func (g *gateway) ask(path string, header http.Header) (w *discard) {
	r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
	r.Header = header
	w = &discard{header: http.Header{}}
	defer func() {
		if p := recover(); p == http.ErrAbortHandler { //nolint:errorlint // it is that one
			w.cut = true
		} else if p != nil {
			panic(p)
		}
	}()
	g.api.ServeHTTP(w, r)
	return w
}

// TestAScrapeThatDoesNotFitIsTheSame in every form, with and without own metrics.
func TestAScrapeThatDoesNotFitIsTheSame(t *testing.T) {
	for _, standalone := range []bool{false, true} {
		self := func(c *Config) { c.IncludeSelf, c.Gatherer, c.UTF8Names = standalone, &ownMetrics{}, true }
		fits, doesNot := start(t, self), start(t, self, func(c *Config) { c.PageBytes = 1 })
		for _, g := range []*gateway{fits, doesNot} {
			g.must(http.StatusOK, "PUT", "/metrics/job/a",
				allTypes+"{\"größe.x\",\"ein.label\"=\"1\"} 1\n# TYPE aa untyped\naa 1\n")
			pushLarge(t, g, 1500, 1)
		}
		for _, h := range everyForm() {
			if want, got := fits.scraped(t, h), doesNot.scraped(t, h); !bytes.Equal(want, got) {
				t.Fatalf("own metrics %v, %v: %d bytes in a page, %d without", standalone, h, len(want), len(got))
			}
		}
		if n := valueOf(t, doesNot.api.metrics.streamed); int(n) != len(everyForm()) {
			t.Errorf("%v scrapes were streamed, want all", n)
		}
		if n := valueOf(t, fits.api.metrics.streamed); n != 0 {
			t.Errorf("%v scrapes were streamed, want none", n)
		}
		if held := doesNot.api.pages.budget.held; held != 0 {
			t.Errorf("%d bytes are held", held)
		}
	}
}

// TestAllFormsAtOnceStayInTheBudget, while what they show changes.
func TestAllFormsAtOnceStayInTheBudget(t *testing.T) {
	const limit = 2 << 20
	g := startWithoutServer(t, func(c *Config) { c.PageBytes = limit })
	for i := range 500 {
		benchPush(t, g, i, 0)
	}
	const series = 40_000
	pushLarge(t, g, series, 0)
	page := g.ask("/metrics", everyForm()[0]).bytes
	var commands [][]byte
	for i := range len(everyForm()) / 4 {
		commands = append(commands, largeCommand(t, g, series, i))
	}
	var cut atomic.Int32
	peak := peakHeap(func() {
		var scrapes sync.WaitGroup
		defer func() {
			if n := cut.Load(); n > 12 {
				t.Errorf("%d of 24 answers were cut off", n)
			}
		}()
		for i, h := range everyForm() {
			if i/3%2 != 0 {
				continue // 24 are enough
			}
			scrapes.Go(func() {
				// Who waits for the gate does not take its answer, and may be cut for that.
				if w := g.ask("/metrics", h); w.cut {
					cut.Add(1)
				} else if w.code != 0 && w.code != http.StatusServiceUnavailable || w.code == 0 && w.bytes < page/100 {
					t.Errorf("%v: status %d, %d bytes", h, w.code, w.bytes)
				}
			})
			if i%4 == 0 {
				commit(g.replica.FSM, commands[i/4], time.Unix(1_800_000_000, 0))
			}
		}
		scrapes.Wait()
	})
	// Each of those that are streamed may be of another state.
	if most := int64(limit + (maxStreams+maxBuilds)*series*70 + 24<<20); peak > most {
		t.Errorf("the heap grew by %d bytes, want at most %d", peak, most)
	}
	t.Logf("a page of %d bytes: the heap grew by %d bytes", page, peak)
	if held := g.api.pages.budget.held; held > limit {
		t.Errorf("%d bytes are held", held)
	}
}

// TestScrapersThatStopReadingDoNotKeepOldPages beyond the budget, nor others from theirs.
func TestScrapersThatStopReadingDoNotKeepOldPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, series = 8 << 20, 30_000
		g := startWithoutServer(t, func(c *Config) { c.PageBytes = limit })
		for i := range 1000 {
			benchPush(t, g, i, 0)
		}
		p := g.overPipes(t)
		held := func() int64 {
			synctest.Wait()
			g.api.pages.mu.Lock()
			defer g.api.pages.mu.Unlock()
			return g.api.pages.budget.held
		}
		for i := range 19 {
			pushLarge(t, g, series, i)
			p.dial(t, "GET /metrics", "Accept-Encoding", "identity")
			if n := held(); n > limit {
				t.Fatalf("after %d scrapers %d bytes are held", i+1, n)
			}
		}
		began := time.Now()
		for i := range 5 {
			pushLarge(t, g, series, 100+i)
			res, body := answerOf(t, p.dial(t, "GET /metrics"))
			if want := fmt.Sprintf("large{instance=\"\",job=\"large\",n=\"0000000\"} %d\n",
				100+i); res.StatusCode != http.StatusOK || !strings.Contains(body, want) {
				t.Errorf("a scraper that reads got %d, %d bytes", res.StatusCode, len(body))
			}
			if took := time.Since(began); took > 2*stalledUnderPressure {
				t.Errorf("scrape %d is done after %s", i, took)
			}
			if n := held(); n > limit {
				t.Errorf("%d bytes are held", n)
			}
		}
		time.Sleep(2 * recipientGrace) //nolint:forbidigo // the clock is the bubble's
		synctest.Wait()
		if n := valueOf(t, g.api.metrics.readersCut); n == 0 {
			t.Error("nobody was cut")
		}
		time.Sleep(pageIdle) //nolint:forbidigo // the clock is the bubble's
		if n := held(); n != 0 || valueOf(t, g.api.metrics.pageBytes) != 0 {
			t.Errorf("%d bytes are held in the end", n)
		}
	})
}

// TestAPageGivesWayToTheOneThatIsAskedFor where there is room for one, and a replaced state counts.
func TestAPageGivesWayToTheOneThatIsAskedFor(t *testing.T) {
	g := startWithoutServer(t)
	for i := range 1000 {
		benchPush(t, g, i, 0)
	}
	g.ask("/metrics", scrapeForms[0])
	one := g.api.pages.budget.held
	for _, row := range []struct {
		limit  int64
		change bool
		kept   int
	}{
		{one * 5, true, 2},
		{one * 5 / 2, false, 2},
		{one * 5 / 2, true, 1},
		{one * 3 / 2, false, 1},
		{one / 2, false, 0},
	} {
		g := startWithoutServer(t, func(c *Config) { c.PageBytes = row.limit })
		for i := range 1000 {
			benchPush(t, g, i, 0)
		}
		g.ask("/metrics", scrapeForms[0])
		if row.change {
			benchPush(t, g, 0, 1)
		}
		g.ask("/metrics", scrapeForms[3])
		if n := len(g.api.pages.list); n != row.kept {
			t.Errorf("%d pages of %d bytes are kept in %d, after a change: %v; want %d", n, one, row.limit, row.change,
				row.kept)
		}
		if row.kept > 0 && g.api.pages.list[row.kept-1].form.format != page.NegotiateFormat(scrapeForms[3]) {
			t.Errorf("the wrong page is kept in %d", row.limit)
		}
	}
}

// TestAPageThatDoesNotFitBesideTheOneBeforeReplacesIt at the next scrape. The one between is streamed.
func TestAPageThatDoesNotFitBesideTheOneBeforeReplacesIt(t *testing.T) {
	g := startWithoutServer(t)
	push := func(value int) {
		for i := range 1000 {
			benchPush(t, g, i, value)
		}
	}
	push(0)
	g.ask("/metrics", scrapeForms[0])
	g.api.pages.budget.limit = g.api.pages.budget.held * 3 / 2
	push(1)
	for i, want := range []float64{1, 1} {
		g.ask("/metrics", scrapeForms[0])
		if n := valueOf(t, g.api.metrics.streamed); n != want || len(g.api.pages.list) != i {
			t.Errorf("after %d scrapes %v were streamed, and %d pages are kept", i+1, n, len(g.api.pages.list))
		}
	}
}

// TestGroupsAsJSONTakeLittleMemory, however many series a group has, and for however many clients.
func TestGroupsAsJSONTakeLittleMemory(t *testing.T) {
	g := startWithoutServer(t)
	pushLarge(t, g, 200_000, 0)
	peak := peakWithin(8<<20, func() {
		var queries sync.WaitGroup
		var cut atomic.Int32
		for range 8 {
			queries.Go(func() {
				// Who waits for the gate does not take its answer, and may be cut for that.
				if w := g.ask("/api/v1/metrics", nil); w.cut {
					cut.Add(1)
				} else if w.code != http.StatusServiceUnavailable && w.bytes < 10<<20 {
					t.Errorf("status %d, %d bytes", w.code, w.bytes)
				}
			})
		}
		queries.Wait()
		if n := cut.Load(); n > 4 {
			t.Errorf("%d of 8 answers were cut off", n)
		}
	})
	t.Logf("the heap grew by %d bytes", peak)
	if peak > 8<<20 {
		t.Errorf("the heap grew by %d bytes", peak)
	}
}

// TestThePageIsBoundedInBytes, whatever is long or many.
func TestThePageIsBoundedInBytes(t *testing.T) {
	long := func(n int) string { return strings.Repeat("\"<é", n/4) }
	g := startWithoutServer(t)
	push := func(labels expo.Labels, mf *dto.MetricFamily) {
		t.Helper()
		families, err := expo.Canonical(labels, []*dto.MetricFamily{mf}, g.api.naming.scheme)
		if err != nil {
			t.Fatal(err)
		}
		commit(g.replica.FSM, fsm.EncodePush(fsm.Request{ID: fsm.NewRequestID()}, labels, true, families),
			time.Unix(1, 0))
	}
	gauge := func(name, help string, labels ...string) *dto.MetricFamily {
		mf := &dto.MetricFamily{Name: proto.String(name), Help: proto.String(help), Type: dto.MetricType_GAUGE.Enum()}
		for _, l := range labels {
			mf.Metric = append(mf.Metric, &dto.Metric{Label: []*dto.LabelPair{{
				Name:  proto.String("l"),
				Value: proto.String(l),
			}}, Gauge: &dto.Gauge{}})
		}
		return mf
	}
	push(expo.NewLabels(map[string]string{"job": "a_help"}), gauge("m", long(1<<20), "1"))
	push(expo.NewLabels(map[string]string{"job": "b_series"}), gauge("m", "", long(1<<20), "short"))
	buckets := &dto.MetricFamily{
		Name: proto.String("h"), Type: dto.MetricType_HISTOGRAM.Enum(),
		Metric: []*dto.Metric{{Histogram: &dto.Histogram{}}},
	}
	for i := range 2000 {
		h := buckets.Metric[0].Histogram
		h.Bucket = append(h.Bucket, &dto.Bucket{
			UpperBound:      proto.Float64(float64(i)),
			CumulativeCount: proto.Uint64(0),
		})
	}
	push(expo.NewLabels(map[string]string{"job": "c_buckets"}), buckets)
	push(expo.NewLabels(map[string]string{"job": "d", "long": long(1 << 20)}), gauge("m", "", "1"))
	for i := range 20 {
		many := gauge("m", "")
		for j := range 1000 {
			many.Metric = append(many.Metric, gauge("", "", fmt.Sprint(j)+long(100)).Metric...)
		}
		push(expo.NewLabels(map[string]string{"job": fmt.Sprintf("many%02d", i)}), many)
	}
	var w *httptest.ResponseRecorder
	peak := peakWithin(5*maxUIBytes, func() {
		w = httptest.NewRecorder()
		g.api.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	})
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	page := string(body)
	if len(page) > maxUIBytes*5/4 || peak > 5*maxUIBytes {
		t.Errorf("the page has %d bytes and takes %d", len(page), peak)
	}
	for _, want := range []string{
		"… (1048576 bytes)", "too long for this page: ", "… (",
		"more series, too many for this page", "the first ", "filter to see the others",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not on the page", want)
		}
	}
	if n := strings.Count(page, "data-delete="); n < 10 {
		t.Errorf("%d groups can be deleted", n)
	}
}
