package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft" //nolint:depguard // the state machine takes raft's log entries
	"github.com/prometheus/client_golang/prometheus"

	"pushquorum/fsm"
)

// replica is a cluster of one without a log: it applies each command at once, or fails as it is told to.
type replica struct {
	*fsm.FSM

	mu       sync.Mutex
	applyErr error
	result   *fsm.Result // instead of applying
	barrier  error
	age      time.Duration
	behind   bool // never caught up
	ready    error
	healthy  error
	now      time.Time
	commands int
}

func (r *replica) Apply(ctx context.Context, command []byte) (fsm.Result, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commands++
	if err := ctx.Err(); err != nil {
		return fsm.Result{}, err
	}
	if r.applyErr != nil || r.result != nil {
		if r.result == nil {
			return fsm.Result{}, r.applyErr
		}
		return *r.result, r.applyErr
	}
	r.now = r.now.Add(time.Second)
	return commit(r.FSM, command, r.now), nil
}

// commit applies a command as the next entry of the log.
func commit(f *fsm.FSM, command []byte, now time.Time) fsm.Result {
	return f.Apply(&raft.Log{Index: f.Applied() + 1, Type: raft.LogCommand, Data: fsm.Seal([][]byte{command},
		now)}).([]fsm.Result)[0]
}

func (r *replica) ReadBarrier(context.Context) error       { return r.barrier }
func (r *replica) Staleness() (age time.Duration, ok bool) { return r.age, !r.behind }
func (r *replica) Ready() error                            { return r.ready }
func (r *replica) Healthy() error                          { return r.healthy }
func (r *replica) applied() int                            { r.mu.Lock(); defer r.mu.Unlock(); return r.commands }

var errNoLeader = errors.New("no leader")

// gateway is an API on a replica, behind a real server unless a test calls it directly.
type gateway struct {
	t       testing.TB
	api     *API
	replica *replica
	server  *httptest.Server
}

// start serves an API whose Config the option functions may change.
func start(t testing.TB, options ...func(*Config)) *gateway {
	t.Helper()
	g := startWithoutServer(t, options...)
	g.server = httptest.NewServer(g.api)
	g.server.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	t.Cleanup(g.server.Close)
	return g
}

// startWithoutServer makes an API that a test calls directly, or serves itself.
func startWithoutServer(t testing.TB, options ...func(*Config)) *gateway {
	t.Helper()
	g := &gateway{t: t, replica: &replica{FSM: fsm.New(slog.New(slog.DiscardHandler)), now: time.Unix(1700000000, 0)}}
	registry := prometheus.NewRegistry()
	cfg := Config{Replica: g.replica, Store: g.replica, Registerer: registry, Gatherer: registry, EnableAdmin: true}
	for _, option := range options {
		option(&cfg)
	}
	var err error
	if g.api, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return g
}

type answer struct {
	code   int
	header http.Header
	body   string
}

// do sends a request; header alternates names and values.
func (g *gateway) do(method, path, body string, header ...string) answer {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, g.server.URL, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	path, r.URL.RawQuery, _ = strings.Cut(path, "?")
	r.URL.Opaque = "//" + r.URL.Host + path // as it stands
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := g.server.Client().Do(r)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatalf("%s %s: reading the answer: %v", method, path, err)
	}
	return answer{res.StatusCode, res.Header, string(content)}
}

// must sends a request that has to be answered with code.
func (g *gateway) must(code int, method, path, body string, header ...string) answer {
	g.t.Helper()
	a := g.do(method, path, body, header...)
	if a.code != code {
		g.t.Fatalf("%s %s: want %d, got %d: %s", method, path, code, a.code, a.body)
	}
	return a
}

// scrape returns the lines of the telemetry path that are not comments.
func (g *gateway) scrape() string {
	g.t.Helper()
	var samples strings.Builder
	for line := range strings.Lines(g.must(http.StatusOK, "GET", "/metrics", "").body) {
		if !strings.HasPrefix(line, "#") {
			samples.WriteString(line)
		}
	}
	return samples.String()
}

// without returns the lines of s that do not contain part.
func without(s, part string) string {
	var out strings.Builder
	for line := range strings.Lines(s) {
		if !strings.Contains(line, part) {
			out.WriteString(line)
		}
	}
	return out.String()
}
