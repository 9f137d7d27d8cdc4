package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// weights is a Store of which only that is asked.
type weights struct {
	Store
	stored, replaced int64
}

func (w *weights) Weight() (stored, replaced int64) { return w.stored, w.replaced }

func TestWhoIsSlowestIsCutWhenTheStateIsReplaced(t *testing.T) {
	cut := prometheus.NewCounter(prometheus.CounterOpts{Name: "cut"})
	client := func(stalls time.Duration) *recipient {
		rc := newRecipient(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody), cut)
		if stalls > 0 {
			rc.writing = time.Now().Add(-stalls)
		}
		return rc
	}
	for name, row := range map[string]struct {
		stalls [3]time.Duration // of clients that began when 0, 60 and 120 were replaced
		wants  map[int64][3]bool
	}{
		"none reads": {[3]time.Duration{time.Second, time.Second, time.Second}, map[int64][3]bool{
			// one alone keeps one state at most
			120: {true, false, false}, 200: {true, true, false}, 1000: {true, true, false},
		}},
		"the second does not": {[3]time.Duration{0, time.Second, 0}, map[int64][3]bool{
			120: {false, true, false}, 200: {false, true, false}, 1000: {false, true, false},
		}},
		"all read": {[3]time.Duration{}, map[int64][3]bool{
			120: {}, 200: {true, false, false}, 1000: {true, false, false},
		}},
	} {
		store := &weights{stored: 100}
		p := newPinned(store, 100)
		var clients [3]*recipient
		var leave [3]func()
		for i := range clients {
			clients[i], store.replaced = client(row.stalls[i]), int64(60*i)
			leave[i] = p.hold(clients[i])
		}
		for _, replaced := range []int64{120, 200, 1000} {
			store.replaced = replaced
			p.relieve()
			if got := [3]bool{clients[0].cut, clients[1].cut, clients[2].cut}; got != row.wants[replaced] {
				t.Errorf("%s: when %d are replaced: cut are %v, want %v", name, replaced, got, row.wants[replaced])
			}
		}
		for i := range clients {
			leave[i]()
			if _, err := clients[i].Write([]byte("x")); (err != nil) != clients[i].cut {
				t.Errorf("%s: client %d is cut: %v, and a write to it ends with %v", name, i, clients[i].cut, err)
			}
		}
		if len(p.clients) != 0 || p.count.Load() != 0 {
			t.Errorf("%d are remembered", len(p.clients))
		}
	}
}

// TestSlowReadersKeepOneStateAtMost, whichever answer is made while it is sent.
func TestSlowReadersKeepOneStateAtMost(t *testing.T) {
	for _, path := range []string{"/api/v1/metrics", "/metrics"} {
		synctest.Test(t, func(t *testing.T) {
			// every page is streamed
			g := startWithoutServer(t, func(c *Config) { c.PageBytes, c.Limits.StateBytes = 1, 1 })
			push := func(value int) {
				for i := range 100 {
					benchPush(t, g, i, value)
				}
			}
			push(0)
			p := g.overPipes(t)
			answers := make([]io.Reader, maxQueries)
			for i := range answers {
				answers[i] = p.dial(t, "GET "+path, "Connection", "close")
				if _, err := io.ReadFull(answers[i], make([]byte, 100)); err != nil {
					t.Fatal(err)
				}
			}
			push(1)
			push(2)
			time.Sleep(stalledUnderPressure) //nolint:forbidigo // the clock is the bubble's
			g.api.pinned.relieve()
			ended := 0
			for _, answer := range answers {
				if b, err := io.ReadAll(answer); err != nil || len(b) < 10_000 {
					ended++
				}
			}
			if ended != len(answers)-1 {
				t.Errorf("%s: of %d who were sent what has been replaced %d were cut off, want all but one", path,
					len(answers), ended)
			}
		})
	}
}
