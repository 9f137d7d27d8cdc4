package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"pushquorum/expo"
	"pushquorum/expo/page"
	"pushquorum/fsm"
)

// logBook keeps what was logged above debug level.
type logBook struct {
	mu    sync.Mutex
	lines []string
}

// Write implements io.Writer: a handler writes each line at once.
func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

// want fails unless as many lines were logged, each with the text.
func (l *logBook) want(t *testing.T, n int, text string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if !strings.Contains(line, text) {
			t.Errorf("want lines with %q only, got %s", text, line)
		}
	}
	if len(l.lines) != n {
		t.Errorf("%d lines were logged, want %d with %q:\n%s", len(l.lines), n, text, strings.Join(l.lines, ""))
	}
}

// logged starts a gateway whose log is kept.
func logged(t *testing.T, options ...func(*Config)) (*gateway, *logBook) {
	t.Helper()
	book := &logBook{}
	log := slog.New(slog.NewTextHandler(book, nil))
	return start(t, append(options, func(c *Config) { c.Logger = log })...), book
}

// failing is a process whose own metrics cannot be gathered.
type failing struct{ with func() error }

func (f failing) Gather() ([]*dto.MetricFamily, error) { return nil, f.with() }

// What is wrong with what is stored, or with this program, each scrape meets anew.
func TestWhatEachScrapeMeetsIsLoggedOnce(t *testing.T) {
	type row struct {
		name   string
		option func(*Config)
		before func(*testing.T, *gateway) // the scrapes
		path   string
		want   string
	}
	damaged := func(t *testing.T, g *gateway) {
		t.Helper()
		g.must(http.StatusOK, "PUT", "/metrics/job/bad", "# TYPE bad gauge\nbad 1\n")
		bad, _ := g.replica.FSM.View().Group(expo.NewLabels(map[string]string{"job": "bad"}).Key())
		bad.Families[0].Metrics()[1] ^= 0x40
	}
	headless := func(t *testing.T, g *gateway) { // as no code leaves it: what reads it panics
		t.Helper()
		g.must(http.StatusOK, "PUT", "/metrics/job/bad", "# TYPE bad gauge\nbad 1\n")
		bad, _ := g.replica.FSM.View().Group(expo.NewLabels(map[string]string{"job": "bad"}).Key())
		bad.Families[0].Header = nil
	}
	for _, row := range []row{
		{"a part that cannot be shown", nil, damaged, "/metrics", "parts of the stored metrics cannot be shown"},
		{"a part that cannot be shown on the page", nil, damaged, "/", "a stored metric cannot be shown"},
		{"a part that cannot be shown as JSON", nil, damaged, "/api/v1/metrics", "writing an answer failed"},
		{
			"a part that makes the page writer panic", nil, headless, "/metrics",
			": runtime error: invalid memory address",
		},
		{
			"a part that makes the JSON panic", nil, headless, "/api/v1/metrics",
			": runtime error: invalid memory address",
		},
		{"own metrics that cannot be gathered", func(c *Config) {
			c.IncludeSelf, c.Gatherer = true, failing{func() error { return errors.New("no own metrics") }}
		}, nil, "/metrics", "no own metrics"},
		{"own metrics that panic", func(c *Config) {
			c.IncludeSelf, c.Gatherer = true, failing{func() error { panic("no own metrics") }}
		}, nil, "/metrics", ": no own metrics"},
		{"own metrics that cannot be gathered, alone", func(c *Config) {
			c.Gatherer = failing{func() error { return errors.New("no own metrics") }}
		}, nil, "/-/metrics", "no own metrics"},
	} {
		t.Run(row.name, func(t *testing.T) {
			g, book := logged(t, func(c *Config) {
				if row.option != nil {
					row.option(c)
				}
			})
			server := &logBook{}
			g.server.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(server, nil), slog.LevelError)
			if row.before != nil {
				row.before(t, g)
			}
			for range 3 {
				for _, encoding := range []string{page.Identity, page.Gzip, page.Zstd} {
					get(t, g, row.path, encoding)
				}
			}
			book.want(t, 1, row.want)
			server.want(t, 0, "")
		})
	}
}

// get asks for a path and takes whatever answer there is, if there is one: a new connection each time, because net/http
// asks again on one that was used before.
func get(t *testing.T, g *gateway, path, encoding string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	r.Header.Set("Accept-Encoding", encoding)
	res, err := g.server.Client().Do(r)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
}

func TestACauseThatWasGoneIsNewsAgain(t *testing.T) {
	book := &logBook{}
	l := newScrapeLog(slog.New(slog.NewTextHandler(book, nil)))
	now := time.Unix(1, 0)
	l.now = func() time.Time { return now }
	for i, step := range []struct {
		after time.Duration
		msg   string
		cause string
		lines int
	}{
		{0, "m", "a", 1},
		{0, "m", "a", 1},
		{0, "m", "b", 2},
		{0, "n", "a", 3},
		{forgetCause, "m", "a", 3}, // it was met all the time
		{forgetCause, "m", "a", 3},
		{1, "m", "b", 4},
	} {
		now = now.Add(step.after)
		l.once(slog.LevelError, errors.New(step.cause), step.msg)
		if len(book.lines) != step.lines {
			t.Errorf("step %d: %d lines, want %d", i, len(book.lines), step.lines)
		}
	}
}

func TestCausesDoNotPileUp(t *testing.T) {
	l := newScrapeLog(slog.New(slog.DiscardHandler))
	now := time.Unix(1, 0)
	l.now = func() time.Time { return now }
	for i := range 3 * maxCauses {
		now = now.Add(time.Millisecond)
		l.once(slog.LevelError, errors.New("the one that stays"), "m")
		l.once(slog.LevelError, fmt.Errorf("cause %d", i), "m")
	}
	if len(l.met) != maxCauses {
		t.Errorf("%d causes are remembered, want %d", len(l.met), maxCauses)
	}
	if l.isNews("m\nthe one that stays") {
		t.Error("what is met all the time is forgotten")
	}
}

// goneWriter is a client that is not there any more.
type goneWriter struct {
	*httptest.ResponseRecorder
	err error
}

func (w goneWriter) Write([]byte) (int, error) { return 0, w.err }

// Clients give up, more of them the slower a replica is: that is nothing to wake somebody up for.
func TestAScrapeThatIsCancelledIsNoError(t *testing.T) {
	for _, path := range []string{"/metrics", "/api/v1/metrics", "/api/v1/status", "/-/metrics", "/"} {
		for _, err := range []error{
			fmt.Errorf("write tcp: %w", syscall.EPIPE), fmt.Errorf("write tcp: %w", syscall.ECONNRESET),
			context.Canceled,
			errors.New("http2: stream closed"), errors.New("client disconnected"), io.ErrShortWrite,
		} {
			t.Run(path+" "+err.Error(), func(t *testing.T) {
				g, book := logged(t)
				g.must(http.StatusOK, "PUT", "/metrics/job/a", "x 1\n")
				func() {
					defer func() { _ = recover() }() // that the connection is closed has its own test
					g.api.ServeHTTP(goneWriter{httptest.NewRecorder(), err}, httptest.NewRequest(http.MethodGet, path,
						nil))
				}()
				book.want(t, 0, "")
			})
		}
	}
}

// TestAScrapeThatIsCancelledWhileItWaitsIsNoError: it waits for a page that another one builds.
func TestAScrapeThatIsCancelledWhileItWaitsIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		book := &logBook{}
		own := &ownMetrics{hold: make(chan struct{})}
		machine := &replica{FSM: fsm.New(slog.New(slog.DiscardHandler)), now: time.Unix(1, 0)}
		log := slog.New(slog.NewTextHandler(book, nil))
		registry := prometheus.NewRegistry()
		a, err := New(Config{
			Replica: machine, Store: machine, Registerer: registry, Gatherer: own, IncludeSelf: true,
			Logger: log,
		})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		scrape := func(ctx context.Context) {
			wg.Go(func() {
				defer func() { _ = recover() }()
				a.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics",
					nil))
			})
			synctest.Wait()
		}
		scrape(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		scrape(ctx)
		cancel()
		synctest.Wait()
		close(own.hold)
		wg.Wait()
		book.want(t, 0, "")
	})
}

// TestScrapesOverHTTP2ThatAreCancelledAreNoErrors, in the middle of an answer that does not fit into what is under way.
func TestScrapesOverHTTP2ThatAreCancelledAreNoErrors(t *testing.T) {
	g, book := logged(t)
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "x{filler=\""+strings.Repeat("y", 8<<20)+"\"} 1\n")
	server := httptest.NewUnstartedServer(g.api)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for _, path := range []string{"/metrics", "/api/v1/metrics"} {
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept-Encoding", page.Identity)
			res, err := server.Client().Do(r)
			if err != nil || res.ProtoMajor != 2 {
				t.Fatalf("%v: %v", res, err)
			}
			_, _ = io.CopyN(io.Discard, res.Body, 1<<10)
			cancel()
			_ = res.Body.Close()
		}
	}
	server.Close() // which waits for the requests
	book.want(t, 0, "")
}
