package cluster

import (
	"log/slog"
	"testing"
	"time"

	"pushquorum/fsm"
)

func TestASnapshotWaitsForDeletesToPauseButNotForEver(t *testing.T) {
	began := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		applied []uint64 // at each tick, one a second
		want    int      // the first tick at which a snapshot may be taken, after two without deletes
	}{
		"one":                  {[]uint64{7, 7, 8, 8}, 3},
		"some":                 {[]uint64{7, 7, 8, 9, 12, 12}, 5},
		"so many that it goes": {[]uint64{7, 7, 8, 9, 10, 11, 12, 13, 14}, 6},
	} {
		var d deletes
		for i, applied := range c.applied {
			over := d.over(applied, began.Add(time.Duration(i)*time.Second))
			if i >= 2 && over != (i >= c.want) {
				t.Errorf("%s: at tick %d: %t", name, i, over)
			}
			if over && i >= c.want {
				break
			}
		}
	}
}

// All of the state is encoded to find out how large a snapshot would be.
func TestASnapshotThatDoesNotFitIsNotMeasuredAgainAndAgain(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1)
	space := withSpace(r)
	r.cfg.Logger = slog.New(slog.DiscardHandler)
	r.cfg.FSM = fsm.New(r.cfg.Logger)
	replica, err := open(r.cfg, r.tune) // and does not run, or it would take snapshots
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := replica.Close(); err != nil {
			t.Error(err)
		}
	}()
	r.Replica = replica
	for range 2 { // so that the log is larger than the state
		if result, err := r.Apply(testContext(t), largePush(r, "large", 4*int(r.space.ReserveSize()))); err != nil ||
			result.Status != fsm.Applied {
			t.Fatalf("a push is answered with %v, %v", result, err)
		}
	}
	space.free.Store(0)
	s := newSnapshotter(r.Replica).short
	measures := func() bool {
		before := s.next
		if s.snapshotDue(true) {
			t.Error("a snapshot is taken for which there is no room")
		}
		return s.next != before
	}
	if !measures() || measures() || measures() {
		t.Error("it is not measured just once")
	}
	if rest := time.Until(s.measure); rest < measureRestLeast/2 {
		t.Errorf("it is measured again after %s", rest)
	}
	s.measure = time.Now() // some time later
	if !measures() {
		t.Error("it is not measured any more")
	}
	s.measure = time.Now().Add(time.Hour)
	size, err := snapshotSize(r.cfg.FSM)
	if err != nil {
		t.Fatal(err)
	}
	for _, free := range []uint64{size + shortLeast, 1 << 29} { // when something was deleted, whoever's it was
		if space.free.Store(free); !s.snapshotDue(true) {
			t.Errorf("one of %d bytes is not taken though it fits into %d", size, free)
		}
	}
}
