package cluster

import (
	"context"
	"errors"
	"fmt"

	"pushquorum/fsm"
)

var errNoCommand = errors.New("the call has no command, or an empty one: it comes from another version")

// appendForwarded is the leader's end of [Replica.forward]: it has commands appended that another replica has sent.
// Each is read first, because one that this replica cannot apply would halt it, and with it every replica of its
// version, again after each restart. Such a command is left out of what is appended, and its result is
// [fsm.Unreadable]. Its size is measured, too, because the log could not read back an entry that is too large.
func (r *Replica) appendForwarded(ctx context.Context, commands [][]byte) ([]fsm.Result, outcome, error) {
	if len(commands) == 0 {
		return nil, outcomeNotAppended, errNoCommand
	}
	results := make([]fsm.Result, len(commands))
	good := make([][]byte, 0, len(commands))
	var bad error
	for i, c := range commands {
		if err := r.checkForwarded(c); err != nil {
			bad, results[i] = err, fsm.Result{Status: fsm.Unreadable, Reason: err.Error()}
			continue
		}
		good = append(good, c)
	}
	if len(good) == 0 {
		return nil, outcomeNotAppended, bad
	}
	applied, outcome, err := r.toLog.submit(ctx, good...)
	if outcome != outcomeApplied {
		return nil, outcome, err
	}
	for i := range results {
		if results[i].Status != fsm.Unreadable {
			results[i], applied = applied[0], applied[1:]
		}
	}
	return results, outcome, nil
}

// checkForwarded returns why this replica, which leads, cannot apply a command of another one, or nil.
func (r *Replica) checkForwarded(command []byte) error {
	if len(command) == 0 {
		return errNoCommand
	}
	if len(command) > MaxCommand {
		return fmt.Errorf("the command takes %d bytes in the log, where at most %d are possible",
			len(command), MaxCommand)
	}
	if err := r.cfg.FSM.Check(command); err != nil {
		return fmt.Errorf("the command comes from another version than the leader's: "+
			"%s, version %q, cannot apply it, because it %w; upgrade %s", r.cfg.Name, r.cfg.Version, err, r.cfg.Name)
	}
	return nil
}
