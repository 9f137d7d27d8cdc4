package cluster

import (
	"fmt"
	"testing"

	"github.com/hashicorp/raft"

	"pushquorum/fsm"
)

// While a large snapshot is written, as much may come into the log as makes the next one due.
func TestWhatComesWhileASnapshotIsWrittenCountsForTheNextOne(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1).start()
	waitReady(t, r)
	for i := range 200 { // more than a step
		push(t, r, fmt.Sprintf("before%d", i%3), float64(i))
	}
	index, term := r.raft.AppliedIndex(), r.raft.CurrentTerm()
	meanwhile := func(n int) uint64 {
		before := r.store.BytesSinceSnapshot()
		for i := range n {
			push(t, r, "meanwhile", float64(i))
		}
		return r.store.BytesSinceSnapshot() - before
	}
	came := meanwhile(50) // between the state machine's view and the sink
	_, trans := raft.NewInmemTransport("a")
	own, err := r.store.Snapshots().Create(raft.SnapshotVersionMax, index, term,
		r.raft.GetConfiguration().Configuration(), 1, trans)
	if err != nil {
		t.Fatal(err)
	}
	came += meanwhile(50)
	if err := finishOwn(t, own, r.cfg.FSM); err != nil {
		t.Fatal(err)
	}
	if got := r.store.BytesSinceSnapshot(); got < came || got > came+2*(64<<10) {
		t.Errorf("%d bytes came after the snapshot's last entry, %d are counted", came, got)
	}
	// After a restart the log itself tells.
	r.crash()
	r.start()
	waitReady(t, r)
	if got := r.store.BytesSinceSnapshot(); got < came || got > came+2*(64<<10) {
		t.Errorf("%d bytes came after the snapshot's last entry, %d are counted after a restart", came, got)
	}
}

// finishOwn writes the state of a machine as its own snapshot.
func finishOwn(t *testing.T, sink raft.SnapshotSink, state *fsm.FSM) error {
	t.Helper()
	snap, err := (&pacedFSM{state, pace{t.Context().Done(), rests}}).Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return snap.Persist(sink)
}
