package cluster

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"pushquorum/cluster/internal/formation"
)

// What autopilot calls healthy. A follower hears of the leader every heartbeat, which is half a second or less.
const (
	maxLastContact  = 2 * time.Second
	maxTrailingLogs = 1024 // entries: what a busy follower may lack for a moment
)

const minVoters = formation.MinVoters

// pilot runs raft-autopilot while this replica leads: it makes healthy newcomers voters and removes dead servers. It is
// what the library wants to know of its application, an autopilot.ApplicationIntegration.
type pilot struct {
	r    *Replica
	auto *autopilot.Autopilot
	gone absences

	room atomic.Pointer[room] // that all have said to have; nil until they were asked, and while another leads
	// When and to whom it last tried to hand over because that one has room; known to autopilot's goroutine only.
	madeWay   time.Time
	madeWayTo raft.ServerID

	mu    sync.Mutex
	ctx   context.Context          // of the present leadership
	state *autopilot.State         // last one; nil when this replica does not lead
	heard map[raft.ServerID]answer // who answered the last time that all were asked
	// silent says when a server was last asked because a newcomer has its name, and did not answer; resigned, when it
	// gave up its vote.
	silent, resigned map[raft.ServerID]time.Time
}

// answer is what a server said of itself when it was asked.
type answer struct {
	StatusReply
	asked time.Time
}

func newPilot(r *Replica) *pilot {
	p := &pilot{r: r, gone: newAbsences(r.tune.pilotLook), ctx: r.ctx}
	p.auto = autopilot.New(&pilotRaft{Raft: r.raft, promote: p.promote}, p,
		autopilot.WithLogger(newRaftLogger(r.logger)),
		autopilot.WithPromoter(&promoter{grace: r.cfg.DeadServerGrace, gone: p.gone, mayNotVote: p.mayNotVote}),
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
	p.gone.Lead(time.Now())
	p.mu.Lock()
	p.ctx = ctx
	p.mu.Unlock()
	p.auto.Start(ctx)
}

// end waits until nothing is being changed any more. Raft answers what it has been asked when it ceases to lead.
func (p *pilot) end() {
	<-p.auto.Stop()
	p.room.Store(nil)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.heard, p.silent, p.resigned = nil, nil, nil, nil
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
	p.r.logger.Warn("not all replicas are healthy",
		"unhealthy", ill, "voters", len(s.Voters), "failure_tolerance", s.FailureTolerance)
}

// current is the last state, nil when this replica does not lead.
func (p *pilot) current() *autopilot.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// KnownServers names every configured server. None is left out, because autopilot removes those at once; nor is one
// called left, for a replica that leaves is mostly restarted.
func (p *pilot) KnownServers() map[raft.ServerID]*autopilot.Server {
	gossiped := p.gossiped()
	out := map[raft.ServerID]*autopilot.Server{}
	for _, s := range p.r.raft.GetConfiguration().Configuration().Servers {
		status := autopilot.NodeFailed
		if s.ID == p.r.serverID || gossiped[s.ID] || p.answered(s.ID) {
			status = autopilot.NodeAlive
		}
		out[s.ID] = &autopilot.Server{
			ID: s.ID, Name: p.r.nameOf(s.ID), Address: s.Address, NodeStatus: status,
			IsLeader: s.ID == p.r.serverID, NodeType: autopilot.NodeVoter,
		}
	}
	return out
}

// answered tells whether a server answered the last time that this replica, as the leader, asked it.
func (p *pilot) answered(id raft.ServerID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.heard[id]
	return ok && a.asked.After(p.silent[id])
}

// mayNotVote tells whether a server is about to stop, or did not answer the last time, as one that has stopped
// meanwhile.
func (p *pilot) mayNotVote(id raft.ServerID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.heard[id]
	return !ok || a.Draining || !a.asked.After(p.resigned[id])
}

// noteSilent remembers that a server has just not answered: what it said before that does not count any more.
func (p *pilot) noteSilent(id raft.ServerID) { p.note(&p.silent, id) }

// noteResigned remembers that a server gives up its vote now: what it said before, that it does not stop, counts no
// more.
func (p *pilot) noteResigned(id raft.ServerID) { p.note(&p.resigned, id) }

func (p *pilot) note(times *map[raft.ServerID]time.Time, id raft.ServerID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if *times == nil {
		*times = map[raft.ServerID]time.Time{}
	}
	(*times)[id] = time.Now()
}

func (p *pilot) gossiped() map[raft.ServerID]bool {
	out := map[raft.ServerID]bool{}
	for _, m := range p.r.gossip.Alive() {
		if m.Cluster == p.r.store.ClusterID() {
			out[serverID(m.ID)] = true
		}
	}
	return out
}

// FetchServerStats asks every server. One that does not answer gets stats that are never healthy: without any,
// autopilot would go on with the last ones.
func (p *pilot) FetchServerStats(
	ctx context.Context, servers map[raft.ServerID]*autopilot.Server,
) map[raft.ServerID]*autopilot.ServerStats {
	var wg sync.WaitGroup
	var mu sync.Mutex
	out := map[raft.ServerID]*autopilot.ServerStats{}
	heard := map[raft.ServerID]answer{}
	tell := &StatusArgs{Cluster: p.r.store.ClusterID(), Term: p.r.raft.CurrentTerm(), Missing: p.gone.missing()}
	for id := range servers {
		wg.Go(func() {
			asked := time.Now()
			status, err := p.ask(ctx, id, tell)
			mu.Lock()
			defer mu.Unlock()
			out[id] = &autopilot.ServerStats{LastContact: -1}
			if err == nil && status.Cluster == p.r.store.ClusterID() {
				heard[id] = answer{status, asked}
				out[id] = &autopilot.ServerStats{
					LastContact: time.Duration(status.LastContactMs) * time.Millisecond,
					LastTerm:    status.LastLogTerm, LastIndex: status.LastLogIndex,
				}
			}
		})
	}
	wg.Wait()
	p.mu.Lock()
	p.heard = heard
	p.mu.Unlock()
	p.lookAtSpace(heard)
	there := p.gossiped()
	for id := range heard {
		there[id] = true
	}
	p.gone.look(time.Now(), maps.Keys(servers), there)
	return out
}

func (p *pilot) ask(ctx context.Context, id raft.ServerID, tell *StatusArgs) (StatusReply, error) {
	if id == p.r.serverID {
		return p.r.ownStatus(), nil
	}
	u, err := uuid.Parse(string(id))
	if err != nil {
		return StatusReply{}, err
	}
	return p.r.askStatus(ctx, u, tell)
}

// RemoveFailedServer takes a server out of the configuration, after the promoter has agreed.
func (p *pilot) RemoveFailedServer(s *autopilot.Server) { _ = p.remove(s.ID, s.Name, minVoters) }

// remove takes a server out, unless fewer voters than so many would be left.
func (p *pilot) remove(id raft.ServerID, name string, least int) error {
	removed := false
	if err := p.r.reconfigure(p.leadership(), func(c raft.Configuration) (raft.Future, error) {
		s := serverOf(c, id)
		if s == nil {
			return nil, nil
		}
		if s.Suffrage == raft.Voter && countVoters(c)-1 < least {
			return nil, fmt.Errorf("fewer than %d voters would be left", least)
		}
		removed = true
		return p.r.raft.RemoveServer(id, 0, changeTimeout), nil
	}); err != nil {
		p.r.logger.Warn("cannot remove a dead replica yet, trying again", "name", name, "id", id, "err", err)
		return err
	}
	if !removed {
		return nil
	}
	p.r.metrics.removals.Inc()
	p.r.logger.Warn("removed a dead replica; should it come back it is added again, "+
		"unless another of its name has taken its place",
		"name", name, "id", id, "absent", p.gone.of(id).Round(time.Second), "grace", p.r.cfg.DeadServerGrace)
	return nil
}

// leadership is the context of the present one.
func (p *pilot) leadership() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ctx
}
