package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk"
	"pushquorum/fsm"
)

// appendBatch sends a batch of toLog: it appends those commands for which the disks of the cluster, which this replica
// leads, have room. The result of the others is [fsm.NoSpace].
func (r *Replica) appendBatch(ctx context.Context, _ raft.ServerID, commands [][]byte) ([]fsm.Result, outcome, error) {
	// A new leader waits, because both what is remembered and what is limited are of the state with all that earlier
	// leaders have left in the log.
	if _, err := r.leader.waitReady(ctx); err != nil {
		return nil, outcomeNotAppended, err
	}
	short := r.diskAnswers(commands)
	admitted := short.without(commands)
	if len(admitted) == 0 {
		return short.among(nil), outcomeApplied, nil
	}
	results, outcome, err := r.appendWithinLimits(ctx, admitted)
	if outcome != outcomeApplied {
		return nil, outcome, err
	}
	return short.among(results), outcome, nil
}

// appendWithinLimits appends those commands for which the limits have room to this replica's log, as one entry, which
// only works while it leads. The result of the others is [fsm.Full]. The time in the entry is this replica's, taken
// now.
func (r *Replica) appendWithinLimits(ctx context.Context, commands [][]byte) ([]fsm.Result, outcome, error) {
	if size := fsm.SealedSize(commands); size > disk.MaxSealed {
		return nil, outcomeNotAppended, fmt.Errorf(
			"%d commands that came together take %d bytes in the log, where at most %d are possible",
			len(commands), size, disk.MaxSealed)
	}
	refused, ended, err := r.admission.Admit(ctx, commands)
	if err != nil {
		return nil, outcomeNotAppended, err
	}
	full := fullAnswers(refused)
	admitted := full.without(commands)
	if len(admitted) == 0 {
		ended()
		return full.among(nil), outcomeApplied, nil
	}
	results, outcome, err := replicateEntry(ctx, r.raft, fsm.Seal(admitted, time.Now()), ended)
	if outcome != outcomeApplied {
		return nil, outcome, err
	}
	switch {
	case r.cfg.FSM.Err() != nil:
		return nil, outcomeUnknown, fmt.Errorf("the state machine has stopped: %w", r.cfg.FSM.Err())
	case len(results) != len(admitted):
		return nil, outcomeUnknown, fmt.Errorf("the state machine answered %d results to %d commands",
			len(results), len(admitted))
	}
	return full.among(results), outcomeApplied, nil
}

// replicateEntry hands an entry to Raft and waits for the state machine's results. It calls ended when the entry is
// applied, or Raft has given it up, which may be later than it returns.
//
// The goroutine that waits on Raft's future ends when Raft answers. Raft answers everything that is in its log; what
// sits in its queue at the moment of shutdown it forgets, and the goroutine then stays until the process ends, as
// nothing in Raft's interface can tell it.
func replicateEntry(ctx context.Context, r raftNode, entry []byte, ended func()) ([]fsm.Result, outcome, error) {
	left := time.Duration(0)
	if deadline, ok := ctx.Deadline(); ok {
		if left = time.Until(deadline); left <= 0 {
			ended()
			return nil, outcomeNotAppended, context.DeadlineExceeded
		}
	}
	if ctx.Err() != nil {
		ended()
		return nil, outcomeNotAppended, context.Cause(ctx)
	}
	type answer struct {
		response any
		err      error
	}
	done := make(chan answer, 1)
	go func() {
		f := r.Apply(entry, left)
		err := f.Error()
		ended()
		a := answer{err: err}
		if err == nil {
			a.response = f.Response()
		}
		done <- a
	}()
	select {
	case a := <-done:
		if a.err != nil {
			return nil, classify(a.err), a.err
		}
		results, ok := a.response.([]fsm.Result)
		if !ok {
			return nil, outcomeUnknown, fmt.Errorf("the state machine answered with a %T", a.response)
		}
		return results, outcomeApplied, nil
	case <-ctx.Done():
		return nil, outcomeUnknown, fmt.Errorf("no quorum confirmed it in time: %w", context.Cause(ctx))
	}
}

// classify returns what an error of raft.Apply means for the entry. Only errors that Raft gives before it touches its
// log are certain.
func classify(err error) outcome {
	switch {
	case errors.Is(err, raft.ErrNotLeader),
		errors.Is(err, raft.ErrLeadershipTransferInProgress),
		errors.Is(err, raft.ErrEnqueueTimeout):
		return outcomeNotAppended
	}
	return outcomeUnknown
}
