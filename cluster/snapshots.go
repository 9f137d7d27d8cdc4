package cluster

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk"
	"pushquorum/fsm"
)

// snapshotTick is the time between two looks whether a snapshot is due.
const snapshotTick = time.Second

// snapshotter takes this replica's snapshots: after so many entries or so many bytes, whichever comes first, and
// earlier where the disk has little room. Raft's own schedule will not do, because it knows only entries, and a fixed
// number of trailing entries would keep gigabytes of large pushes. Here as many entries stay as came since the last
// snapshot, so that what is kept is bounded in bytes as well.
type snapshotter struct {
	cfg    *Config
	raft   *raft.Raft
	fsm    *fsm.FSM
	store  *disk.Dir
	short  shortDisk
	logger *slog.Logger
}

func newSnapshotter(r *Replica) *snapshotter {
	short := shortDisk{fsm: r.cfg.FSM, store: r.store, space: r.space, logger: r.logger}
	return &snapshotter{cfg: &r.cfg, raft: r.raft, fsm: r.cfg.FSM, store: r.store, short: short, logger: r.logger}
}

// run looks every so often whether a snapshot is due, and takes it, until ctx ends.
func (s *snapshotter) run(ctx context.Context, every time.Duration) {
	var last uint64
	jitter := snapshotJitter()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
		last = max(last, s.store.SnapshotIndex())
		applied := s.fsm.Applied()
		entries := applied - min(last, applied)
		tight := s.short.makeRoom()
		grown, size := s.store.BytesSinceSnapshot(), s.store.SnapshotSize()
		due := entries > 0 && s.cfg.snapshotDue(entries, grown, size, jitter)
		if tight && entries > 0 {
			due = s.short.snapshotDue(due)
		}
		if !due {
			continue
		}
		reload := s.raft.ReloadableConfig()
		reload.TrailingLogs = max(1, min(entries, s.cfg.SnapshotEntries))
		if tight {
			reload.TrailingLogs = s.store.KeptEntries()
		}
		if err := s.raft.ReloadConfig(reload); err != nil {
			s.logger.Error("cannot set how much log to keep", "err", err)
			continue
		}
		began := time.Now()
		err := waitFuture(ctx, s.raft.Snapshot())
		s.short.tried(time.Since(began))
		switch {
		case err == nil:
			jitter = snapshotJitter()
			s.logger.Info("took a snapshot",
				"index", s.store.SnapshotIndex(), "entries", entries, "seconds", time.Since(began).Seconds())
		case errors.Is(err, raft.ErrNothingNewToSnapshot), errors.Is(err, raft.ErrRaftShutdown), ctx.Err() != nil:
		case s.store.SnapshotIndex() > last:
			s.logger.Info("a snapshot of this replica's own was overtaken by the leader's, "+
				"or is there and the log behind it was not shortened", "err", err)
		default:
			s.logger.Error("cannot take a snapshot, trying again", "err", err)
		}
	}
}

// minLogPerSnapshotByte is by how many bytes the log has grown, for each byte of the last snapshot, before one is due.
const minLogPerSnapshotByte = 2

// snapshotDue tells whether it is time for a snapshot, after so many entries with so many bytes, where the last
// snapshot has size bytes. A large state is only written when the log has grown by a multiple of it, because what is
// written to disk for a push then does not depend on what is stored.
func (c *Config) snapshotDue(entries, bytes, size uint64, jitter float64) bool {
	least := max(c.SnapshotBytes, minLogPerSnapshotByte*size)
	return float64(entries) >= jitter*float64(c.SnapshotEntries) || float64(bytes) >= jitter*float64(least)
}

// snapshotJitter is the factor, from 1 to 1.25, by which this replica's next snapshot comes later than the first that
// is due anywhere, because all replicas have the same log and would write at the same time.
func snapshotJitter() float64 { return 1 + rand.Float64()/4 }

// pacedFSM takes snapshots that leave most of a processor and of the disk to others.
type pacedFSM struct {
	raft.BatchingFSM
	pace pace
}

// pace tells a snapshot when not to rest.
type pace struct {
	closing <-chan struct{}
	// hurry tells whether it should not rest now, because the disk is short: until the snapshot is there either nothing
	// is stored, or what others store takes its room.
	hurry func() bool
}

// Snapshot implements raft.FSM.
func (f *pacedFSM) Snapshot() (raft.FSMSnapshot, error) {
	s, err := f.BatchingFSM.Snapshot()
	if err != nil {
		return nil, err
	}
	return disk.OwnSnapshot{FSMSnapshot: &pacedSnapshot{s, f.pace}}, nil
}

type pacedSnapshot struct {
	raft.FSMSnapshot
	pace pace
}

// Persist implements raft.FSMSnapshot.
func (s *pacedSnapshot) Persist(sink raft.SnapshotSink) error {
	return s.FSMSnapshot.Persist(&pacedSink{SnapshotSink: sink, pace: s.pace, last: time.Now()})
}

// A snapshot rests three times as long as it works, whether it waits for a processor or for the disk, but not for ever:
// it is worth more while the log is short.
const (
	snapshotRest    = 3
	snapshotRestMax = 25 * time.Millisecond // after each write, of 64 KiB
)

// pacedSink rests after each write.
type pacedSink struct {
	raft.SnapshotSink
	pace pace
	last time.Time // the end of the last rest
}

// Write implements io.Writer.
func (s *pacedSink) Write(p []byte) (int, error) {
	n, err := s.SnapshotSink.Write(p)
	if err != nil {
		return n, err
	}
	length := min(snapshotRest*time.Since(s.last), snapshotRestMax)
	if s.pace.hurry() {
		length = 0
	}
	rest := time.NewTimer(length)
	defer rest.Stop()
	select {
	case <-rest.C:
	case <-s.pace.closing:
		return n, errClosing
	}
	s.last = time.Now()
	return n, nil
}
