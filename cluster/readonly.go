package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"pushquorum/cluster/internal/disk"
	"pushquorum/fsm"
)

// ErrWritable is wrapped by the error with which [ReadOnly.Run] ends: a [Replica] can be opened again.
var ErrWritable = errors.New("the data directory can be written again")

// ReadOnly serves what is in the data directory of the only voter of a cluster while nothing can be written there. It
// has no Raft, no gossip and no port. Nobody else can acknowledge anything meanwhile, and all that this replica ever
// did is here: so what it serves is current. Its methods may be called from any goroutine.
type ReadOnly struct {
	cfg    Config
	tune   tuning
	lock   *disk.Lock // nil where the file could not be opened
	why    error
	id     string
	term   uint64
	since  time.Time
	gauges []prometheus.Collector
	mu     sync.Mutex
	ending error // why it is not ready though it serves
}

// OpenReadOnly loads a data directory that [Open] has refused with an [ErrCannotWrite], which is why, into cfg.FSM. The
// directory is checked as strictly as at any start. It is an error that it belongs to a replica that is not the only
// voter: the others know more. The caller must Close the result, and Run it.
func OpenReadOnly(cfg Config, why error) (*ReadOnly, error) {
	return openReadOnly(cfg, defaultTuning(), why)
}

func openReadOnly(cfg Config, tune tuning, why error) (_ *ReadOnly, err error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	r := &ReadOnly{cfg: cfg, tune: tune, why: fmt.Errorf("read-only: %w", why), since: time.Now()}
	defer func() {
		if err != nil {
			err = disk.IfRefused(cfg.DataDir, errors.Join(err, r.Close()))
		}
	}()
	if r.lock, err = disk.LockDirReadOnly(cfg.DataDir, tune.lockWait, cfg.Logger); err != nil &&
		!errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	id, err := disk.OpenIdentity(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	if id.Get().Starts == 0 {
		return nil, fmt.Errorf("%s holds no replica yet", cfg.DataDir)
	}
	r.id = id.Get().ID.String()
	store, err := disk.Open(cfg.DataDir, id, disk.LogOptions{
		Store:       cfg.LogStore,
		SegmentSize: tune.segmentSize(cfg.DataDir), ReadOnly: true,
	}, fsm.VerifySnapshot, newRaftLogger(cfg.Logger))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if !onlyVoter(store.Configuration(), raft.ServerID(r.id)) {
		return nil, fmt.Errorf("%s belongs to a replica of a cluster of %d, whose others may know more", cfg.DataDir,
			len(store.Configuration().Servers))
	}
	if r.term, err = store.Term(); err != nil {
		return nil, err
	}
	if err := restoreAll(store, cfg.FSM); err != nil {
		return nil, err
	}
	if cfg.Registerer != nil {
		for _, c := range []prometheus.Collector{
			stuckGauge("directory", func() float64 { return time.Since(r.since).Seconds() }),
			newUsageCollector(cfg.FSM, cfg.Limits),
		} {
			if err := cfg.Registerer.Register(c); err != nil {
				return nil, err
			}
			r.gauges = append(r.gauges, c)
		}
	}
	cfg.Logger.Warn("read-only: what is stored is served, and nothing is taken, until the data directory can be " +
		"written: " + why.Error())
	return r, nil
}

// restoreAll puts all that is here into a new state machine, as Raft does it when all of it is committed.
func restoreAll(s *disk.Dir, f *fsm.FSM) error {
	state, index, err := s.SnapshotContent()
	if err != nil {
		return err
	}
	if state != nil {
		if err := f.Restore(state); err != nil { // closes it
			return fmt.Errorf("reading %s: %w", filepath.Dir(state.Name()), err)
		}
	}
	const batch = 64
	logs := make([]*raft.Log, 0, batch)
	for last := s.LastIndex(); index < last; {
		clear(logs)
		logs = logs[:0]
		for size := 0; index < last && len(logs) < batch && size < disk.MaxSent; index++ {
			var l raft.Log
			if err := s.Log().GetLog(index+1, &l); err != nil {
				return fmt.Errorf("reading entry %d: %w", index+1, err)
			}
			size += len(l.Data)
			if l.Type == raft.LogCommand || l.Type == raft.LogConfiguration {
				logs = append(logs, &l)
			}
		}
		f.ApplyBatch(logs)
		if err := f.Err(); err != nil {
			return fmt.Errorf("%s: %w", s.Path(), err)
		}
	}
	return nil
}

// Run waits until ctx ends, and then returns nil; or until there is room again for all that a start may write, and then
// returns an error that wraps [ErrWritable].
func (r *ReadOnly) Run(ctx context.Context) error {
	tick := time.NewTicker(r.tune.reopenEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if r.tune.probe(r.cfg.DataDir, disk.ProbeSize) != nil ||
			r.tune.probe(r.cfg.DataDir, r.tune.segmentSize(r.cfg.DataDir)+disk.ProbeSize) != nil {
			continue
		}
		err := fmt.Errorf("%s: %w: this replica starts again", r.cfg.DataDir, ErrWritable)
		r.cfg.Logger.Info("no longer read-only: this replica starts again", "dir", r.cfg.DataDir, "after",
			time.Since(r.since).Round(time.Second))
		r.end(err)
		return err
	}
}

func (r *ReadOnly) end(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ending = why
}

// Apply takes nothing.
func (r *ReadOnly) Apply(context.Context, []byte) (fsm.Result, error) {
	return fsm.Result{}, &fsm.NotAppliedError{Err: unavailable(r.why)}
}

// ReadBarrier returns nil: nobody else can have acknowledged anything.
func (r *ReadOnly) ReadBarrier(context.Context) error { return nil }

// Staleness is none, for the same reason.
func (r *ReadOnly) Staleness() (time.Duration, bool) { return 0, true }

// Healthy says why nothing is taken.
func (r *ReadOnly) Healthy() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ending != nil {
		return r.ending
	}
	return r.why
}

// Ready says the same.
func (r *ReadOnly) Ready() error { return r.Healthy() }

// Status shows this replica alone.
func (r *ReadOnly) Status(context.Context) Status {
	view := r.cfg.FSM.View()
	return Status{
		Self: r.cfg.Name, Term: r.term, CommitIndex: view.Index(), AppliedIndex: view.Index(), StateHash: view.Hash(),
		Members: []Member{{
			Name: r.cfg.Name, ID: r.id, Role: "voter", State: "unknown", AppliedIndex: view.Index(),
			Version: r.cfg.Version,
		}},
	}
}

// OnlyVoter is what this replica was when it was opened.
func (r *ReadOnly) OnlyVoter() bool { return true }

// Drain makes it say that it is about to stop.
func (r *ReadOnly) Drain(context.Context) { r.end(errDraining) }

// Leave says goodbye to nobody.
func (r *ReadOnly) Leave(context.Context) {}

// Close lets another process have the directory.
func (r *ReadOnly) Close() error {
	for _, c := range r.gauges {
		r.cfg.Registerer.Unregister(c)
	}
	if r.lock == nil {
		return nil
	}
	return r.lock.Close()
}
