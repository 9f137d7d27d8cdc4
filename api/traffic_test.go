package api

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"pushquorum/fsm"
)

// appliedStore is a store of which nothing but the applied index is asked for.
type appliedStore struct{ index uint64 }

func (s *appliedStore) View() *fsm.View { panic("a view costs something") }

func (s *appliedStore) Weight() (stored, replaced int64) { return 0, 0 }

func (s *appliedStore) Applied() uint64 { return s.index }

func TestTrafficIsThereWhileTheAppliedIndexMoves(t *testing.T) {
	store := &appliedStore{index: 7}
	now := time.Unix(1, 0)
	pushes := &traffic{store: store, now: func() time.Time { return now }}
	for i, look := range []struct {
		after   time.Duration
		applied uint64
		want    bool
	}{
		{0, 7, false}, // nobody knows since when it is 7
		{time.Millisecond, 7, false},
		{time.Millisecond, 8, true},
		{trafficLasts - time.Millisecond, 8, true},
		{time.Millisecond, 8, false},
		{time.Hour, 9, false}, // in an hour
		{time.Millisecond, 9, false},
		{time.Millisecond, 12, true},
		{trafficLasts - 1, 13, true},
		{trafficLasts - 1, 13, true},
		{1, 13, false},
	} {
		now, store.index = now.Add(look.after), look.applied
		if got := pushes.pushesActive(); got != look.want {
			t.Errorf("look %d: busy is %v", i, got)
		}
	}
}

// Every page asks, however it was made, and however the page was made of which it was made.
func TestScrapesAskWhetherPushesComeIn(t *testing.T) {
	g := start(t, func(c *Config) { c.IncludeSelf = true })
	if g.api.pages.pushesActive == nil {
		t.Fatal("nobody tells pages of the traffic")
	}
	var asked atomic.Int64
	g.api.pages.pushesActive = func() bool { asked.Add(1); return false }
	now := time.Now()
	g.api.pages.now = func() time.Time { return now }
	push := func() { g.must(http.StatusOK, http.MethodPost, "/metrics/job/a", "x 1\n") }
	for _, step := range []struct {
		name   string
		before func()
	}{
		{"the first page", push},
		{"the next one", push},
		{"one with new own metrics", func() { now = now.Add(2 * selfMetricsMaxAge) }},
		{"the next one after that", push},
	} {
		step.before()
		asked.Store(0)
		g.must(http.StatusOK, http.MethodGet, "/metrics", "")
		if asked.Load() == 0 {
			t.Errorf("%s does not ask", step.name)
		}
	}
}
