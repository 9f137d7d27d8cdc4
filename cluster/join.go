package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/gossip"
	"pushquorum/cluster/internal/server"
)

// Joining: a replica without state is invited, which binds it to the cluster; then the leader adds it as a non-voter.
// Whether and when it becomes a voter, and who is removed, is autopilot's business.

const (
	inviteTimeout = 2 * time.Second
	changeTimeout = 5 * time.Second
)

// reconcile brings the configuration in line with the gossip, about every second and when the gossip changes.
func (r *Replica) reconcile(ctx context.Context) {
	for {
		r.refreshGossip()
		if r.hasState() {
			r.reconcileOnce(ctx)
			r.eviction.check(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-r.gossip.Changed():
		case <-time.After(r.tune.reconcile):
		}
	}
}

func (r *Replica) reconcileOnce(ctx context.Context) {
	servers := map[uuid.UUID]raft.Server{}
	for _, s := range r.raft.GetConfiguration().Configuration().Servers {
		if id, err := uuid.Parse(string(s.ID)); err == nil {
			servers[id] = s
		}
	}
	own := r.store.ClusterID()
	leading := r.raft.State() == raft.Leader
	alive := r.gossip.Alive()
	var guests []gossip.Meta // who might join, as gossip says; each is asked before anything is changed for it
	for _, m := range alive {
		if ctx.Err() != nil {
			return
		}
		_, configured := servers[m.ID]
		switch {
		case m.ID != r.self && m.Cluster != uuid.Nil && m.Cluster != own, m.HasRaftState && !configured &&
			m.Cluster != own:
			r.warnOfStranger(m)
		case m.ID != r.self && !m.HasRaftState && m.Cluster == uuid.Nil && (configured || leading):
			// A configured one too, leader or not: it may have missed the bootstrap, and the cluster may need its vote.
			guests = append(guests, m)
		case m.ID != r.self && leading && !configured && m.Cluster == own:
			if !m.HasRaftState || r.isWelcomeBack(m, alive, servers) {
				guests = append(guests, m)
			}
		case leading && configured:
			r.refreshAddress(ctx, m)
		}
	}
	for _, m := range r.invites.offer(time.Now(), guests) {
		if _, configured := servers[m.ID]; !configured {
			r.addNonvoter(ctx, m, servers)
		}
	}
}

// isWelcomeBack tells whether a replica that was removed and has come back may be added again. It may if its place is
// free, because it remembers its term and vote, and the cluster treats it like any other that was away for long.
// Otherwise that is logged once.
func (r *Replica) isWelcomeBack(m gossip.Meta, alive []gossip.Meta, servers map[uuid.UUID]raft.Server) bool {
	other, taken := nameTakenBy(m, alive, servers)
	if !taken {
		r.warned.forget(m.ID)
		return true
	}
	r.warnOnce(m.ID, "a replica that was removed has come back, but another of its name has taken its place; "+
		"it is not added: stop it and delete its data directory, or, if it is meant to be one more replica, "+
		"give it a --cluster.name of its own",
		"name", m.Name, "id", m.ID, "peer", m.Peer, "in_its_place", other.ID)
	return false
}

// nameTakenBy gives the living member of the configuration that has the name of a replica outside it, if there is one.
func nameTakenBy(m gossip.Meta, alive []gossip.Meta, servers map[uuid.UUID]raft.Server) (other gossip.Meta,
	taken bool,
) {
	for _, other := range alive {
		if _, configured := servers[other.ID]; configured && other.Name == m.Name {
			return other, true
		}
	}
	return gossip.Meta{}, false
}

// warnOfStranger logs, once, that a replica of another cluster has come into the gossip.
func (r *Replica) warnOfStranger(m gossip.Meta) {
	r.warnOnce(m.ID, "a replica belongs to another cluster and is not added; if its data is not needed, stop it "+
		"and delete its data directory, otherwise take it out of --cluster.peer",
		"name", m.Name, "id", m.ID, "peer", m.Peer, "its_cluster", m.Cluster, "this_cluster", r.store.ClusterID())
}

// warnOnce logs what an operator has to do about another replica, unless something was said about it before.
func (r *Replica) warnOnce(about uuid.UUID, msg string, args ...any) {
	if r.warned.first(about) {
		r.logger.Error(msg, args...)
	}
}

func (r *Replica) invite(ctx context.Context, m gossip.Meta) error {
	ctx, cancel := context.WithTimeout(ctx, inviteTimeout)
	defer cancel()
	var reply AgreeReply
	if err := r.peers.Call(ctx, m.ID, "Invite", &InviteArgs{Cluster: r.store.ClusterID()}, &reply); err != nil {
		return err
	}
	r.disown(m.ID, reply.Cluster)
	if reply.Error != "" {
		return fmt.Errorf("%w: it %s", errDeclined, reply.Error)
	}
	return nil
}

// disown forgets what gossip says of a replica that has just said that it belongs to another cluster. Gossip may have
// met it before it belonged to any, and its news of that goes to those whom it gossips with, who are others by now.
func (r *Replica) disown(id, cluster uuid.UUID) {
	if !gossip.ForeignTo(r.store.ClusterID(), cluster) {
		return
	}
	if m, ok := r.gossip.LastSeen(id); ok {
		m.Cluster = cluster
		r.gossip.Forget(id)
		r.warnOfStranger(m)
		r.gossip.Poke()
	}
}

// acceptInvite binds this replica to a cluster that wants it.
func (r *Replica) acceptInvite(cluster uuid.UUID) error {
	if err := r.mayFollow(cluster); err != nil {
		return err
	}
	if err := r.promises.Invite(cluster); err != nil {
		return err
	}
	r.gossip.Poke()
	return nil
}

func (r *Replica) addNonvoter(ctx context.Context, m gossip.Meta, servers map[uuid.UUID]raft.Server) {
	if r.raft.State() != raft.Leader || ctx.Err() != nil {
		return
	}
	address := server.Address{ID: m.ID, Peer: m.Peer, Name: m.Name, Replaces: r.predecessors(ctx, m, servers)}
	if err := r.reconfigure(ctx, func(raft.Configuration) (raft.Future, error) {
		return r.raft.AddNonvoter(serverID(m.ID), address.Encode(), 0, changeTimeout), nil
	}); err != nil {
		r.logger.Warn("cannot add a replica yet, trying again", "name", m.Name, "id", m.ID, "err", err)
		return
	}
	if len(address.Replaces) > 0 {
		r.logger.Info("added a replica in the place of one that does not answer; it becomes a voter when it has "+
			"caught up",
			"name", m.Name, "id", m.ID, "replaces", address.Replaces)
		return
	}
	r.logger.Info("added a replica, it becomes a voter when it has caught up",
		"name", m.Name, "id", m.ID, "returned", m.HasRaftState)
}

// predecessors are the configured servers of the newcomer's name that do not answer. They are asked, because gossip
// holds a process that was restarted with an empty directory for alive for some seconds.
func (r *Replica) predecessors(ctx context.Context, m gossip.Meta, servers map[uuid.UUID]raft.Server) []uuid.UUID {
	var namesakes, silent []uuid.UUID
	for id, s := range servers {
		a, err := server.ParseAddress(s.Address)
		if err != nil || id == r.self || id == m.ID || cmp.Or(a.Name, r.nameOf(s.ID)) != m.Name {
			continue
		}
		namesakes = append(namesakes, id)
	}
	var mu sync.Mutex
	sideBySide(namesakes, func(id uuid.UUID) {
		if _, err := r.askStatus(ctx, id, nil); err != nil && ctx.Err() == nil {
			r.pilot.noteSilent(serverID(id))
			mu.Lock()
			defer mu.Unlock()
			silent = append(silent, id)
		}
	})
	slices.SortFunc(silent, func(a, b uuid.UUID) int { return cmp.Compare(a.String(), b.String()) })
	return silent
}

// refreshAddress writes a server's present name and address into the configuration, where a recovery and a leader that
// has never met the server look for them. A server that was removed meanwhile is not added again.
func (r *Replica) refreshAddress(ctx context.Context, m gossip.Meta) {
	if err := r.reconfigure(ctx, func(c raft.Configuration) (raft.Future, error) {
		present := serverOf(c, serverID(m.ID))
		if present == nil {
			return nil, nil
		}
		have, err := server.ParseAddress(present.Address)
		if err != nil {
			return nil, err
		}
		want := server.Address{ID: m.ID, Peer: m.Peer, Name: m.Name, Replaces: have.Replaces}
		if present.Suffrage == raft.Voter {
			// Whom it has replaced is gone. That is said no more as soon as there is another reason to write: Raft
			// changes the address of a peer under a lock that it does not take wherever it reads one (hashicorp/raft
			// issue 681).
			if have.Peer == want.Peer && have.Name == want.Name {
				return nil, nil
			}
			want.Replaces = nil
			return r.raft.AddVoter(present.ID, want.Encode(), 0, changeTimeout), nil
		}
		want = want.Without(func(id uuid.UUID) bool {
			return serverOf(c, serverID(id)) == nil || r.pilot.answered(serverID(id)) // it was only away
		})
		if want.Encode() == present.Address {
			return nil, nil
		}
		return r.raft.AddNonvoter(present.ID, want.Encode(), 0, changeTimeout), nil
	}); err != nil {
		r.logger.Debug("cannot note a replica's address yet", "name", m.Name, "id", m.ID, "err", err)
	}
}

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
