package fsm

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// unreadable is an entry that this program cannot read, as one from a newer version may be.
func unreadable(index uint64) *raft.Log {
	return &raft.Log{Index: index, Type: raft.LogCommand, Data: []byte{99, 0, 0, 0, 0, 0}}
}

// Raft labels a snapshot with the index of the last entry that it has handed over, applied or not. One of the state
// before the entry that halted, under the number of that entry, would skip it for ever once a newer version can read
// it.
func TestAHaltedStateMachineGivesNoSnapshot(t *testing.T) {
	m := newMachine(t)
	m.put("job=a", "x 1\n")
	before, err := m.Snapshot()
	if err != nil {
		t.Fatalf("before the halt: %v", err)
	}
	want := m.View()

	m.Apply(unreadable(2))
	if m.Err() == nil {
		t.Fatal("an unreadable entry does not halt the state machine")
	}
	if s, err := m.Snapshot(); err == nil || s != nil || !strings.Contains(err.Error(), "log entry 2") {
		t.Errorf("a halted state machine gives the snapshot %v, error %v; want none, and the entry that halted it",
			s, err)
	}

	// One that was taken before is of an earlier index, and whole.
	sink := &memorySink{}
	if err := before.Persist(sink); err != nil {
		t.Fatalf("writing the snapshot from before the halt: %v", err)
	}
	restored := newMachine(t)
	if err := restored.Restore(io.NopCloser(&sink.Buffer)); err != nil {
		t.Fatalf("the snapshot from before the halt: %v", err)
	}
	if got := restored.View(); got.Hash() != want.Hash() || got.Index() != 1 {
		t.Errorf("the snapshot from before the halt holds index %d, hash %s; want 1, %s",
			got.Index(), got.Hash(), want.Hash())
	}
}

// What tells how far a replica is must not count what it did not apply: a reader would wait for less than there is.
func TestNothingThatComesAfterAHaltCounts(t *testing.T) {
	m := newMachine(t)
	m.put("job=a", "x 1\n")
	want := m.View()
	results := m.ApplyBatch([]*raft.Log{
		unreadable(2),
		{Index: 3, Type: raft.LogConfiguration},
		{Index: 4, Type: raft.LogCommand, Data: Seal([][]byte{pushOf(t, "job=b", true, "x 2\n")}, time.Unix(4, 0))},
	})
	m.Apply(&raft.Log{Index: 5, Type: raft.LogConfiguration})
	for i, r := range results {
		if len(r.([]Result)) != 0 {
			t.Errorf("entry %d of a halted state machine has the result %v", i+2, r)
		}
	}
	if got := m.View(); m.Applied() != 1 || got.Index() != 1 || got.Hash() != want.Hash() {
		t.Errorf("after a halt at entry 2: applied %d, view %d with hash %s; want 1, 1, %s",
			m.Applied(), got.Index(), got.Hash(), want.Hash())
	}
}

// memorySink is a raft.SnapshotSink in memory.
type memorySink struct{ bytes.Buffer }

func (*memorySink) ID() string    { return "test" }
func (*memorySink) Cancel() error { return nil }
func (*memorySink) Close() error  { return nil }
