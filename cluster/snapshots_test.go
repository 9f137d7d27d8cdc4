package cluster

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

func TestALargeSnapshotIsTakenWhenTheLogHasGrownByTwiceAsMuch(t *testing.T) {
	c := &Config{SnapshotEntries: 1000, SnapshotBytes: 1 << 20}
	for _, tc := range []struct {
		name                 string
		entries, bytes, size uint64
		late                 float64
		want                 bool
	}{
		{"little", 999, 1<<20 - 1, 0, 1, false},
		{"many entries", 1000, 10, 0, 1, true},
		{"many entries beside a large snapshot", 1000, 10, 1 << 30, 1, true},
		{"many bytes", 10, 1 << 20, 0, 1, true},
		{"many bytes, but fewer than two of the last snapshot", 10, 4<<20 - 1, 2 << 20, 1, false},
		{"as many bytes as two of the last snapshot", 10, 4 << 20, 2 << 20, 1, true},
		{"a small last snapshot", 10, 1<<20 - 1, 1 << 10, 1, false},
		{"a replica that is late, by entries", 1249, 10, 0, 1.25, false},
		{"and then due", 1250, 10, 0, 1.25, true},
		{"a replica that is late, by bytes", 10, 5<<18 - 1, 0, 1.25, false},
		{"and then due", 10, 5 << 18, 0, 1.25, true},
	} {
		if got := c.snapshotDue(tc.entries, tc.bytes, tc.size, tc.late); got != tc.want {
			t.Errorf("%s: %d entries, %d bytes after a snapshot of %d bytes: due is %v", tc.name, tc.entries, tc.bytes,
				tc.size, got)
		}
	}
	seen := map[float64]bool{}
	for range 100 {
		late := snapshotJitter()
		if late < 1 || late > 1.25 {
			t.Fatalf("a snapshot would be late by %g", late)
		}
		seen[late] = true
	}
	if len(seen) < 90 {
		t.Error("replicas would be late by the same")
	}
}

// slowSink takes its time for each write.
type slowSink struct {
	raft.SnapshotSink
	takes time.Duration
	err   error
	taken int
}

func (s *slowSink) Write(p []byte) (int, error) {
	<-time.After(s.takes) // of the bubble's clock
	s.taken += len(p)
	return len(p), s.err
}

// writes is a snapshot that makes ten of them.
type writes struct{ raft.FSMSnapshot }

func (writes) Persist(sink raft.SnapshotSink) error {
	for range 10 {
		if n, err := sink.Write(make([]byte, 100)); err != nil || n != 100 {
			return err
		}
	}
	return nil
}

func rests() bool   { return false }
func hurries() bool { return true }

func TestASnapshotRestsAsItWorks(t *testing.T) {
	for _, tc := range []struct {
		takes time.Duration
		hurry func() bool
		want  time.Duration
	}{
		{time.Millisecond, rests, 10 * 4 * time.Millisecond},
		{time.Second, rests, 10 * (time.Second + snapshotRestMax)},
		{time.Second, hurries, 10 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			began, sink := time.Now(), &slowSink{takes: tc.takes}
			err := (&pacedSnapshot{writes{}, pace{t.Context().Done(), tc.hurry}}).Persist(sink)
			if took := time.Since(began); err != nil || took != tc.want || sink.taken != 1000 {
				t.Errorf("ten writes of %s: took %s, want %s; %d bytes, %v", tc.takes, took, tc.want, sink.taken, err)
			}
		})
	}
}

func TestASnapshotThatIsUnderWayDoesNotHoldUpTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closing := make(chan struct{})
		time.AfterFunc(10*time.Millisecond, func() { close(closing) })
		sink := &slowSink{takes: 3 * time.Millisecond}
		if err := (&pacedSnapshot{writes{}, pace{closing, rests}}).Persist(sink); !errors.Is(err, errClosing) ||
			sink.taken != 100 {
			t.Errorf("after %d bytes: %v, want %v", sink.taken, err, errClosing)
		}
	})
}

func TestAFailedWriteOfASnapshotIsItsError(t *testing.T) {
	want := errors.New("disk full")
	if err := (&pacedSnapshot{writes{}, pace{nil, rests}}).Persist(&slowSink{err: want}); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

func TestAHaltedReplicaTakesNoSnapshot(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1).start()
	waitReady(t, r)
	push(t, r, "before", 1)
	_ = r.raft.Apply([]byte{99, 0, 0, 0, 0, 0}, time.Second).Error() // from a newer version
	<-r.cfg.FSM.Halted()
	if err := r.raft.Snapshot().Error(); err == nil || !strings.Contains(err.Error(), "the state machine has stopped") {
		t.Errorf("a halted replica is asked for a snapshot: %v", err)
	}
	if list, err := r.store.Snapshots().List(); err != nil || len(list) != 0 {
		t.Errorf("snapshots %v, %v: the label is that of an entry that is not in the state", list, err)
	}
	if err := r.stop(); err == nil || !strings.Contains(err.Error(), "from a newer version") {
		t.Errorf("it ends with %v", err)
	}
}
