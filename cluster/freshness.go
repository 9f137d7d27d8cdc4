package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// freshness remembers when the local state was last known to be current.
type freshness struct {
	mu sync.Mutex
	at time.Time // when the newest successful barrier began; zero: never
}

// confirm says that the state holds everything acknowledged before the time.
func (f *freshness) confirm(began time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if began.After(f.at) {
		f.at = began
	}
}

// age returns how long ago the state was last known to be current; false if it never was.
func (f *freshness) age() (time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.at.IsZero() {
		return 0, false
	}
	return time.Since(f.at), true
}

// keep has a barrier made every so often, unless readers have one made. Until the first has succeeded one that failed
// is tried again after retry.
func (f *freshness) keep(ctx context.Context, barrier func(context.Context) error, every, retry time.Duration) {
	for {
		pause := every
		if age, ok := f.age(); !ok || age >= pause {
			attempt, cancel := context.WithTimeout(ctx, readRoundTimeout)
			err := barrier(attempt)
			cancel()
			if _, ever := f.age(); err != nil && !ever {
				pause = retry
			}
		} else {
			pause -= age
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// Staleness returns how long ago the local state was last known to be current; false if it never was since the start.
func (r *Replica) Staleness() (time.Duration, bool) { return r.fresh.age() }

// maxReadyAge is how old the state of a ready replica may be. It is confirmed every second; older is one that no leader
// has answered for a while, whatever the leader is believed to be.
const maxReadyAge = 10 * time.Second

// errNoVote is why a newcomer that has caught up is not ready: were it ready, whoever restarts replicas one after the
// other would take the next one before this one counts.
var errNoVote = errors.New("this replica has caught up and does not vote yet: " +
	"the leader gives it a vote when it has kept up for a while")

// Ready returns nil when this replica has caught up, votes, knows a leader and is not stopping; otherwise why not.
func (r *Replica) Ready() error {
	if err := r.Healthy(); err != nil {
		return err
	}
	if r.draining.Load() {
		return errDraining
	}
	if r.eviction.evicted() {
		return errRemoved
	}
	age, ok := r.fresh.age()
	if !ok {
		if leader, _ := r.leader.state(); leader == "" {
			return errors.New("waiting for the cluster to form or to be joined: no leader is known yet")
		}
		return errors.New("catching up with the leader")
	}
	if leader, since := r.leader.state(); leader == "" {
		return fmt.Errorf("no leader has been known for %s", time.Since(since).Round(time.Millisecond))
	}
	if !r.votes() {
		return errNoVote
	}
	if age > maxReadyAge {
		return fmt.Errorf("the state was last confirmed by the leader %s ago", age.Round(time.Millisecond))
	}
	return nil
}

// Healthy returns nil unless somebody has to do something: the state machine has halted, the data directory cannot be
// written or is gone, or a write to the disk or an entry of the log has been under way for half a minute without
// moving.
func (r *Replica) Healthy() error {
	if err := r.cfg.FSM.Err(); err != nil {
		return err
	}
	if r.ctx.Err() != nil {
		return errClosing
	}
	if err := r.dir.Err(); err != nil {
		return err
	}
	return r.watch.err()
}
