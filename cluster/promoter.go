package cluster

import (
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// promoter decides whom autopilot may remove: it has no grace period of its own. Who was replaced is removed when its
// successor is promoted: see pilot.promote. Who is promoted, the library's stable promoter decides, but for those who are about to stop.
type promoter struct {
	autopilot.StablePromoter
	grace      time.Duration
	gone       *absences
	mayNotVote func(raft.ServerID) bool
}

// CalculatePromotionsAndDemotions implements autopilot.Promoter.
func (p *promoter) CalculatePromotionsAndDemotions(c *autopilot.Config, s *autopilot.State) autopilot.RaftChanges {
	changes := p.StablePromoter.CalculatePromotionsAndDemotions(c, s)
	changes.Promotions = slices.DeleteFunc(changes.Promotions, p.mayNotVote)
	return changes
}

// FilterFailedServerRemovals implements autopilot.Promoter.
func (p *promoter) FilterFailedServerRemovals(_ *autopilot.Config, state *autopilot.State, failed *autopilot.FailedServers) *autopilot.FailedServers {
	within := func(s *autopilot.Server) bool { return p.gone.of(s.ID) < p.grace }
	voters := slices.DeleteFunc(slices.Clone(failed.FailedVoters), within)
	spare := max(0, len(state.Voters)-minVoters)
	return &autopilot.FailedServers{
		FailedNonVoters: slices.DeleteFunc(slices.Clone(failed.FailedNonVoters), within),
		FailedVoters:    voters[:min(spare, len(voters))],
	}
}

// absences counts how long each server has been missing. Only time in which somebody looked counts: a leader that was
// paused for an hour has not seen the others missing for an hour. Each leader tells its followers what it has counted,
// and the next one goes on from there: else a cluster that changes its leader within each grace never removes anybody.
type absences struct {
	every time.Duration // between two looks

	mu     sync.Mutex
	since  map[raft.ServerID]time.Duration
	looked time.Time // by this replica, as the leader
	heard  time.Time // when another leader last told
}

// toldLong is how long what a leader has told is worth going on from: after that its servers may have been back
// meanwhile.
const toldLong = time.Minute

func newAbsences(every time.Duration) *absences {
	return &absences{every: every, since: map[raft.ServerID]time.Duration{}}
}

// look notes who is there now. The first look at which a server is missing counts as one interval.
func (a *absences) look(now time.Time, servers iter.Seq[raft.ServerID], there map[raft.ServerID]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	passed := a.every
	if !a.looked.IsZero() {
		passed = min(now.Sub(a.looked), 2*a.every)
	}
	a.looked = now
	next := map[raft.ServerID]time.Duration{}
	for id := range servers {
		if !there[id] {
			next[id] = a.since[id] + passed
		}
	}
	a.since = next
}

// of is how long a server has been missing, 0 when it is there.
func (a *absences) of(id raft.ServerID) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.since[id]
}

// told takes over what the present leader has counted.
func (a *absences) told(now time.Time, missing []MissingServer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.looked, a.heard, a.since = time.Time{}, now, map[raft.ServerID]time.Duration{}
	for _, m := range missing {
		a.since[serverID(m.ID)] = max(0, time.Duration(m.ForMs)*time.Millisecond)
	}
}

// missing is what there is to tell.
func (a *absences) missing() []MissingServer {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []MissingServer
	for id, long := range a.since {
		if u, err := uuid.Parse(string(id)); err == nil {
			out = append(out, MissingServer{ID: u, ForMs: long.Milliseconds()})
		}
	}
	return out
}

// begin is the start of a new leader, who goes on from what was counted last, by itself or by another, unless that is
// long ago.
func (a *absences) begin(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.heard) > toldLong && now.Sub(a.looked) > toldLong {
		a.since = map[raft.ServerID]time.Duration{}
	}
	a.looked = time.Time{}
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
