package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// gateway is what a client needs of one: it keeps lines, forgets some, and refuses some.
type gateway struct {
	mu     sync.Mutex
	lines  []string
	pushes int
	forget int   // the how-manieth push is acknowledged and not kept
	refuse []int // the how-manieth pushes are refused
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Method == http.MethodGet {
		_, _ = fmt.Fprintln(w, strings.Join(g.lines, "\n"))
		return
	}
	g.pushes++
	if slices.Contains(g.refuse, g.pushes) {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	if g.pushes == g.forget {
		return
	}
	part := strings.Split(r.URL.Path, "/") // /metrics/job/J/kind/K/worker/W/n/N
	g.lines = append(g.lines, fmt.Sprintf(`disturbed{instance="",job=%q,kind=%q,n=%q,worker=%q} %s`,
		part[3], part[5], part[9], part[7], part[9]))
}

func TestWhatWasAcknowledgedIsLookedFor(t *testing.T) {
	for _, c := range []struct {
		name   string
		server *gateway
		failed int
		lost   string
	}{
		{name: "all is there", server: &gateway{}},
		{name: "a push is refused", server: &gateway{refuse: []int{5}}, failed: 1},
		{name: "two pushes are refused", server: &gateway{refuse: []int{3, 5}}, failed: 2},
		{name: "an acknowledged push is lost", server: &gateway{forget: 5}, lost: "lacks 1 of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(c.server)
			defer server.Close()
			clients := startClients(t.Context(), "a disturbance", server.URL, server.URL)
			err := clients.going(t.Context(), 3)
			seen := clients.end()
			if err != nil {
				t.Fatal(err)
			}
			if seen.failed != c.failed || seen.sent != c.server.pushes {
				t.Errorf("want %d of %d pushes failed, got %d of %d%s", c.failed, c.server.pushes, seen.failed,
					seen.sent, seen.reasons)
			}
			if (seen.failing > 0) != (c.failed > 1) {
				t.Errorf("%d pushes failed within %s", seen.failed, seen.failing)
			}
			err = clients.lookFor(t.Context(), server.URL)
			if c.lost == "" && err != nil {
				t.Errorf("want nothing lost, got %v", err)
			}
			if c.lost != "" && (err == nil || !strings.Contains(err.Error(), c.lost)) {
				t.Errorf("want %q, got %v", c.lost, err)
			}
		})
	}
}

func TestReasonsOfOneKindAreTheSame(t *testing.T) {
	one := errors.New(`Put "http://10.96.1.2:9091/metrics/job/x": dial tcp 10.96.1.2:9091: connect: connection refused`)
	if got, want := sameReason(one), "dial tcp N: connect: connection refused"; got != want {
		t.Errorf("want %q, got %q", want, got)
	}
}

func TestAConditionThatNeverHoldsSaysWhatIsMissing(t *testing.T) {
	err := until(t.Context(), 50*time.Millisecond, "the sky falls",
		func(context.Context) error { return errors.New("it stays up") })
	if want := "the sky falls: not within 50ms: it stays up"; err == nil || err.Error() != want {
		t.Errorf("want %q, got %v", want, err)
	}
}
