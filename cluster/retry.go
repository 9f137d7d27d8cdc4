package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

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
)

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

// giveUp returns the error of a command whose time is up, and which may be in the log or certainly is not. Only its
// type says which of the two: a text that has been put together of several attempts could say both.
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
