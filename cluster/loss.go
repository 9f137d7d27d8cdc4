package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk"
)

// What a replica does when its data directory cannot be written, or is gone.

// enterDirectory makes the data directory if there is none, locks it, and finds out whether it can be written before
// anything in it is changed.
func enterDirectory(dir string, tune tuning, logger *slog.Logger) (*disk.Lock, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, disk.CannotMake(dir, err)
	}
	lock, err := disk.LockDir(dir, tune.lockWait, logger)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(disk.GiveUpReserve(dir, tune.segmentSize(dir), tune.measure),
		tune.probe(dir, disk.ProbeSize)); err != nil {
		_ = lock.Close() // nothing has been written under it
		return nil, disk.CannotWrite(dir, err)
	}
	return lock, nil
}

// lossTimeout bounds the handing over by a replica whose directory is gone.
const lossTimeout = 3 * time.Second

// afterLoss is what follows when the data directory is gone. In a cluster the others have what was in it: this replica
// hands over and ends, so that it can come back as a new one, instead of standing for a leader who can append nothing.
// One that is alone has the last copy, in its memory: it serves that for as long as it is let, and what Raft would do
// is over.
func (r *Replica) afterLoss(ctx context.Context) error {
	if r.OnlyVoter() {
		return r.stopRaft()
	}
	ctx, cancel := context.WithTimeout(ctx, lossTimeout)
	defer cancel()
	r.handOver(ctx)
	return fmt.Errorf("%w; start this replica again: with an empty directory it joins as a new one, with its own put "+
		"back it goes on", r.dir.IsGone())
}

// OnlyVoter tells whether nobody but this replica can acknowledge anything.
func (r *Replica) OnlyVoter() bool {
	return onlyVoter(r.raft.GetConfiguration().Configuration(), r.serverID)
}

func onlyVoter(c raft.Configuration, self raft.ServerID) bool {
	found := false
	for _, s := range c.Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		if s.ID != self {
			return false
		}
		found = true
	}
	return found
}

// over is why nothing will ever be acknowledged again, or nil.
func (r *Replica) over() error {
	if err := r.dir.IsGone(); err != nil && r.OnlyVoter() {
		return err
	}
	return nil
}

// servesAlone tells whether the local state is current though Raft may not be able to say so: what the only voter has
// acknowledged it has applied, and while its directory takes nothing more it may not get as far as leading.
func (r *Replica) servesAlone() bool {
	if r.dir.Err() == nil || r.cfg.FSM.Err() != nil || !r.OnlyVoter() {
		return false
	}
	_, ever := r.fresh.age()
	return ever
}
