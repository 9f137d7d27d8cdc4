package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/hashicorp/raft"
)

// errDraining is why a replica that is about to stop is not ready, though it still answers.
var errDraining = errors.New("this replica is stopping: it finishes what it has begun, send nothing more")

const (
	handOverTries = 3
	// leaveTimeout bounds the goodbye to the gossip. It is over when the others nearby have heard it, after about a
	// second.
	leaveTimeout = 3 * time.Second
)

// Drain begins the end of this replica: from the call on it is not [Replica.Ready], when it leads it hands the
// leadership to another, and it gives up its vote if three voters are left without it. It goes on answering until
// Close, because load balancers take a while to notice. It returns when that is done or ctx ends; without another voter
// at once.
func (r *Replica) Drain(ctx context.Context) {
	if !r.draining.Swap(true) {
		r.logger.Info("draining: not ready any more", "leading", r.raft.State() == raft.Leader)
	}
	r.handOver(ctx)
	r.resign(ctx)
}

// Leave says goodbye to the gossip, so that the others need not find out by probing. What was told to this replica
// should have been answered; Close comes next. The membership stays: leaving is mostly followed by a restart.
func (r *Replica) Leave(ctx context.Context) {
	r.handOver(ctx) // the leader of a moment ago may have died meanwhile
	r.resign(ctx)
	if r.gossip == nil {
		return
	}
	if err := r.gossip.Leave(leaveTimeout); err != nil {
		r.logger.Debug("the goodbye was not heard by all", "err", err)
		return
	}
	r.logger.Info("left the gossip")
}

// handOver makes another replica the leader. Commands that come meanwhile are not refused but tried again, here and
// then there.
func (r *Replica) handOver(ctx context.Context) {
	for range handOverTries {
		if r.raft.State() != raft.Leader || r.countVoters() < 2 || ctx.Err() != nil {
			return
		}
		began := time.Now()
		err := waitFuture(ctx, r.raft.LeadershipTransfer())
		if err == nil {
			r.metrics.handOvers.WithLabelValues("done").Inc()
			r.logger.Info("handed over the leadership", "to", r.nextLeader(ctx), "seconds", time.Since(began).Seconds())
			return
		}
		r.metrics.handOvers.WithLabelValues("failed").Inc()
		r.logger.Warn("cannot hand over the leadership; the others elect a leader when this one has stopped",
			"err", err)
	}
}

// nextLeader waits until another leader is known, and names it; "" when none is within a while, as when this one was
// elected again.
func (r *Replica) nextLeader(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	for {
		leader, changed := r.leader.current()
		if leader != "" && leader != r.serverID {
			return r.nameOf(leader)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ""
		}
	}
}
