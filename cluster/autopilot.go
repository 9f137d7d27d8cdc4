package cluster

import (
	"context"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// What autopilot calls healthy. A follower hears of the leader every heartbeat, which is half a second or less.
const (
	maxLastContact  = 2 * time.Second
	maxTrailingLogs = 1024 // entries: what a busy follower may lack for a moment
)

// minVoters is the number below which dead voters are not removed. Two voters bear no loss, as three with a dead one do, but
// the third, when it comes back, would have to be added first, and that takes both of the two.
const minVoters = 3

// pilot runs raft-autopilot while this replica leads: it makes healthy newcomers voters and removes dead servers. It is what
// the library wants to know of its application, an autopilot.ApplicationIntegration.
type pilot struct {
	r    *Replica
	auto *autopilot.Autopilot
	gone *absences

	mu    sync.Mutex
	ctx   context.Context  // of the present leadership
	state *autopilot.State // last one; nil when this replica does not lead
	heard map[raft.ServerID]bool
}

func newPilot(r *Replica) *pilot {
	p := &pilot{r: r, gone: newAbsences(r.tune.pilotLook), ctx: r.ctx}
	p.auto = autopilot.New(&pilotRaft{Raft: r.raft, r: r}, p,
		autopilot.WithLogger(newRaftLogger(r.logger)),
		autopilot.WithPromoter(&promoter{grace: r.cfg.DeadServerGrace, gone: p.gone}),
		autopilot.WithUpdateInterval(r.tune.pilotLook), autopilot.WithReconcileInterval(r.tune.pilotAct))
	return p
}

// run starts and stops autopilot with this replica's leadership, until ctx ends.
func (p *pilot) run(ctx context.Context) {
	leading := false
	for {
		leader, changed := p.r.leader.current()
		switch now := leader == p.r.serverID; {
		case now && !leading:
			p.begin(ctx)
			leading = true
		case !now && leading:
			p.end()
			leading = false
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if leading {
				p.end()
			}
			return
		}
	}
}

func (p *pilot) begin(ctx context.Context) {
	p.gone.forget()
	p.mu.Lock()
	p.ctx = ctx
	p.mu.Unlock()
	p.auto.Start(ctx)
}

// end waits until nothing is being changed any more. Raft answers what it has been asked when it ceases to lead.
func (p *pilot) end() {
	<-p.auto.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.heard = nil, nil
}

// AutopilotConfig implements autopilot.ApplicationIntegration, like the methods below.
func (p *pilot) AutopilotConfig() *autopilot.Config {
	return &autopilot.Config{
		CleanupDeadServers: true, LastContactThreshold: maxLastContact, MaxTrailingLogs: maxTrailingLogs,
		MinQuorum: minVoters, ServerStabilizationTime: p.r.tune.stabilize,
	}
}

// NotifyState remembers the state for the metrics and says when the cluster's health changes.
func (p *pilot) NotifyState(s *autopilot.State) {
	p.mu.Lock()
	before := p.state
	p.state = s
	p.mu.Unlock()
	if before == nil || before.Healthy == s.Healthy {
		return
	}
	if s.Healthy {
		p.r.logger.Info("all replicas are healthy", "voters", len(s.Voters), "failure_tolerance", s.FailureTolerance)
		return
	}
	var ill []string
	for id, srv := range s.Servers {
		if !srv.Health.Healthy {
			ill = append(ill, p.r.nameOf(id))
		}
	}
	p.r.logger.Warn("not all replicas are healthy", "unhealthy", ill, "voters", len(s.Voters), "failure_tolerance", s.FailureTolerance)
}

// current is the last state, nil when this replica does not lead.
func (p *pilot) current() *autopilot.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// KnownServers names every configured server. None is left out, because autopilot removes those at once; nor is one called
// left, for a replica that leaves is mostly restarted.
func (p *pilot) KnownServers() map[raft.ServerID]*autopilot.Server {
	p.mu.Lock()
	heard := p.heard
	p.mu.Unlock()
	gossiped := p.gossiped()
	out := map[raft.ServerID]*autopilot.Server{}
	for _, s := range p.r.raft.GetConfiguration().Configuration().Servers {
		status := autopilot.NodeFailed
		if s.ID == p.r.serverID || gossiped[s.ID] || heard[s.ID] {
			status = autopilot.NodeAlive
		}
		out[s.ID] = &autopilot.Server{
			ID: s.ID, Name: p.r.nameOf(s.ID), Address: s.Address, NodeStatus: status,
			IsLeader: s.ID == p.r.serverID, NodeType: autopilot.NodeVoter,
		}
	}
	return out
}

func (p *pilot) gossiped() map[raft.ServerID]bool {
	out := map[raft.ServerID]bool{}
	for _, m := range p.r.gossip.alive() {
		if m.Cluster == p.r.store.clusterID() {
			out[serverID(m.ID)] = true
		}
	}
	return out
}

// FetchServerStats asks every server. One that does not answer gets stats that are never healthy: without any, autopilot
// would go on with the last ones.
func (p *pilot) FetchServerStats(ctx context.Context, servers map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
	var wg sync.WaitGroup
	var mu sync.Mutex
	out := map[raft.ServerID]*autopilot.ServerStats{}
	heard := map[raft.ServerID]bool{}
	for id := range servers {
		wg.Go(func() {
			status, err := p.ask(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			out[id] = &autopilot.ServerStats{LastContact: -1}
			if err == nil && status.Cluster == p.r.store.clusterID() {
				heard[id] = true
				out[id] = &autopilot.ServerStats{
					LastContact: time.Duration(status.LastContactMs) * time.Millisecond, LastTerm: status.LastLogTerm, LastIndex: status.LastLogIndex,
				}
			}
		})
	}
	wg.Wait()
	p.mu.Lock()
	p.heard = heard
	p.mu.Unlock()
	there := p.gossiped()
	maps.Copy(there, heard)
	p.gone.look(time.Now(), maps.Keys(servers), there)
	return out
}

func (p *pilot) ask(ctx context.Context, id raft.ServerID) (StatusReply, error) {
	if id == p.r.serverID {
		return p.r.ownStatus(), nil
	}
	u, err := uuid.Parse(string(id))
	if err != nil {
		return StatusReply{}, err
	}
	return p.r.askStatus(ctx, u)
}

// RemoveFailedServer takes a server out of the configuration, after the promoter has agreed.
func (p *pilot) RemoveFailedServer(s *autopilot.Server) {
	p.mu.Lock()
	ctx := p.ctx
	p.mu.Unlock()
	if err := waitFuture(ctx, p.r.raft.RemoveServer(s.ID, 0, changeTimeout)); err != nil {
		p.r.logger.Warn("cannot remove a dead replica yet, trying again", "name", s.Name, "id", s.ID, "err", err)
		return
	}
	p.r.metrics.removals.Inc()
	p.r.logger.Warn("removed a dead replica; should it come back it is added again, unless another of its name has taken its place",
		"name", s.Name, "id", s.ID, "absent", p.gone.of(s.ID).Round(time.Second), "grace", p.r.cfg.DeadServerGrace)
}

// pilotRaft is Raft as autopilot sees it, with a record of what it does.
type pilotRaft struct {
	*raft.Raft
	r *Replica
}

// AddVoter makes a non-voter a voter. It returns when that is done or has failed.
func (p *pilotRaft) AddVoter(id raft.ServerID, address raft.ServerAddress, prevIndex uint64, timeout time.Duration) raft.IndexFuture {
	f := p.Raft.AddVoter(id, address, prevIndex, timeout)
	if f.Error() == nil {
		p.r.metrics.promotions.Inc()
		p.r.logger.Info("a replica has caught up and votes now", "name", p.r.nameOf(id), "id", id)
	}
	return f
}

// logPosition is the last index of this replica's log and its term, and how long ago the leader was heard, in milliseconds; -1
// when it never was.
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
