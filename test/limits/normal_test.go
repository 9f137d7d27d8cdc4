package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// answering is a cluster of replicas that are served by handlers, in a control group that counts no kill.
func answering(t *testing.T, within time.Duration, handlers ...http.HandlerFunc) *cluster {
	t.Helper()
	memory := files(t, map[string]string{"memory.events": "oom_kill 0\n"})
	c := &cluster{ledger: newLedger(), client: newClient(0), room: room{within: within}}
	for i, h := range handlers {
		server := httptest.NewServer(h)
		t.Cleanup(server.Close)
		r := &replica{web: strings.TrimPrefix(server.URL, "http://"), group: &group{version: 2, memory: memory}}
		r.Name = fmt.Sprintf("r%d", i+1)
		c.replicas = append(c.replicas, r)
	}
	return c
}

// says answers one method with a status and a body, and all others as a replica that is well.
func says(method string, status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		switch q.Method {
		case method:
			w.WriteHeader(status)
			_, _ = fmt.Fprint(w, body)
		case http.MethodDelete:
			w.WriteHeader(http.StatusAccepted)
		}
	}
}

func TestWhatANormalClientIsToBeTold(t *testing.T) {
	for _, row := range []struct {
		name    string
		within  time.Duration
		handler http.HandlerFunc
		want    string // "" all is well
	}{
		{"all is well", time.Minute, says("", 0, ""), ""},
		{"a push is refused for the memory", time.Minute, says(http.MethodPut, 429, "--limit.state-bytes: full\n"), ""},
		{"a push is refused for the disk", time.Minute, says(http.MethodPut, 507, "--storage.min-free: full\n"), ""},
		{
			"a push is refused and nobody says why", time.Minute, says(http.MethodPut, 503, ""),
			"a push was answered with 503",
		},
		{"a push is bad", time.Minute, says(http.MethodPut, 400, "bad\n"), "a push was answered with 400"},
		{"a delete is refused", time.Minute, says(http.MethodDelete, 503, "busy\n"), "a delete was answered with 503"},
		{"a scrape is refused", time.Minute, says(http.MethodGet, 503, "busy\n"), "a scrape was answered with 503"},
		{"no answer comes in time", 0, says("", 0, ""), "GET http"},
	} {
		n := newNormal(answering(t, row.within, row.handler))
		n.round(t.Context())
		n.close()
		if err := n.err(); row.want == "" && err != nil ||
			row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
}

func TestAnAnswerMayBeLate(t *testing.T) {
	r := room{within: 2 * time.Second}
	if r.late(2*time.Second) != nil || r.late(2*time.Second+time.Millisecond) == nil {
		t.Error("2 s are in time, and a millisecond more is not")
	}
}

func TestReplicasMustAgreeAndShowWhatWasAcknowledged(t *testing.T) {
	stands := func(index int, hash, page string) http.HandlerFunc {
		return func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == "/metrics" {
				_, _ = fmt.Fprint(w, page)
				return
			}
			_, _ = fmt.Fprintf(w, `{"data":{"applied_index":%d,"state_hash":%q}}`, index, hash)
		}
	}
	for _, row := range []struct {
		name string
		one  http.HandlerFunc
		want string
	}{
		{"they agree", stands(7, "a", "x 1\n"), ""},
		{"one is behind", stands(6, "a", "x 1\n"), "not at one state"},
		{"one has another state", stands(7, "b", "x 1\n"), "not at one state"},
		{"one has another page", stands(7, "a", "x 1\ny 1\n"), "differ at the same state"},
		{"one has no page", says(http.MethodGet, 503, "busy"), "does not say its state"},
	} {
		c := answering(t, time.Minute, stands(7, "a", "x 1\n"), row.one)
		c.room.ready = time.Second // what does not come right by then is wrong
		c.ledger.pushed("x", "x", "1")
		if err := c.agree(t.Context()); row.want == "" && err != nil ||
			row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: got %v, want %q", row.name, err, row.want)
		}
	}
	c := answering(t, time.Minute, stands(7, "a", "x 1\n"))
	c.room.ready = time.Second
	c.ledger.pushed("y", "y", "")
	if err := c.agree(t.Context()); err == nil ||
		!strings.Contains(err.Error(), "y was acknowledged and is not there") {
		t.Errorf("what is lost: got %v", err)
	}
}

func TestAKillByTheKernelIsToldOnce(t *testing.T) {
	c := answering(t, time.Minute, says("", 0, ""))
	c.replicas[0].kills = -1 // fewer than the group counts
	c.replicas[0].Log = "r1.log"
	if err := c.dead(); err == nil || !strings.Contains(err.Error(), "r1 was killed by the kernel") {
		t.Errorf("got %v", err)
	}
	if err := c.dead(); err != nil {
		t.Errorf("and again: %v", err)
	}
}
