package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// refusing is a cluster of one replica that answers everything with a status and a body.
func refusing(t *testing.T, status int, body string) *cluster {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = fmt.Fprint(w, body)
	}))
	t.Cleanup(server.Close)
	c := &cluster{history: newHistory(), inspector: newAsker(), out: io.Discard}
	c.replicas = []*replica{{c: c, name: "r1", member: true, web: strings.TrimPrefix(server.URL, "http://")}}
	return c
}

func TestAPushMayBeRefusedAsFullWhileItIs(t *testing.T) {
	const why = "--limit.groups=500 groups are stored: delete some\n"
	for _, row := range []struct {
		name       string
		full, over bool // the fault is on; it was
		kind       kind
		body       string
		violation  string
	}{
		{"a push while it is full", true, false, put, why, ""},
		{"one that adds families", true, false, post, why, ""},
		{"a push that is not told why", true, false, put, "", "does not say of what"},
		{"a delete", true, false, remove, why, "answered DELETE"},
		{"a wipe", true, false, wipe, why, "answered PUT"},
		{"a push while nobody fills it", false, false, put, why, "answered PUT"},
		{"a push after it was full", false, true, put, why, "answered PUT"},
	} {
		c := refusing(t, http.StatusTooManyRequests, row.body)
		if row.full || row.over {
			c.beginFull()
		}
		if row.over {
			c.endFull()
		}
		w := &writer{c: c, asker: newAsker()}
		q, path, ok := operation{kind: row.kind, content: content{there: true, values: [families]int32{1}}}.request(
			&group{name: "g"})
		q.url = c.replicas[0].url(path)
		done, sent := w.once(c.replicas[0], q, ok)
		if done {
			t.Errorf("%s: it is said to be done", row.name)
		}
		switch {
		case row.violation == "" && (len(c.violations) > 0 || sent):
			t.Errorf("%s: violations %q; it may have happened: %v", row.name, c.violations, sent)
		case row.violation != "" && (len(c.violations) == 0 || !strings.Contains(c.violations[0], row.violation)):
			t.Errorf("%s: violations %q, want %q", row.name, c.violations, row.violation)
		}
	}
}

func TestTheTimesWhenReplicasMayBeFull(t *testing.T) {
	seconds := func(n int) time.Duration { return time.Duration(n) * time.Second }
	c := &cluster{
		history: newHistory(), full: []span{{from: 2 * time.Second, to: 4 * time.Second}, {from: 8 * time.Second}},
	}
	for _, row := range []struct {
		from, to int
		want     bool
	}{{0, 1, false}, {1, 3, true}, {3, 5, true}, {1, 9, true}, {5, 7, false}, {9, 10, true}} {
		if got := c.mayBeFull(seconds(row.from), seconds(row.to)); got != row.want {
			t.Errorf("from %d to %d s: %v", row.from, row.to, got)
		}
	}
}

func TestWhatFilledTheReplicasIsDeleted(t *testing.T) {
	left := map[string]bool{"1-0-0": true, "1-0-1": true}
	var mu sync.Mutex
	var deleted []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if q.Method == http.MethodGet {
			for instance := range left {
				_, _ = fmt.Fprintf(w, "full{instance=%q,job=\"full\"} 1\n", instance)
			}
			_, _ = fmt.Fprint(w, "full{instance=\"x\",job=\"another\"} 1\n")
			return
		}
		deleted = append(deleted, q.URL.Path)
		w.WriteHeader(http.StatusAccepted)
		if len(deleted) == 2 {
			clear(left)
		}
	}))
	t.Cleanup(server.Close)
	c := refusing(t, http.StatusOK, "")
	c.replicas[0].web = strings.TrimPrefix(server.URL, "http://")
	n := &nemesis{c: c, asker: newAsker()}
	if err := n.drain(); err != nil || len(deleted) > 0 {
		t.Errorf("nobody has filled it: %v, deleted %q", err, deleted)
	}
	c.beginFull()
	if err := n.drain(); err != nil || len(deleted) != 2 || c.isFull() {
		t.Errorf("%v, deleted %q", err, deleted)
	}
}
