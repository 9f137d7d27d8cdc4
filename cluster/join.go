package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

// Joining: a replica without state is invited, which binds it to the cluster; then the leader adds it as a non-voter,
// and makes it a voter when it has caught up. Nobody is ever removed here.

const (
	inviteTimeout = 2 * time.Second
	changeTimeout = 5 * time.Second
)

// reconcile brings the configuration in line with the gossip, about every second and when the gossip changes.
func (r *Replica) reconcile(ctx context.Context) {
	strangers := map[uuid.UUID]bool{}
	for {
		r.refreshGossip()
		if r.hasState() {
			r.reconcileOnce(ctx, strangers)
		}
		select {
		case <-ctx.Done():
			return
		case <-r.gossip.changed:
		case <-time.After(r.tune.reconcile):
		}
	}
}

func (r *Replica) reconcileOnce(ctx context.Context, strangers map[uuid.UUID]bool) {
	servers := map[uuid.UUID]raft.Server{}
	for _, s := range r.raft.GetConfiguration().Configuration().Servers {
		if id, err := uuid.Parse(string(s.ID)); err == nil {
			servers[id] = s
		}
	}
	own := r.store.clusterID()
	leading := r.raft.State() == raft.Leader
	for _, m := range r.gossip.alive() {
		if ctx.Err() != nil {
			return
		}
		server, configured := servers[m.ID]
		switch {
		case m.ID == r.self:
		case m.Cluster != uuid.Nil && m.Cluster != own, m.Member && !configured && m.Cluster != own:
			r.stranger(m, strangers)
		case !m.Member && m.Cluster == uuid.Nil && (configured || leading):
			// A configured one too, leader or not: it may have missed the bootstrap, and the cluster may need its vote.
			if err := r.invite(ctx, m); err != nil {
				r.logger.Debug("cannot invite a replica yet", "name", m.Name, "id", m.ID, "err", err)
				continue
			}
			if !configured {
				r.addNonvoter(ctx, m)
			}
		case leading && !configured && m.Cluster == own && !m.Member:
			r.addNonvoter(ctx, m)
		case leading && configured && server.Suffrage == raft.Nonvoter:
			r.promote(ctx, m, server)
		}
	}
}

// stranger logs, once, that a replica of another cluster has come into the gossip.
func (r *Replica) stranger(m nodeMeta, known map[uuid.UUID]bool) {
	if known[m.ID] {
		return
	}
	known[m.ID] = true
	r.logger.Error("a replica belongs to another cluster and is not added; if its data is not needed, stop it and delete its data directory, otherwise take it out of --cluster.peer",
		"name", m.Name, "id", m.ID, "peer", m.Peer, "its_cluster", m.Cluster, "this_cluster", r.store.clusterID())
}

func (r *Replica) invite(ctx context.Context, m nodeMeta) error {
	ctx, cancel := context.WithTimeout(ctx, inviteTimeout)
	defer cancel()
	var reply AgreeReply
	if err := r.peers.call(ctx, m.ID, "Invite", &InviteArgs{Cluster: r.store.clusterID()}, &reply); err != nil {
		return err
	}
	if reply.Error != "" {
		return fmt.Errorf("it %s", reply.Error)
	}
	return nil
}

// acceptInvite binds this replica to a cluster that wants it.
func (r *Replica) acceptInvite(cluster uuid.UUID) error {
	if err := r.grants.invite(r.situation(), cluster); err != nil {
		return err
	}
	if err := r.id.bind(cluster); err != nil {
		return err
	}
	r.gossip.poke()
	return nil
}

func (r *Replica) addNonvoter(ctx context.Context, m nodeMeta) {
	if r.raft.State() != raft.Leader || ctx.Err() != nil {
		return
	}
	future := r.raft.AddNonvoter(serverID(m.ID), raftAddress(m.ID, m.Peer), 0, changeTimeout)
	if err := waitFuture(ctx, future); err != nil {
		r.logger.Warn("cannot add a replica yet, trying again", "name", m.Name, "id", m.ID, "err", err)
		return
	}
	r.logger.Info("added a replica, it becomes a voter when it has caught up", "name", m.Name, "id", m.ID)
}

// promote makes a non-voter a voter once it has applied all that was committed when it was asked.
func (r *Replica) promote(ctx context.Context, m nodeMeta, server raft.Server) {
	commit := r.raft.CommitIndex()
	status, err := r.askStatus(ctx, m.ID)
	if err != nil || status.Cluster != r.store.clusterID() || status.AppliedIndex < r.applicable(commit) {
		return
	}
	if err := waitFuture(ctx, r.raft.AddVoter(server.ID, raftAddress(m.ID, m.Peer), 0, changeTimeout)); err != nil {
		r.logger.Warn("cannot make a replica a voter yet, trying again", "name", m.Name, "id", m.ID, "err", err)
		return
	}
	r.logger.Info("a replica has caught up and votes now", "name", m.Name, "id", m.ID)
}

// applicable lowers a commit index to what a state machine can have applied: right after an election the last committed
// entry may be Raft's own no-op, which state machines do not see.
func (r *Replica) applicable(commit uint64) uint64 { return min(commit, r.cfg.FSM.Applied()) }

// waitFuture waits for a change of the configuration, or until ctx ends; the change goes on in that case.
func waitFuture(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
