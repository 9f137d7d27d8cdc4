package cluster

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// busy follows one kind of work: whether any is under way, and whether it moves.
type busy struct {
	part     string // label of the metric
	fault    string // what is said when it does not move
	underWay atomic.Int64
	moved    atomic.Int64 // grows with each beginning, end and sign of life
}

// begin notes that work has begun; the caller calls the result when it is done.
func (b *busy) begin() (end func()) {
	b.underWay.Add(1)
	b.moved.Add(1)
	return func() {
		b.moved.Add(1)
		b.underWay.Add(-1)
	}
}

// stuckWatch tells when work that was begun does not end: a disk that does not come back from a sync, an entry that the state
// machine does not get over. It counts its own looks, not the clock: while a process is stopped, or a clock jumps, nobody looks.
type stuckWatch struct {
	disk, apply busy
	every       time.Duration // between two looks
	limit       time.Duration // after which the replica needs a restart
	logger      *slog.Logger

	mu    sync.Mutex
	seen  map[*busy]int64
	stuck map[*busy]time.Duration // without a sign of life
}

func newStuckWatch(every, limit time.Duration, logger *slog.Logger) *stuckWatch {
	return &stuckWatch{
		disk:  busy{part: "disk", fault: "the disk does not finish a write"},
		apply: busy{part: "apply", fault: "the state machine does not finish an entry"},
		every: every, limit: limit, logger: logger,
		seen: map[*busy]int64{}, stuck: map[*busy]time.Duration{},
	}
}

func (w *stuckWatch) run(ctx context.Context) {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.look()
		}
	}
}

func (w *stuckWatch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range []*busy{&w.disk, &w.apply} {
		moved, before := b.moved.Load(), w.stuck[b]
		if b.underWay.Load() > 0 && moved == w.seen[b] {
			w.stuck[b] += w.every
		} else {
			w.stuck[b] = 0
		}
		w.seen[b] = moved
		switch now := w.stuck[b]; {
		case before < w.limit && now >= w.limit:
			w.logger.Error("stuck: "+b.fault+"; not healthy until it does, or this replica is restarted", "part", b.part, "for", now)
		case before >= w.limit && now == 0:
			w.logger.Info("no longer stuck", "part", b.part, "was_for", before)
		}
	}
}

// err returns what is stuck for longer than the limit, or nil.
func (w *stuckWatch) err() error {
	for _, b := range []*busy{&w.disk, &w.apply} {
		if d := w.of(b); d >= w.limit {
			return fmt.Errorf("stuck: %s since %s", b.fault, d)
		}
	}
	return nil
}

func (w *stuckWatch) of(b *busy) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stuck[b]
}

// watchedFSM is the state machine under watch. A snapshot that is being read shows life with each piece.
type watchedFSM struct {
	raft.BatchingFSM
	work *busy
}

func (f *watchedFSM) Apply(l *raft.Log) any {
	defer f.work.begin()()
	return f.BatchingFSM.Apply(l)
}

func (f *watchedFSM) ApplyBatch(l []*raft.Log) []any {
	defer f.work.begin()()
	return f.BatchingFSM.ApplyBatch(l)
}

func (f *watchedFSM) Restore(rc io.ReadCloser) error {
	defer f.work.begin()()
	return f.BatchingFSM.Restore(&watchedReader{ReadCloser: rc, work: f.work})
}

type watchedReader struct {
	io.ReadCloser
	work *busy
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.work.moved.Add(1)
	return n, err
}

// watchedLogs is the log store under watch.
type watchedLogs struct {
	raft.LogStore
	work *busy
}

func (s *watchedLogs) StoreLog(l *raft.Log) error {
	defer s.work.begin()()
	return s.LogStore.StoreLog(l)
}

func (s *watchedLogs) StoreLogs(l []*raft.Log) error {
	defer s.work.begin()()
	return s.LogStore.StoreLogs(l)
}

func (s *watchedLogs) DeleteRange(first, last uint64) error {
	defer s.work.begin()()
	return s.LogStore.DeleteRange(first, last)
}

// watchedStable is the stable store under watch.
type watchedStable struct {
	raft.StableStore
	work *busy
}

func (s *watchedStable) Set(key, value []byte) error {
	defer s.work.begin()()
	return s.StableStore.Set(key, value)
}

func (s *watchedStable) SetUint64(key []byte, value uint64) error {
	defer s.work.begin()()
	return s.StableStore.SetUint64(key, value)
}
