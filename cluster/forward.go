package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/raftnet"
	"pushquorum/fsm"
)

// outcome is what is known about a command after an attempt.
type outcome uint8

const (
	outcomeUnknown     outcome = iota // it may be in the log, now or later
	outcomeNotAppended                // it is certainly not
	outcomeApplied
)

var (
	errOtherLeader = errors.New("another replica leads now")
	errNoLeader    = errors.New("no leader is known")
	errNoCommand   = errors.New("the call has no command, or an empty one: it comes from another version")
)

// MaxCommand is the size of the largest command that is replicated, in bytes: sealed it must fit into an entry of
// maxSealed.
const MaxCommand = 60 << 20

// Apply replicates a command and returns the result that the state machine gave. It may be called on any replica; it is
// retried with the same bytes, across changes of leader, until ctx ends. A command larger than MaxCommand is rejected. An
// error wraps [ErrUnavailable]; one of a command that is certainly not in the log is an [fsm.NotAppliedError], too.
func (r *Replica) Apply(ctx context.Context, command []byte) (fsm.Result, error) {
	if len(command) > MaxCommand {
		return fsm.Result{Status: fsm.Rejected, Reason: fmt.Sprintf("it takes %d bytes in the log, where at most %d are possible: push less at once", len(command), MaxCommand)}, nil
	}
	var lastErr error
	maybe := false
	for attempt := 0; ; attempt++ {
		if err := r.over(); err != nil {
			return fsm.Result{}, r.giveUp(err, maybe)
		}
		if attempt > 0 {
			r.metrics.retries.Inc()
		}
		way := r.forwards
		if leader, _ := r.leader.current(); leader == r.serverID {
			way = r.appends
		}
		results, what, err := way.do(ctx, command)
		switch what {
		case outcomeApplied:
			switch status := results[0].Status; {
			case status == fsm.Unreadable: // the next leader may have another version
			case refusedHere(status) && maybe: // for want of room, unless an earlier attempt has it already or is about to
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

// send hands commands to the leader, which may by now be this replica.
func (r *Replica) send(ctx context.Context, leader raft.ServerID, commands [][]byte) ([]fsm.Result, outcome, error) {
	ctx, cancel := r.leader.untilOther(ctx, leader)
	defer cancel()
	if leader == r.serverID {
		return r.appends.do(ctx, commands...)
	}
	id, err := uuid.Parse(string(leader))
	if err != nil {
		return nil, outcomeNotAppended, fmt.Errorf("leader %q: %w", leader, err)
	}
	args := &ApplyArgs{Cluster: r.store.clusterID(), Commands: commands, TimeoutMs: millisLeft(ctx)}
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
		return nil, outcomeUnknown, fmt.Errorf("leader %s answered with %d results to %d commands", r.nameOf(leader), len(reply.Results), len(commands))
	}
	return reply.Results, outcomeApplied, nil
}

// take appends commands that another replica has sent. What this replica could not apply would halt it, and with it
// every replica of its version, again after each restart: so each command is read first, and one that cannot be is left
// out of what is appended and has the result [fsm.Unreadable]. All that is appended is measured: what the log could not
// read back would be worse.
func (r *Replica) take(ctx context.Context, commands [][]byte) ([]fsm.Result, outcome, error) {
	if len(commands) == 0 {
		return nil, outcomeNotAppended, errNoCommand
	}
	results := make([]fsm.Result, len(commands))
	good := make([][]byte, 0, len(commands))
	var bad error
	for i, c := range commands {
		if err := r.readable(c); err != nil {
			bad, results[i] = err, fsm.Result{Status: fsm.Unreadable, Reason: err.Error()}
			continue
		}
		good = append(good, c)
	}
	if len(good) == 0 {
		return nil, outcomeNotAppended, bad
	}
	applied, what, err := r.appends.do(ctx, good...)
	if what != outcomeApplied {
		return nil, what, err
	}
	for i := range results {
		if results[i].Status != fsm.Unreadable {
			results[i], applied = applied[0], applied[1:]
		}
	}
	return results, what, nil
}

// readable is why a command of another replica cannot be applied by this one, which leads, or nil.
func (r *Replica) readable(command []byte) error {
	if len(command) == 0 {
		return errNoCommand
	}
	if len(command) > MaxCommand {
		return fmt.Errorf("the command takes %d bytes in the log, where at most %d are possible", len(command), MaxCommand)
	}
	if err := r.cfg.FSM.Check(command); err != nil {
		return fmt.Errorf("the command comes from another version than the leader's: %s, version %q, cannot apply it, because it %w; upgrade %s",
			r.cfg.Name, r.cfg.Version, err, r.cfg.Name)
	}
	return nil
}

// applyHere has the commands applied that there is room for on the disks of the cluster, which this replica leads. The result
// of the others is [fsm.NoSpace].
func (r *Replica) applyHere(ctx context.Context, _ raft.ServerID, commands [][]byte) ([]fsm.Result, outcome, error) {
	// What is remembered, and limited, is the state with all that earlier leaders have left in the log.
	if _, err := r.leader.waitReady(ctx); err != nil {
		return nil, outcomeNotAppended, err
	}
	short := r.diskAnswers(commands)
	admitted := short.without(commands)
	if len(admitted) == 0 {
		return short.among(nil), outcomeApplied, nil
	}
	results, what, err := r.appendHere(ctx, admitted)
	if what != outcomeApplied {
		return nil, what, err
	}
	return short.among(results), what, nil
}

// appendHere appends the commands to this replica's log as one entry, which only works while it leads. The time in the entry
// is this replica's, taken now. Those that the limits have no room for are left out, and their result is [fsm.Full].
func (r *Replica) appendHere(ctx context.Context, commands [][]byte) ([]fsm.Result, outcome, error) {
	if size := fsm.SealedSize(commands); size > maxSealed {
		return nil, outcomeNotAppended, fmt.Errorf("%d commands that came together take %d bytes in the log, where at most %d are possible", len(commands), size, maxSealed)
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
	results, what, err := applyLocal(ctx, r.raft, fsm.Seal(admitted, time.Now()), ended)
	if what != outcomeApplied {
		return nil, what, err
	}
	switch {
	case r.cfg.FSM.Err() != nil:
		return nil, outcomeUnknown, fmt.Errorf("the state machine has stopped: %w", r.cfg.FSM.Err())
	case len(results) != len(admitted):
		return nil, outcomeUnknown, fmt.Errorf("the state machine answered %d results to %d commands", len(results), len(admitted))
	}
	return full.among(results), outcomeApplied, nil
}

// refusedHere tells whether a status is the leader's refusal of a command that is not in the log.
func refusedHere(s fsm.Status) bool { return s == fsm.Full || s == fsm.NoSpace }

// answers are the results of commands that are answered without an entry of the log, nil for those that need one. All of
// them nil: none has an answer.
type answers []*fsm.Result

func fullAnswers(refused []fsm.Result) answers {
	if refused == nil {
		return nil
	}
	out := make(answers, len(refused))
	for i := range refused {
		if refused[i].Status == fsm.Full {
			out[i] = &refused[i]
		}
	}
	return out
}

// without returns the commands that have no answer.
func (a answers) without(commands [][]byte) [][]byte {
	if a == nil {
		return commands
	}
	var out [][]byte
	for i, c := range commands {
		if a[i] == nil {
			out = append(out, c)
		}
	}
	return out
}

// among puts the results of commands that were applied between the answers.
func (a answers) among(applied []fsm.Result) []fsm.Result {
	if a == nil {
		return applied
	}
	out := make([]fsm.Result, len(a))
	for i, answer := range a {
		if answer != nil {
			out[i] = *answer
		} else {
			out[i], applied = applied[0], applied[1:]
		}
	}
	return out
}

// applyLocal hands an entry to Raft and waits for the state machine's answer. It calls ended when the entry is applied, or
// Raft has given it up, which may be later than it returns.
//
// The goroutine that waits on Raft's future ends when Raft answers. Raft answers everything that is in its log; what
// sits in its queue at the moment of shutdown it forgets, and the goroutine then stays until the process ends, as
// nothing in Raft's interface can tell it.
func applyLocal(ctx context.Context, r raftNode, entry []byte, ended func()) ([]fsm.Result, outcome, error) {
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

// classify says what an error of raft.Apply means for the entry. Only errors that Raft gives before it touches its log
// are certain.
func classify(err error) outcome {
	switch {
	case errors.Is(err, raft.ErrNotLeader),
		errors.Is(err, raft.ErrLeadershipTransferInProgress),
		errors.Is(err, raft.ErrEnqueueTimeout):
		return outcomeNotAppended
	}
	return outcomeUnknown
}

// pause waits a little before the next attempt, or for a change of leader; false means that time is up.
func (r *Replica) pause(ctx context.Context) bool {
	wait := r.tune.retryMin + rand.N(r.tune.retryMax-r.tune.retryMin+1)
	_, changed := r.leader.current()
	select {
	case <-ctx.Done():
	case <-r.ctx.Done():
	case <-changed:
	case <-time.After(wait):
	}
	return ctx.Err() == nil && r.ctx.Err() == nil
}

// giveUp is the error of a command whose time is up, and which may be in the log or certainly is not. Only its type
// says which of the two: a text that has been put together of several attempts could say both.
func (r *Replica) giveUp(err error, maybe bool) error {
	if r.ctx.Err() != nil {
		err = errClosing
	} else {
		err = r.explain(err)
	}
	if err = unavailable(err); maybe {
		return err
	}
	return &fsm.NotAppliedError{Err: err}
}

// explain adds to an error what is known about the leader.
func (r *Replica) explain(err error) error {
	if over := r.over(); over != nil {
		return over
	}
	leader, since := r.leader.state()
	if leader == "" || errors.Is(err, errNoLeader) {
		return fmt.Errorf("no leader has been known for %s", time.Since(since).Round(time.Millisecond))
	}
	return err
}

// whileOpen gives a context that also ends when the replica closes.
func (r *Replica) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(r.ctx, func() { cancel(errClosing) })
	return ctx, func() {
		stop()
		cancel(context.Canceled)
	}
}

// causeOf prefers the reason why a context ended to the bare fact.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return cause
	}
	return err
}

const defaultTimeout = 10 * time.Second // of a forwarded command whose context has no deadline

func millisLeft(ctx context.Context) int64 {
	left := defaultTimeout
	if deadline, ok := ctx.Deadline(); ok {
		left = time.Until(deadline)
	}
	return max(left.Milliseconds(), 1)
}
