package cluster

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/gossip"
	"pushquorum/cluster/internal/server"
)

// Status is the state of the cluster as one replica sees it. AppliedIndex and StateHash were taken together: two
// replicas with the same AppliedIndex must show the same StateHash.
type Status struct {
	Self, Leader                    string // names; Leader is empty when none is known
	Term, CommitIndex, AppliedIndex uint64
	StateHash                       string   // hex
	Members                         []Member // sorted by name, then id
}

// Member is one replica, in the configuration or seen alive.
type Member struct {
	Name, ID, PeerAddress string
	Role                  string // voter, nonvoter
	State                 string // leader, follower, candidate, unknown
	Healthy               bool   // it answered just now
	AppliedIndex          uint64
	Version               string
}

// Status asks every replica that is configured or alive; it takes about a second when one does not answer.
func (r *Replica) Status(ctx context.Context) Status {
	ctx, cancel := r.whileOpen(ctx)
	defer cancel()
	own := r.ownStatus()
	members := r.listMembers()
	// Gossip may show any number: those who are configured are asked first, and all within a while.
	configured := configuredIDs(r.raft.GetConfiguration().Configuration())
	before(members, func(m *Member) bool {
		return slices.ContainsFunc(configured, func(id uuid.UUID) bool { return id.String() == m.ID })
	})
	asking, stop := context.WithTimeout(ctx, r.tune.statusTimeout)
	defer stop()
	sideBySide(members, func(m *Member) {
		id, err := uuid.Parse(m.ID)
		if err != nil {
			return
		}
		status := own
		if id != r.self {
			if status, err = r.askStatus(asking, id, nil); err != nil {
				return
			}
		}
		if gossip.ForeignTo(own.Cluster, status.Cluster) && !slices.Contains(configured, id) {
			m.ID = "" // gossip has not heard of that yet
			return
		}
		m.Name, m.PeerAddress, m.Version = status.Name, status.PeerAddress, status.Version
		m.State, m.AppliedIndex, m.Healthy = status.State, status.AppliedIndex, true
	})
	members = slices.DeleteFunc(members, func(m *Member) bool { return m.ID == "" })
	slices.SortFunc(members, func(a, b *Member) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	out := Status{
		Self: r.cfg.Name, Term: own.Term, CommitIndex: own.CommitIndex,
		AppliedIndex: own.AppliedIndex, StateHash: own.StateHash,
	}
	for _, m := range members {
		out.Members = append(out.Members, *m)
	}
	if own.Leader != "" {
		out.Leader = r.nameOf(raft.ServerID(own.Leader))
	}
	return out
}

// listMembers is everyone who is configured or alive, with what is known without asking.
func (r *Replica) listMembers() []*Member {
	byID := map[string]*Member{}
	get := func(id string) *Member {
		if byID[id] == nil {
			byID[id] = &Member{ID: id, Name: r.nameOf(raft.ServerID(id)), Role: "nonvoter", State: "unknown"}
		}
		return byID[id]
	}
	for _, s := range r.raft.GetConfiguration().Configuration().Servers {
		m := get(string(s.ID))
		if s.Suffrage == raft.Voter {
			m.Role = "voter"
		}
		if a, err := server.ParseAddress(s.Address); err == nil {
			m.PeerAddress = a.Peer
		}
	}
	get(r.self.String())
	if r.gossip != nil {
		for _, alive := range r.gossip.Alive() {
			m := get(alive.ID.String())
			m.Name, m.PeerAddress, m.Version = alive.Name, alive.Peer, alive.Version
		}
	}
	return slices.Collect(maps.Values(byID))
}

func (r *Replica) countVoters() int { return countVoters(r.raft.GetConfiguration().Configuration()) }

func countVoters(c raft.Configuration) int {
	n := 0
	for _, s := range c.Servers {
		if s.Suffrage == raft.Voter {
			n++
		}
	}
	return n
}

// askStatus asks a replica how it is; a leader may tell it something with the question.
func (r *Replica) askStatus(ctx context.Context, id uuid.UUID, tell *StatusArgs) (StatusReply, error) {
	ctx, cancel := context.WithTimeout(ctx, r.tune.statusTimeout)
	defer cancel()
	if tell == nil {
		tell = new(StatusArgs)
	}
	var reply StatusReply
	if err := r.peers.Call(ctx, id, "Status", tell, &reply); err != nil {
		return StatusReply{}, err // an answer that is late may be written into reply even now
	}
	r.disown(id, reply.Cluster)
	return reply, nil
}

// ownStatus is this replica's answer to a Status call.
func (r *Replica) ownStatus() StatusReply {
	view := r.cfg.FSM.View()
	_, leader := r.raft.LeaderWithID()
	state := strings.ToLower(r.raft.State().String())
	if state == "shutdown" {
		state = "unknown"
	}
	lastIndex, lastTerm, contact := r.logPosition()
	return StatusReply{
		LastLogIndex: lastIndex, LastLogTerm: lastTerm, LastContactMs: contact,
		Servers: configuredIDs(r.raft.GetConfiguration().Configuration()),
		ID:      r.self, Cluster: r.store.ClusterID(), Name: r.cfg.Name, Version: r.cfg.Version,
		PeerAddress: r.addrs.PeerAdvertise,
		State:       state, Leader: string(leader), Term: r.raft.CurrentTerm(), CommitIndex: r.raft.CommitIndex(),
		AppliedIndex: view.Index(), StateHash: view.Hash(), Draining: r.draining.Load(), NoSpace: r.space.Shortage(),
	}
}

// logPosition is the last index of this replica's log and its term, and how long ago the leader was heard, in
// milliseconds; -1 when it never was.
func (r *Replica) logPosition() (index, term uint64, contactMs int64) {
	stats := r.raft.Stats()
	number := func(key string) uint64 {
		n, _ := strconv.ParseUint(stats[key], 10, 64) // Raft writes nothing else
		return n
	}
	index, term = number("last_log_index"), number("last_log_term")
	if s := number("last_snapshot_index"); s > index {
		index, term = s, number("last_snapshot_term") // a snapshot from the leader empties the log
	}
	switch last := r.raft.LastContact(); {
	case r.raft.State() == raft.Leader:
	case last.IsZero():
		contactMs = -1
	default:
		contactMs = time.Since(last).Milliseconds()
	}
	return index, term, contactMs
}

// nameOf gives the name of a replica as last heard, else as configured, else its id.
func (r *Replica) nameOf(id raft.ServerID) string {
	if id == r.serverID {
		return r.cfg.Name
	}
	if r.gossip != nil {
		if u, err := uuid.Parse(string(id)); err == nil {
			if m, ok := r.gossip.LastSeen(u); ok && m.Name != "" {
				return m.Name
			}
		}
	}
	for _, s := range r.raft.GetConfiguration().Configuration().Servers {
		if a, err := server.ParseAddress(s.Address); err == nil && s.ID == id && a.Name != "" {
			return a.Name
		}
	}
	return string(id)
}

// configuredIDs are the ids of a configuration that are replicas'.
func configuredIDs(c raft.Configuration) []uuid.UUID {
	var out []uuid.UUID
	for _, s := range c.Servers {
		if id, err := uuid.Parse(string(s.ID)); err == nil {
			out = append(out, id)
		}
	}
	return slices.Clip(out)
}
