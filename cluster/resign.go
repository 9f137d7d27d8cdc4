package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

const (
	resignTries   = 3
	resignTimeout = 3 * time.Second // of all tries
)

// resign asks the leader to take this replica's vote, because it is about to stop, as long as enough votes are left
// without it. When it comes back and has caught up it is given its vote again, as a newcomer is. Without an answer it
// stops with its vote, as in a crash.
func (r *Replica) resign(ctx context.Context) {
	if r.gossip == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, resignTimeout)
	defer cancel()
	var err error
	for range resignTries {
		if !r.votes() || r.countVoters() <= minVoters {
			return
		}
		if err = r.askToTakeVote(ctx); err == nil || !r.votes() {
			r.logger.Info("gave up its vote: it gets it back when it has come back and caught up")
			return
		}
		if !r.pause(ctx) {
			break
		}
	}
	r.logger.Warn("stops with its vote, so that it counts as a dead voter until it is back", "err", err)
}

func (r *Replica) askToTakeVote(ctx context.Context) error {
	if r.nextLeader(ctx) == "" {
		return errNoLeader
	}
	leader, _ := r.leader.current()
	id, err := uuid.Parse(string(leader))
	if err != nil || id == r.self {
		return errNoLeader
	}
	var reply AgreeReply
	if err := r.peers.Call(ctx, id, "Resign", &ResignArgs{Cluster: r.store.ClusterID(), ID: r.self},
		&reply); err != nil {
		return fmt.Errorf("leader %s did not answer: %w", r.nameOf(leader), causeOf(ctx, err))
	}
	if reply.Error != "" {
		return fmt.Errorf("leader %s keeps it a voter: %s", r.nameOf(leader), reply.Error)
	}
	return nil
}

// takeVote is the leader's part: it makes a voter that asks for it a non-voter, or says why not. At least three voters
// are left, of whom a majority answers now.
func (r *Replica) takeVote(ctx context.Context, id uuid.UUID) error {
	if r.raft.State() != raft.Leader {
		return raft.ErrNotLeader
	}
	left := 0
	if err := r.reconfigure(ctx, func(c raft.Configuration) (raft.Future, error) {
		var rest []uuid.UUID
		for _, s := range c.Servers {
			if other, err := uuid.Parse(string(s.ID)); err == nil && s.Suffrage == raft.Voter && other != id {
				rest = append(rest, other)
			}
		}
		switch s := serverOf(c, serverID(id)); {
		case s == nil || s.Suffrage != raft.Voter:
			return nil, nil
		case id == r.self:
			return nil, errors.New("it leads")
		case len(rest) < minVoters:
			return nil, fmt.Errorf("%d voters would be left, and at least %d must be", len(rest), minVoters)
		}
		if there := r.countAnswering(ctx, rest); 2*there <= len(rest) {
			return nil, fmt.Errorf("only %d of the %d other voters answer", there, len(rest))
		}
		left = len(rest)
		r.pilot.noteResigned(serverID(id)) // before it is a non-voter that autopilot may find
		return r.raft.DemoteVoter(serverID(id), 0, changeTimeout), nil
	}); err != nil || left == 0 {
		return err
	}
	r.logger.Info("a replica that is about to stop has given up its vote",
		"name", r.nameOf(serverID(id)), "id", id, "voters", left)
	return nil
}

// countAnswering asks all at once and tells how many answer as members of this cluster; this replica does.
func (r *Replica) countAnswering(ctx context.Context, ids []uuid.UUID) int {
	var n atomic.Int32
	var wg sync.WaitGroup
	for _, id := range ids {
		wg.Go(func() {
			if id == r.self {
				n.Add(1)
				return
			}
			if status, err := r.askStatus(ctx, id, nil); err == nil && status.Cluster == r.store.ClusterID() {
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return int(n.Load())
}

// votes tells whether this replica is a voter, as far as its own log goes.
func (r *Replica) votes() bool {
	for _, s := range r.raft.GetConfiguration().Configuration().Servers {
		if s.ID == r.serverID {
			return s.Suffrage == raft.Voter
		}
	}
	return false
}
