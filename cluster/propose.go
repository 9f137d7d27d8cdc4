package cluster

import (
	"context"
	"errors"
	"fmt"

	"pushquorum/fsm"
)

// MaxCommand is the size of the largest command that is replicated, in bytes: sealed it must fit into an entry of
// [disk.MaxSealed].
const MaxCommand = 60 << 20

// Apply replicates a command and returns the result that the state machine gave. It may be called on any replica; it is
// retried with the same bytes, across changes of leader, until ctx ends. A command larger than MaxCommand is rejected.
// An error wraps [ErrUnavailable]; one of a command that is certainly not in the log is an [fsm.NotAppliedError], too.
//
// It begins the trip of a command, which DESIGN.md draws: propose, batch, forward, receive, batch, append.
func (r *Replica) Apply(ctx context.Context, command []byte) (fsm.Result, error) {
	if len(command) > MaxCommand {
		reason := fmt.Sprintf("it takes %d bytes in the log, where at most %d are possible: push less at once",
			len(command), MaxCommand)
		return fsm.Result{Status: fsm.Rejected, Reason: reason}, nil
	}
	var lastErr error
	maybe := false // in the log, because of an attempt whose outcome is unknown
	for attempt := 0; ; attempt++ {
		if err := r.over(); err != nil {
			return fsm.Result{}, r.giveUp(err, maybe)
		}
		if attempt > 0 {
			r.metrics.retries.Inc()
		}
		batcher := r.toLeader
		if leader, _ := r.leader.current(); leader == r.serverID {
			batcher = r.toLog
		}
		results, outcome, err := batcher.submit(ctx, command)
		switch outcome {
		case outcomeApplied:
			switch status := results[0].Status; {
			case status == fsm.Unreadable: // the next leader may have another version
			case isRefusal(status) && maybe: // for want of room, which an earlier attempt may have taken or be about to
			default:
				return results[0], nil
			}
			err = errors.New(results[0].Reason)
		case outcomeUnknown:
			maybe = true
		case outcomeNotAppended:
		}
		// A cause that only says "time is up" must not hide what went wrong before.
		if lastErr == nil || ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
			lastErr = err
		}
		if !r.pause(ctx) {
			return fsm.Result{}, r.giveUp(lastErr, maybe)
		}
	}
}
