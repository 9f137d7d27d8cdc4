package api

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/collectors"

	"pushquorum/expo"
	"pushquorum/fsm"
)

// discard is a ResponseWriter that counts.
type discard struct {
	header http.Header
	code   int // 0 for 200
	bytes  int64
	cut    bool // the handler has ended the connection
}

func (d *discard) Header() http.Header  { return d.header }
func (d *discard) WriteHeader(code int) { d.code = code }
func (d *discard) Write(b []byte) (int, error) {
	gate.RLock()
	defer gate.RUnlock()
	d.bytes += int64(len(b))
	return len(b), nil
}

// BenchmarkScrape scrapes 10,000 groups of 20 series, without a network: in a cluster and standalone, with nothing
// changed and after 100 pushes.
func BenchmarkScrape(b *testing.B) {
	const groups, changes = 10_000, 100
	forms := []struct {
		name   string
		header http.Header
	}{{"text", scrapeForms[0]}, {"protobuf", scrapeForms[3]}, {"gzip", scrapeForms[1]}}
	for _, self := range []bool{false, true} {
		g := start(b, func(c *Config) {
			c.IncludeSelf = self
			c.Registerer.MustRegister(collectors.NewGoCollector(),
				collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		})
		for i := range groups {
			benchPush(b, g, i, 0)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		scrape := func(header http.Header) int64 {
			r := httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody)
			r.Header = header
			w := &discard{header: http.Header{}}
			g.api.ServeHTTP(w, r)
			return w.bytes
		}
		for _, f := range forms {
			name := fmt.Sprintf("self=%v/form=%s", self, f.name)
			b.Run(name+"/unchanged", func(b *testing.B) {
				b.SetBytes(scrape(f.header))
				b.ReportAllocs()
				for b.Loop() {
					scrape(f.header)
				}
			})
			b.Run(fmt.Sprintf("%s/pushes=%d", name, changes), func(b *testing.B) {
				b.SetBytes(scrape(f.header))
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					b.StopTimer()
					for range changes {
						benchPush(b, g, rng.IntN(groups), i)
					}
					b.StartTimer()
					scrape(f.header)
				}
			})
		}
	}
}

// BenchmarkPush pushes 4 families of 5 series, without a network and without a log.
func BenchmarkPush(b *testing.B) {
	g := start(b)
	body := benchBody(1)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequest(http.MethodPut, "/metrics/job/bench/instance/host", strings.NewReader(body))
		g.api.ServeHTTP(&discard{header: http.Header{}}, r)
	}
}

func benchBody(value int) string {
	var body strings.Builder
	for f := range 4 {
		fmt.Fprintf(&body, "# HELP bench_family_%d_total What the job counted.\n# TYPE bench_family_%d_total "+
			"counter\n", f, f)
		for s := range 5 {
			fmt.Fprintf(&body, "bench_family_%d_total{code=\"%d\",method=\"PUT\"} %d.5\n", f, 200+s, value)
		}
	}
	return body.String()
}

func benchPush(tb testing.TB, g *gateway, group, value int) {
	tb.Helper()
	labels := expo.NewLabels(map[string]string{"job": "bench", "instance": fmt.Sprintf("host-%07d", group)})
	plain := expo.Plain([]byte(benchBody(value)), labels)
	if plain == nil {
		tb.Fatal("not plain")
	}
	command := fsm.EncodePush(fsm.Request{ID: fsm.NewRequestID()}, labels, true, plain.Families())
	plain.Release()
	if res := commit(g.replica.FSM, command, time.Unix(1_700_000_000+int64(value), 0)); res.Status != fsm.Applied {
		tb.Fatal(res)
	}
}
