package api

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

func TestReadsFollowThePolicy(t *testing.T) {
	const fresh, stale, unavailable = "fresh", "stale", "unavailable"
	for name, test := range map[string]struct {
		consistency Consistency
		barrier     error
		age         time.Duration
		behind      bool
		want        string
	}{
		"available with a leader":                  {Available, nil, time.Hour, false, fresh},
		"available without a leader":               {Available, errNoLeader, 90 * time.Second, false, stale},
		"available, as old as is allowed":          {Available, errNoLeader, 5 * time.Minute, false, stale},
		"available, too old":                       {Available, errNoLeader, 5*time.Minute + 1, false, unavailable},
		"available, never caught up":               {Available, errNoLeader, 0, true, unavailable},
		"available, just caught up by the barrier": {Available, nil, 0, true, fresh},
		"linearizable with a leader":               {Linearizable, nil, 0, false, fresh},
		"linearizable without a leader":            {Linearizable, errNoLeader, 0, false, unavailable},
		"local without a leader":                   {Local, errNoLeader, time.Hour, false, fresh},
		"local, never caught up":                   {Local, nil, 0, true, unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, func(c *Config) { c.Read.Consistency = test.consistency })
			g.must(http.StatusOK, "PUT", "/metrics/job/a", "here 1\n")
			g.replica.barrier, g.replica.age, g.replica.behind = test.barrier, test.age, test.behind
			for path, content := range map[string]string{
				"/metrics": "here{", "/api/v1/metrics": `"here":`,
				"/": "<code>here</code>",
			} {
				a := g.do("GET", path, "")
				if path == "/" {
					if a.code != http.StatusOK || strings.Contains(a.body, "class=\"notice\"") != (test.want != fresh) {
						t.Errorf("/: want the page, with a notice unless it is fresh, got %d: %s", a.code, a.body)
					}
				} else if wantCode := map[bool]int{
					false: http.StatusOK,
					true:  http.StatusServiceUnavailable,
				}[test.want == unavailable]; a.code != wantCode {
					t.Errorf("%s: want %d, got %d: %s", path, wantCode, a.code, a.body)
				} else if (a.header.Get("Retry-After") == "1") != (test.want == unavailable) {
					t.Errorf("%s: Retry-After is %q with status %d", path, a.header.Get("Retry-After"), a.code)
				}
				if strings.Contains(a.body, content) == (test.want == unavailable) {
					t.Errorf("%s: the state is shown although unavailable, or is not shown: %s", path, a.body)
				}
				wantHeader := ""
				if test.want == stale {
					wantHeader = map[time.Duration]string{
						90 * time.Second: "90.000",
						5 * time.Minute:  "300.000",
					}[test.age]
				}
				if got := a.header.Get("X-PushQuorum-Stale"); got != wantHeader {
					t.Errorf("%s: want staleness %q, got %q", path, wantHeader, got)
				}
			}
			gauge := map[string]string{fresh: "0", stale: map[time.Duration]string{
				90 * time.Second: "90",
				5 * time.Minute:  "300",
			}[test.age], unavailable: "0"}[test.want]
			if own := g.must(http.StatusOK, "GET", "/-/metrics", "").body; !strings.Contains(own,
				"pushquorum_read_stale_seconds "+gauge+"\n") {
				t.Errorf("want pushquorum_read_stale_seconds %s in\n%s", gauge, own)
			}
		})
	}
}

func TestScrapesAreNegotiated(t *testing.T) {
	g := start(t)
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "x 1\n")
	const text = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
	for name, test := range map[string]struct {
		accept, encoding string
		wantType         string
		decode           func(io.Reader) (io.Reader, error)
	}{
		"nothing asked": {"", "", text, nil},
		"gzip":          {"", "gzip", text, func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
		"zstd": {
			"", "gzip;q=0.5, zstd", text,
			func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
		},
		"OpenMetrics": {"application/openmetrics-text;version=1.0.0", "", text, nil},
		"protobuf": {
			string(expfmt.NewFormat(expfmt.TypeProtoDelim)), "",
			string(expfmt.NewFormat(expfmt.TypeProtoDelim)), nil,
		},
		"protobuf, gzip": {
			string(expfmt.NewFormat(expfmt.TypeProtoDelim)), "gzip",
			string(expfmt.NewFormat(expfmt.TypeProtoDelim)),
			func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			r.Header.Set("Accept", test.accept)
			r.Header.Set("Accept-Encoding", test.encoding)
			w := httptest.NewRecorder()
			g.api.ServeHTTP(w, r)
			h := w.Header()
			if got := h.Get("Content-Type"); !strings.HasPrefix(got, test.wantType) {
				t.Errorf("want content type %q, got %q", test.wantType, got)
			}
			if h.Get("Vary") != "Accept, Accept-Encoding" || (h.Get("Content-Encoding") != "") != (test.decode != nil) {
				t.Errorf("unexpected headers %v", h)
			}
			var body io.Reader = w.Body
			if test.decode != nil {
				var err error
				if body, err = test.decode(body); err != nil {
					t.Fatal(err)
				}
			}
			decoder, seen := expfmt.NewDecoder(body, expfmt.ResponseFormat(h)), []string(nil)
			for {
				mf := &dto.MetricFamily{}
				if err := decoder.Decode(mf); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				seen = append(seen, mf.GetName())
			}
			slices.Sort(seen) // the text decoder has an order of its own
			if want := []string{"push_failure_time_seconds", "push_time_seconds", "x"}; !slices.Equal(seen, want) {
				t.Errorf("want %v, got %v", want, seen)
			}
		})
	}
}

func TestOwnMetricsShareThePageWhereTheyAreAskedFor(t *testing.T) {
	for _, include := range []bool{false, true} {
		g := start(t, func(c *Config) { c.IncludeSelf = include })
		g.must(http.StatusOK, "PUT", "/metrics/job/a", "x 1\n")
		page, own := g.must(http.StatusOK, "GET", "/metrics", "").body, g.must(http.StatusOK, "GET", "/-/metrics",
			"").body
		for _, want := range []string{
			"# TYPE pushgateway_build_info gauge\n",
			"# TYPE pushgateway_http_requests_total " +
				"counter\npushgateway_http_requests_total{code=\"200\",handler=\"push\",method=\"put\"} 1\n",
			"# TYPE pushgateway_http_push_duration_seconds summary\n",
			"pushgateway_http_push_size_bytes_count{method=\"put\"} 1\n",
		} {
			if !strings.Contains(own, want) {
				t.Errorf("/-/metrics: want %q in\n%s", want, own)
			}
			if strings.Contains(page, want) != include {
				t.Errorf("/metrics with IncludeSelf=%v: %q in\n%s", include, want, page)
			}
		}
		if strings.Contains(own, "x{") || !strings.Contains(page, "x{instance=\"\",job=\"a\"} 1\n") {
			t.Errorf("the pushed metric belongs to /metrics alone")
		}
	}
}

func TestAPushMayShareTheNameAndTypeOfAnOwnMetric(t *testing.T) {
	g := start(t, func(c *Config) {
		c.IncludeSelf = true
		c.Registerer.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "own", Help: "Ours."}))
	})
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "# HELP own Theirs.\n# TYPE own gauge\nown 1\n")
	want := "# HELP own Ours.\n# TYPE own gauge\nown 0\nown{instance=\"\",job=\"a\"} 1\n"
	if page := g.must(http.StatusOK, "GET", "/metrics", "").body; !strings.Contains(page, want) {
		t.Errorf("want\n%s\nin\n%s", want, page)
	}
}

// TestAStoredClashDoesNotSpoilThePage pushes before the process has the metric.
func TestAStoredClashDoesNotSpoilThePage(t *testing.T) {
	var registerer prometheus.Registerer
	g := start(t, func(c *Config) { c.IncludeSelf, registerer = true, c.Registerer })
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "# TYPE own counter\nown 7\n# TYPE late_sum gauge\nlate_sum 8\n# "+
		"TYPE x gauge\nx 9\n")
	registerer.MustRegister(
		prometheus.NewGauge(prometheus.GaugeOpts{Name: "own"}),
		prometheus.NewSummary(prometheus.SummaryOpts{Name: "late"}),
	)
	page := g.scrape()
	for part, want := range map[string]bool{
		"own 0\n": true, "late_sum 0\n": true,
		"x{instance=\"\",job=\"a\"} 9\n": true, " 7\n": false, " 8\n": false,
	} {
		if strings.Contains(page, part) != want {
			t.Errorf("%q: want %v in\n%s", part, want, page)
		}
	}
}

// brokenWriter takes some bytes and no more.
type brokenWriter struct{ *httptest.ResponseRecorder }

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestAnAnswerThatIsCutOffIsNotTakenForAWholeOne(t *testing.T) {
	g := start(t)
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "x 1\n")
	for _, path := range []string{"/metrics", "/api/v1/metrics"} {
		func() {
			defer func() {
				if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // what net/http compares, too
					t.Errorf("%s: want the connection to be closed with %v, got %v", path, http.ErrAbortHandler, p)
				}
			}()
			g.api.ServeHTTP(brokenWriter{httptest.NewRecorder()}, httptest.NewRequest(http.MethodGet, path, nil))
		}()
	}
}
