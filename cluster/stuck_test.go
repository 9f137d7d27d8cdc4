package cluster

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

func TestWorkThatDoesNotMoveIsStuckAndWorkThatMovesIsNot(t *testing.T) {
	logs := &logBuffer{}
	w := newWatchdog(time.Second, 3*time.Second, slog.New(slog.NewTextHandler(logs, nil)))
	looks := func(n int) {
		for range n {
			w.check()
		}
	}
	looks(10)
	if err := w.err(); err != nil {
		t.Fatalf("idle: %v", err)
	}
	end := w.disk.begin()
	looks(3) // the first sees the beginning
	if err := w.err(); err != nil {
		t.Fatalf("within the limit: %v", err)
	}
	looks(1)
	if err := w.err(); err == nil || !strings.Contains(err.Error(), "disk") || !strings.Contains(err.Error(), "3s") {
		t.Fatalf("after the limit: %v", err)
	}
	end()
	looks(1)
	if err := w.err(); err != nil {
		t.Fatalf("after the end: %v", err)
	}
	if s := logs.String(); strings.Count(s, "level=ERROR") != 1 || strings.Count(s, "no longer stuck") != 1 {
		t.Errorf("log:\n%s", s)
	}

	end = w.apply.begin()
	for range 10 {
		w.apply.moved.Add(1)
		looks(1)
	}
	if err := w.err(); err != nil {
		t.Fatalf("slow but moving: %v", err)
	}
	end()
	// Always something under way, but never the same.
	end = w.disk.begin()
	for range 10 {
		next := w.disk.begin()
		end()
		end = next
		looks(1)
	}
	if err := w.err(); err != nil {
		t.Fatalf("one write after the other: %v", err)
	}
	end()
}

// held is a store and state machine that wait to be let go.
type held struct {
	raft.LogStore
	raft.StableStore
	raft.BatchingFSM
	here chan struct{}
	let  chan struct{}
}

func (h *held) wait() {
	h.here <- struct{}{}
	<-h.let
}

func (h *held) StoreLogs([]*raft.Log) error         { h.wait(); return nil }
func (h *held) StoreLog(*raft.Log) error            { h.wait(); return nil }
func (h *held) DeleteRange(uint64, uint64) error    { h.wait(); return nil }
func (h *held) Set([]byte, []byte) error            { h.wait(); return nil }
func (h *held) SetUint64([]byte, uint64) error      { h.wait(); return nil }
func (h *held) Apply(*raft.Log) any                 { h.wait(); return nil }
func (h *held) ApplyBatch([]*raft.Log) []any        { h.wait(); return nil }
func (h *held) Restore(rc io.ReadCloser) error      { h.wait(); return rc.Close() }
func (h *held) Get([]byte) ([]byte, error)          { return nil, raftboltdb.ErrKeyNotFound }
func (h *held) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("none") }

func TestEveryWriteAndEveryEntryIsUnderWatch(t *testing.T) {
	h := &held{here: make(chan struct{}), let: make(chan struct{})}
	w := newWatchdog(time.Second, time.Second, slog.New(slog.DiscardHandler))
	logs := &watchedLogs{LogStore: h, work: &w.disk}
	stable := &watchedStable{StableStore: h, work: &w.disk}
	machine := &watchedFSM{BatchingFSM: h, work: &w.apply}
	for name, c := range map[string]struct {
		do   func()
		part *progress
	}{
		"StoreLogs":   {func() { _ = logs.StoreLogs(nil) }, &w.disk},
		"StoreLog":    {func() { _ = logs.StoreLog(nil) }, &w.disk},
		"DeleteRange": {func() { _ = logs.DeleteRange(1, 2) }, &w.disk},
		"Set":         {func() { _ = stable.Set(nil, nil) }, &w.disk},
		"SetUint64":   {func() { _ = stable.SetUint64(nil, 1) }, &w.disk},
		"Apply":       {func() { machine.Apply(nil) }, &w.apply},
		"ApplyBatch":  {func() { machine.ApplyBatch(nil) }, &w.apply},
		"Restore":     {func() { _ = machine.Restore(io.NopCloser(strings.NewReader(""))) }, &w.apply},
	} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.do()
		}()
		<-h.here
		w.check()
		w.check()
		if w.stuckFor(c.part) != time.Second || w.err() == nil {
			t.Errorf("%s that does not end is not noticed", name)
		}
		h.let <- struct{}{}
		<-done
		w.check()
		if w.err() != nil {
			t.Errorf("%s has ended: %v", name, w.err())
		}
	}
}

func TestAStuckReplicaIsNotHealthyUntilItMoves(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1)
	r.tune.stuckEvery, r.tune.stuckAfter = 10*time.Millisecond, 50*time.Millisecond
	r.start()
	waitReady(t, r)
	wrote, applied := r.watch.disk.moved.Load(), r.watch.apply.moved.Load()
	push(t, r, "one", 1)
	if r.watch.disk.moved.Load() == wrote || r.watch.apply.moved.Load() == applied {
		t.Error("a push goes past the watch")
	}
	end := r.watch.disk.begin()
	eventually(t, "it is neither healthy nor ready", func() bool { return r.Healthy() != nil && r.Ready() != nil })
	end()
	eventually(t, "it is healthy again", func() bool { return r.Healthy() == nil && r.Ready() == nil })
}

func TestAReplicaThatNobodyConfirmsIsNotReady(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1)
	r.tune.freshEvery = time.Hour // the first barrier is the last
	r.start()
	waitReady(t, r)
	r.fresh.mu.Lock()
	r.fresh.at = r.fresh.at.Add(-2 * maxReadyAge)
	r.fresh.mu.Unlock()
	if err := r.Ready(); err == nil || !strings.Contains(err.Error(), "last confirmed") {
		t.Errorf("ready, though its state was not confirmed for long: %v", err)
	}
	if err := r.ReadBarrier(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := r.Ready(); err != nil {
		t.Errorf("confirmed, and not ready: %v", err)
	}
}
