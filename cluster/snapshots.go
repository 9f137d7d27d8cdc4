package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

// snapshotTick is how often it is looked whether a snapshot is due.
const snapshotTick = time.Second

// takeSnapshots takes a snapshot after so many entries or so many bytes, whichever comes first. Raft's own schedule knows
// only entries, and a fixed number of trailing entries would keep gigabytes of large pushes: here as many entries stay
// as came since the last snapshot, so that what is kept is bounded in bytes as well.
func (r *Replica) takeSnapshots(ctx context.Context) {
	var last uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(snapshotTick, r.tune.reconcile)):
		}
		last = max(last, r.store.snapshotIndex())
		applied := r.cfg.FSM.Applied()
		entries := applied - min(last, applied)
		if entries == 0 || (entries < r.cfg.SnapshotEntries && r.store.log.bytesSinceSnapshot() < r.cfg.SnapshotBytes) {
			continue
		}
		reload := r.raft.ReloadableConfig()
		reload.TrailingLogs = max(1, min(entries, r.cfg.SnapshotEntries))
		if err := r.raft.ReloadConfig(reload); err != nil {
			r.logger.Error("cannot set how much log to keep", "err", err)
			continue
		}
		began := time.Now()
		err := waitFuture(ctx, r.raft.Snapshot())
		switch {
		case err == nil:
			r.logger.Info("took a snapshot", "index", r.store.snapshotIndex(), "entries", entries, "seconds", time.Since(began).Seconds())
		case errors.Is(err, raft.ErrNothingNewToSnapshot), errors.Is(err, raft.ErrRaftShutdown), ctx.Err() != nil:
		default:
			r.logger.Error("cannot take a snapshot, trying again", "err", err)
		}
	}
}
