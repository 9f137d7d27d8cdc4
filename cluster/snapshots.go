package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/raft"
)

// snapshotTick is how often it is looked whether a snapshot is due.
const snapshotTick = time.Second

// takeSnapshots takes a snapshot after so many entries or so many bytes, whichever comes first, and earlier where the disk has
// little room. Raft's own schedule knows only entries, and a fixed number of trailing entries would keep gigabytes of large pushes:
// here as many entries stay as came since the last snapshot, so that what is kept is bounded in bytes as well.
func (r *Replica) takeSnapshots(ctx context.Context) {
	var last uint64
	late := lateness()
	short := shortDisk{r: r}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(snapshotTick, r.tune.reconcile)):
		}
		last = max(last, r.store.snapshotIndex())
		applied := r.cfg.FSM.Applied()
		entries := applied - min(last, applied)
		tight := short.makeRoom()
		due := entries > 0 && r.cfg.snapshotDue(entries, r.store.log.bytesSinceSnapshot(), r.store.snaps.size.Load(), late)
		if tight && entries > 0 {
			due = short.snapshotDue(due)
		}
		if !due {
			continue
		}
		reload := r.raft.ReloadableConfig()
		reload.TrailingLogs = max(1, min(entries, r.cfg.SnapshotEntries))
		if tight {
			reload.TrailingLogs, _ = r.store.log.latest.kept()
		}
		if err := r.raft.ReloadConfig(reload); err != nil {
			r.logger.Error("cannot set how much log to keep", "err", err)
			continue
		}
		began := time.Now()
		err := waitFuture(ctx, r.raft.Snapshot())
		short.tried(time.Since(began))
		switch {
		case err == nil:
			late = lateness()
			r.logger.Info("took a snapshot", "index", r.store.snapshotIndex(), "entries", entries, "seconds", time.Since(began).Seconds())
		case errors.Is(err, raft.ErrNothingNewToSnapshot), errors.Is(err, raft.ErrRaftShutdown), ctx.Err() != nil:
		case r.store.snapshotIndex() > last:
			r.logger.Info("a snapshot of this replica's own was overtaken by the leader's, or is there and the log behind it was not shortened", "err", err)
		default:
			r.logger.Error("cannot take a snapshot, trying again", "err", err)
		}
	}
}

// snapshotWorth is how many bytes of log are worth one of a snapshot.
const snapshotWorth = 2

// snapshotDue tells whether it is time for a snapshot, after so many entries with so many bytes, where the last snapshot has
// size bytes. That of a large state is only worth while when the log has grown by a multiple of it: what is written to disk
// for a push then does not depend on what is stored.
func (c *Config) snapshotDue(entries, bytes, size uint64, late float64) bool {
	return float64(entries) >= late*float64(c.SnapshotEntries) || float64(bytes) >= late*float64(max(c.SnapshotBytes, snapshotWorth*size))
}

// lateness is by what factor this replica's next snapshot comes later than the first that is due anywhere: all replicas have the
// same log, and would all write theirs at the same time.
func lateness() float64 { return 1 + rand.Float64()/4 }

// pacedFSM takes snapshots that leave most of a processor and of the disk to others.
type pacedFSM struct {
	raft.BatchingFSM
	pace pace
}

// pace says when a snapshot rests no more.
type pace struct {
	closing <-chan struct{}
	// hurry tells whether it should not rest now, because the disk is short: until it is there nothing is stored, or what others
	// have stored takes the room of it.
	hurry func() bool
}

// Snapshot implements raft.FSM.
func (f *pacedFSM) Snapshot() (raft.FSMSnapshot, error) {
	s, err := f.BatchingFSM.Snapshot()
	if err != nil {
		return nil, err
	}
	return ownSnapshot{&pacedSnapshot{s, f.pace}}, nil
}

type pacedSnapshot struct {
	raft.FSMSnapshot
	pace pace
}

// Persist implements raft.FSMSnapshot.
func (s *pacedSnapshot) Persist(sink raft.SnapshotSink) error {
	return s.FSMSnapshot.Persist(&pacedSink{SnapshotSink: sink, pace: s.pace, last: time.Now()})
}

// A snapshot rests three times as long as it works, whether it waits for a processor or for the disk, but not for ever: it is
// worth more while the log is short.
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
