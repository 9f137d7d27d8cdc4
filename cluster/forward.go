package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/raftnet"
	"pushquorum/fsm"
)

// forward sends a batch of toLeader: it has the leader append the commands, in one call. The leader, which may by now
// be this replica, goes on with them in [Replica.appendForwarded].
func (r *Replica) forward(ctx context.Context, leader raft.ServerID, commands [][]byte) ([]fsm.Result, outcome, error) {
	ctx, cancel := r.leader.untilOther(ctx, leader)
	defer cancel()
	if leader == r.serverID {
		return r.toLog.submit(ctx, commands...)
	}
	id, err := uuid.Parse(string(leader))
	if err != nil {
		return nil, outcomeNotAppended, fmt.Errorf("leader %q: %w", leader, err)
	}
	args := &ApplyArgs{Cluster: r.store.ClusterID(), Commands: commands, TimeoutMs: millisLeft(ctx)}
	var reply ApplyReply
	switch err := r.peers.Call(ctx, id, "Apply", args, &reply); {
	case errors.Is(err, raftnet.ErrNotSent):
		return nil, outcomeNotAppended, fmt.Errorf("leader %s cannot be reached: %w", r.nameOf(leader), err)
	case err != nil:
		return nil, outcomeUnknown, fmt.Errorf("leader %s did not answer: %w", r.nameOf(leader), causeOf(ctx, err))
	}
	switch {
	case reply.Outcome != outcomeApplied:
		return nil, reply.Outcome, fmt.Errorf("leader %s answered: %s", r.nameOf(leader), reply.Error)
	case len(reply.Results) != len(commands):
		return nil, outcomeUnknown, fmt.Errorf("leader %s answered with %d results to %d commands",
			r.nameOf(leader), len(reply.Results), len(commands))
	}
	return reply.Results, outcomeApplied, nil
}

// causeOf returns the reason why a context ended instead of the bare fact, where err is no more than that.
func causeOf(ctx context.Context, err error) error {
	ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	if cause := context.Cause(ctx); cause != nil && ended {
		return cause
	}
	return err
}

// defaultTimeout is that of a command or a call whose context has no deadline.
const defaultTimeout = 10 * time.Second

// millisLeft is what a call to the leader may take, in milliseconds, 1 at least.
func millisLeft(ctx context.Context) int64 {
	left := defaultTimeout
	if deadline, ok := ctx.Deadline(); ok {
		left = time.Until(deadline)
	}
	return max(left.Milliseconds(), 1)
}
