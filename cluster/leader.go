package cluster

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"pushquorum/fsm"
)

// raftNode is the part of Raft that leadership needs.
type raftNode interface {
	LeaderWithID() (raft.ServerAddress, raft.ServerID)
	State() raft.RaftState
	CurrentTerm() uint64
	RegisterObserver(*raft.Observer)
	DeregisterObserver(*raft.Observer)
	Apply(entry []byte, timeout time.Duration) raft.ApplyFuture
}

// leadership knows who leads and whether this replica may answer reads when it leads itself.
type leadership struct {
	raft   raftNode
	self   raft.ServerID
	logger *slog.Logger
	nameOf func(raft.ServerID) string
	// onNewLeader is called for each leader that becomes known, this replica or another.
	onNewLeader func()

	mu sync.Mutex
	// changed is closed and replaced whenever leader or readyTerm changes. The three are read and written together:
	// whoever holds the channel was told that leader. So whatever Raft does between two observations, the one that sees
	// another leader closes it.
	changed chan struct{}
	leader  raft.ServerID // as of the last observation
	since   time.Time     // of the present leader, or lack of one
	// readyTerm is the last term in which this replica, as leader, has committed and applied an entry of its own.
	// Before that its commit index may lie behind what an earlier leader has acknowledged.
	readyTerm uint64
}

const noopRetry = 50 * time.Millisecond

// run follows Raft's leadership until ctx ends.
func (l *leadership) run(ctx context.Context) {
	events := make(chan raft.Observation, 1)
	observer := raft.NewObserver(events, false, func(o *raft.Observation) bool {
		_, ok := o.Data.(raft.LeaderObservation)
		return ok
	})
	l.raft.RegisterObserver(observer)
	defer l.raft.DeregisterObserver(observer)
	var wg sync.WaitGroup
	defer wg.Wait()
	announced := uint64(0)
	for {
		l.observe()
		// A token in events says: observe again. One place in the channel loses nothing, because the state is read
		// afterwards.
		if term := l.raft.CurrentTerm(); l.raft.State() == raft.Leader && term != announced {
			announced = term
			wg.Go(func() { l.announce(ctx, term) })
		}
		select {
		case <-ctx.Done():
			return
		case <-events:
		case <-time.After(time.Second): // because Raft is silent when one leader follows itself in a later term
		}
	}
}

// observe notes who leads now and wakes those who were told otherwise. It returns the leader, "" when none is known,
// since when that has been so, and a channel that is closed when it may have changed.
func (l *leadership) observe() (leader raft.ServerID, since time.Time, changed <-chan struct{}) {
	l.mu.Lock()
	_, id := l.raft.LeaderWithID() // under the lock: else an old answer could be noted after a newer one
	news := id != l.leader
	if news {
		l.leader, l.since = id, time.Now()
		l.broadcastLocked()
	}
	since, changed = l.since, l.changed
	l.mu.Unlock()
	if news {
		l.report(id)
	}
	return id, since, changed
}

// report counts a new leader, and logs who leads now, or that nobody does.
func (l *leadership) report(leader raft.ServerID) {
	if leader == "" {
		l.logger.Info("no leader is known", "term", l.raft.CurrentTerm())
		return
	}
	l.onNewLeader()
	l.logger.Info("new leader", "leader", l.nameOf(leader), "term", l.raft.CurrentTerm(), "self", leader == l.self)
}

func (l *leadership) broadcastLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// announce commits a no-op in a new leader's term. Raft's own never reaches the state machine, so nobody could wait for
// it to be applied; from this one on every committed entry is a command or a configuration, and those can be waited
// for.
func (l *leadership) announce(ctx context.Context, term uint64) {
	for ctx.Err() == nil && l.raft.State() == raft.Leader && l.raft.CurrentTerm() == term {
		_, outcome, err := replicateEntry(ctx, l.raft, fsm.Seal([][]byte{fsm.EncodeNoop()}, time.Now()), func() {})
		if outcome == outcomeApplied {
			// If leadership was lost and won again since term was read, the no-op is of a later term. That does no
			// harm, because term is then one that never comes back.
			l.mu.Lock()
			l.readyTerm = max(l.readyTerm, term)
			l.broadcastLocked()
			l.mu.Unlock()
			return
		}
		l.logger.Debug("the new leader's first entry failed", "term", term, "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(noopRetry):
		}
	}
}

// current returns the leader, "" when none is known, and a channel that is closed when that may have changed. The two
// are one pair, read under one lock: the channel is that of the very leader that is returned, so no change is missed
// between the two.
func (l *leadership) current() (raft.ServerID, <-chan struct{}) {
	leader, _, changed := l.observe()
	return leader, changed
}

// state returns the present leader and since when it has been known, or that none has been, for a message.
func (l *leadership) state() (leader raft.ServerID, since time.Time) {
	leader, since, _ = l.observe()
	return leader, since
}

// waitReady returns the current term once this replica leads and is ready in it.
func (l *leadership) waitReady(ctx context.Context) (uint64, error) {
	for {
		l.mu.Lock()
		ready, changed := l.readyTerm, l.changed
		l.mu.Unlock()
		term := l.raft.CurrentTerm()
		if l.raft.State() != raft.Leader {
			return 0, raft.ErrNotLeader
		}
		if ready == term {
			return term, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// untilOther gives a context that also ends when a leader other than id becomes known: what waits for the old leader,
// which may be paused with our request in its hands, has nothing to wait for any more.
func (l *leadership) untilOther(ctx context.Context, id raft.ServerID) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		for {
			now, changed := l.current()
			if now != "" && now != id {
				cancel(errOtherLeader)
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, func() { cancel(context.Canceled) }
}
