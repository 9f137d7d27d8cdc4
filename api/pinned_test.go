package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
)

// weights is a Store of which only that is asked.
type weights struct {
	Store
	stored, replaced int64
}

func (w *weights) Weight() (stored, replaced int64) { return w.stored, w.replaced }

func TestWhoBeganFirstIsCutWhenTheStateIsReplaced(t *testing.T) {
	store := &weights{stored: 100}
	p := newPinned(store, 100)
	cut := prometheus.NewCounter(prometheus.CounterOpts{Name: "cut"})
	client := func() *recipient {
		return newRecipient(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", http.NoBody), cut)
	}
	first, second := client(), client()
	leaveFirst := p.hold(first)
	store.replaced = 60
	leaveSecond := p.hold(second)
	for _, row := range []struct {
		replaced      int64
		first, second bool // cut
	}{
		{60, false, false}, {80, false, false}, // 80 + 20
		{81, true, false}, {160, true, false}, {1000, true, false}, // one alone keeps one state at most
	} {
		store.replaced = row.replaced
		p.relieve()
		if first.cut != row.first || second.cut != row.second {
			t.Errorf("when %d are replaced: the first is cut: %v, the second: %v", row.replaced, first.cut, second.cut)
		}
	}
	p.limit = 50 // which is less than there is
	if p.relieve(); second.cut {
		t.Error("not even one state may be kept")
	}
	store.stored = 50 // what was larger is one no more
	p.relieve()
	if !second.cut {
		t.Error("more is kept than may be stored")
	}
	if _, err := first.Write([]byte("x")); err == nil {
		t.Error("who is cut is sent more")
	}
	leaveFirst()
	leaveSecond()
	if len(p.clients) != 0 || p.count.Load() != 0 {
		t.Errorf("%d are remembered", len(p.clients))
	}
}

// TestSlowReadersKeepOneStateAtMost, whichever answer is made while it is sent.
func TestSlowReadersKeepOneStateAtMost(t *testing.T) {
	for _, path := range []string{"/api/v1/metrics", "/metrics"} {
		synctest.Test(t, func(t *testing.T) {
			g := startWithoutServer(t, func(c *Config) { c.PageBytes, c.Limits.StateBytes = 1, 1 }) // every page is streamed
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
			g.api.pinned.relieve()
			ended := 0
			for _, answer := range answers {
				if b, err := io.ReadAll(answer); err != nil || len(b) < 10_000 {
					ended++
				}
			}
			if ended != len(answers)-1 {
				t.Errorf("%s: of %d who were sent what has been replaced %d were cut off, want all but one", path, len(answers), ended)
			}
		})
	}
}
