package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

// readRoundTimeout bounds one round; those who wait longer start another.
const readRoundTimeout = 2 * time.Second

// readyWait is how long a new leader lets a reader wait for its first entry.
const readyWait = time.Second

// ReadBarrier returns nil when the local state machine holds every command that any replica acknowledged before the
// call. An error wraps [ErrUnavailable].
func (r *Replica) ReadBarrier(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := r.whileOpen(ctx)
	defer cancel()
	var lastErr error
	for {
		if r.servesAlone() {
			r.fresh.confirm(began)
			return nil
		}
		index, err := r.reads.do(ctx)
		if err == nil {
			err = r.waitApplied(ctx, index)
		}
		if err == nil && r.cfg.FSM.Err() == nil {
			r.fresh.confirm(began)
			r.metrics.barrier.Observe(time.Since(began).Seconds())
			return nil
		}
		if err == nil {
			err = r.cfg.FSM.Err()
		}
		if lastErr == nil || ctx.Err() == nil || !errors.Is(err, ctx.Err()) {
			lastErr = err
		}
		if !r.pause(ctx) {
			if errors.Is(context.Cause(ctx), errClosing) {
				return unavailable(errClosing)
			}
			return unavailable(r.explain(lastErr))
		}
	}
}

// readRounds lets concurrent readers share the question for a read index. At most one round is under way; those who
// come meanwhile share the next, because an answer is only good for readers who were there before the question.
type readRounds struct {
	ask func(context.Context) (readIndex, error)
	run func(func(context.Context)) bool // starts a goroutine that ends with the replica; false: it is closing

	mu      sync.Mutex
	current *readRound
	next    *readRound
}

type readRound struct {
	done  chan struct{}
	index readIndex
	err   error
}

// readIndex is an index that a leader has confirmed, and the leader's term.
type readIndex struct{ index, term uint64 }

// do waits for the answer to a question asked after the call.
func (s *readRounds) do(ctx context.Context) (readIndex, error) {
	s.mu.Lock()
	var mine *readRound
	if s.current == nil {
		mine = &readRound{done: make(chan struct{})}
		s.current = mine
		s.startLocked(mine)
	} else {
		if s.next == nil {
			s.next = &readRound{done: make(chan struct{})}
		}
		mine = s.next
	}
	s.mu.Unlock()
	select {
	case <-mine.done:
		return mine.index, mine.err
	case <-ctx.Done():
		return readIndex{}, context.Cause(ctx)
	}
}

func (s *readRounds) startLocked(round *readRound) {
	started := s.run(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, readRoundTimeout)
		defer cancel()
		round.index, round.err = s.ask(ctx)
		s.mu.Lock()
		s.current, s.next = s.next, nil
		if s.current != nil {
			s.startLocked(s.current)
		}
		s.mu.Unlock()
		close(round.done)
	})
	if !started {
		round.err = errClosing
		s.current = nil
		close(round.done)
	}
}

// askReadIndex asks whoever leads for an index that covers all that was acknowledged before the call.
func (r *Replica) askReadIndex(ctx context.Context) (readIndex, error) {
	term := r.raft.CurrentTerm() // after the readers of this round came: see confirmIndex
	leader, _ := r.leader.current()
	if leader == "" {
		return readIndex{}, errNoLeader
	}
	ctx, cancel := r.leader.untilOther(ctx, leader)
	defer cancel()
	if leader == r.serverID {
		return r.confirmIndex(ctx, 0, uuid.Nil)
	}
	id, err := uuid.Parse(string(leader))
	if err != nil {
		return readIndex{}, fmt.Errorf("leader %q: %w", leader, err)
	}
	args := &ReadIndexArgs{Cluster: r.store.ClusterID(), Term: term, Requester: r.self, TimeoutMs: millisLeft(ctx)}
	var reply ReadIndexReply
	if err := r.peers.Call(ctx, id, "ReadIndex", args, &reply); err != nil {
		return readIndex{}, fmt.Errorf("leader %s did not answer: %w", r.nameOf(leader), causeOf(ctx, err))
	}
	if reply.Error != "" {
		return readIndex{}, fmt.Errorf("leader %s answered: %s", r.nameOf(leader), reply.Error)
	}
	return readIndex{index: reply.Index, term: reply.Term}, nil
}

// confirmIndex is the leader's part: the commit index, confirmed. requester is a follower that asked, whose term was
// requesterTerm after its readers had come.
//
// The index is taken first, then a majority of the voters must say that their term is still this leader's. Every answer
// is given after the readers came; so at that moment no later leader had been elected, for it would have needed the
// vote, and with it the term, of at least one of that majority; so nothing that was acknowledged before can lie beyond
// the index. raft.VerifyLeader is no substitute: it counts heartbeats that were answered before it was called.
func (r *Replica) confirmIndex(ctx context.Context, requesterTerm uint64, requester uuid.UUID) (readIndex, error) {
	wait, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	term, err := r.leader.waitReady(wait)
	if err != nil {
		return readIndex{}, err
	}
	index := r.raft.CommitIndex()
	var ask []uuid.UUID
	voters, have := 0, 0
	for _, s := range r.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		id, err := uuid.Parse(string(s.ID))
		switch {
		case err != nil:
			continue
		case id == r.self, id == requester && requesterTerm == term:
			have++
		default:
			ask = append(ask, id)
		}
	}
	if need := voters/2 + 1 - have; need > 0 {
		if err := r.confirmTerm(ctx, term, ask, need); err != nil {
			return readIndex{}, err
		}
	}
	if r.raft.State() != raft.Leader || r.raft.CurrentTerm() != term {
		return readIndex{}, raft.ErrNotLeader
	}
	return readIndex{index: index, term: term}, nil
}

// confirmTerm returns nil when so many of the voters say that they are still in the term.
func (r *Replica) confirmTerm(ctx context.Context, term uint64, voters []uuid.UUID, need int) error {
	if len(voters) < need {
		return errors.New("the configuration has no majority to ask")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan error, len(voters))
	for _, id := range voters {
		go func() { // ends with ctx at the latest
			var reply ConfirmTermReply
			err := r.peers.Call(ctx, id, "ConfirmTerm", &ConfirmTermArgs{Cluster: r.store.ClusterID(), Term: term},
				&reply)
			switch {
			case err != nil:
				err = fmt.Errorf("%s did not answer: %w", r.nameOf(raft.ServerID(id.String())), err)
			case reply.Term != term:
				err = fmt.Errorf("%s is in term %d, not %d", r.nameOf(raft.ServerID(id.String())), reply.Term, term)
			}
			answers <- err
		}()
	}
	var failures []error
	for range voters {
		select {
		case err := <-answers:
			if err != nil {
				failures = append(failures, err)
				continue
			}
			if need--; need == 0 {
				return nil
			}
		case <-ctx.Done():
			failures = append(failures, ctx.Err())
			return fmt.Errorf("no majority confirmed that this replica still leads: %w", failures[0])
		}
	}
	return fmt.Errorf("no majority confirmed that this replica still leads: %w", failures[0])
}
