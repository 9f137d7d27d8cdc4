package api

import (
	"testing"
	"time"

	"pushquorum/fsm"
)

// appliedStore is a store of which nothing but the applied index is asked for.
type appliedStore struct{ index uint64 }

func (s *appliedStore) View() *fsm.View { panic("a view costs something") }
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
		if got := pushes.busy(); got != look.want {
			t.Errorf("look %d: busy is %v", i, got)
		}
	}
}
