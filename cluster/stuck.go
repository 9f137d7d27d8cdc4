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

// progress is that of one kind of work: whether any is under way, and whether it moves.
type progress struct {
	part     string // label of the metric
	fault    string // what is said when it does not move
	underWay atomic.Int64
	moved    atomic.Int64 // grows with each beginning, end and sign of life
}

// begin notes that work has begun; the caller calls the result when it is done.
func (p *progress) begin() (end func()) {
	p.underWay.Add(1)
	p.moved.Add(1)
	return func() {
		p.moved.Add(1)
		p.underWay.Add(-1)
	}
}

// watchdog tells when work that was begun does not end: a disk that does not come back from a sync, an entry that the
// state machine does not get over. It counts its own checks instead of reading a clock, because a process that is
// stopped checks nothing, and a clock may jump.
type watchdog struct {
	disk, apply progress
	every       time.Duration // between two checks
	limit       time.Duration // after which the replica needs a restart
	logger      *slog.Logger

	mu    sync.Mutex
	seen  map[*progress]int64
	stuck map[*progress]time.Duration // without a sign of life
}

func newWatchdog(every, limit time.Duration, logger *slog.Logger) *watchdog {
	return &watchdog{
		disk:  progress{part: "disk", fault: "the disk does not finish a write"},
		apply: progress{part: "apply", fault: "the state machine does not finish an entry"},
		every: every, limit: limit, logger: logger,
		seen: map[*progress]int64{}, stuck: map[*progress]time.Duration{},
	}
}

func (w *watchdog) run(ctx context.Context) {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.check()
		}
	}
}

// check adds an interval to what each kind of work has been stuck for, and begins anew with what has moved or ended.
func (w *watchdog) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range []*progress{&w.disk, &w.apply} {
		moved, before := p.moved.Load(), w.stuck[p]
		if p.underWay.Load() > 0 && moved == w.seen[p] {
			w.stuck[p] += w.every
		} else {
			w.stuck[p] = 0
		}
		w.seen[p] = moved
		switch now := w.stuck[p]; {
		case before < w.limit && now >= w.limit:
			w.logger.Error("stuck: "+p.fault+"; not healthy until it does, or this replica is restarted",
				"part", p.part, "for", now)
		case before >= w.limit && now == 0:
			w.logger.Info("no longer stuck", "part", p.part, "was_for", before)
		}
	}
}

// err returns what is stuck for longer than the limit, or nil.
func (w *watchdog) err() error {
	for _, p := range []*progress{&w.disk, &w.apply} {
		if d := w.stuckFor(p); d >= w.limit {
			return fmt.Errorf("stuck: %s since %s", p.fault, d)
		}
	}
	return nil
}

// stuckFor returns for how long a kind of work has been under way without a sign of life.
func (w *watchdog) stuckFor(p *progress) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stuck[p]
}

// watchedFSM is the state machine under watch. A snapshot that is being read shows life with each piece.
type watchedFSM struct {
	raft.BatchingFSM
	work *progress
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
	work *progress
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.work.moved.Add(1)
	return n, err
}

// watchedLogs is the log store under watch.
type watchedLogs struct {
	raft.LogStore
	work *progress
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
	work *progress
}

func (s *watchedStable) Set(key, value []byte) error {
	defer s.work.begin()()
	return s.StableStore.Set(key, value)
}

func (s *watchedStable) SetUint64(key []byte, value uint64) error {
	defer s.work.begin()()
	return s.StableStore.SetUint64(key, value)
}
