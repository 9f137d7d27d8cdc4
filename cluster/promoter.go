package cluster

import (
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"pushquorum/cluster/internal/formation"
)

// promoter tells autopilot, which has no grace period of its own, whom it may remove: see [formation.Removable]. Who
// was replaced is removed when its successor is promoted: see pilot.promote. Who is promoted, the library's stable
// promoter decides, but for those who are about to stop.
type promoter struct {
	autopilot.StablePromoter
	grace      time.Duration
	gone       absences
	mayNotVote func(raft.ServerID) bool
}

// CalculatePromotionsAndDemotions implements autopilot.Promoter.
func (p *promoter) CalculatePromotionsAndDemotions(c *autopilot.Config, s *autopilot.State) autopilot.RaftChanges {
	changes := p.StablePromoter.CalculatePromotionsAndDemotions(c, s)
	changes.Promotions = slices.DeleteFunc(changes.Promotions, p.mayNotVote)
	return changes
}

// FilterFailedServerRemovals implements autopilot.Promoter.
func (p *promoter) FilterFailedServerRemovals(_ *autopilot.Config, state *autopilot.State,
	failed *autopilot.FailedServers,
) *autopilot.FailedServers {
	absent := func(id uuid.UUID) time.Duration { return p.gone.Of(id) }
	voters, others := formation.Removable(idsOf(failed.FailedVoters), idsOf(failed.FailedNonVoters), len(state.Voters),
		absent, p.grace)
	return &autopilot.FailedServers{
		FailedVoters: only(failed.FailedVoters, voters), FailedNonVoters: only(failed.FailedNonVoters, others),
	}
}

func idsOf(servers []*autopilot.Server) (out []uuid.UUID) {
	for _, s := range servers {
		if id, err := uuid.Parse(string(s.ID)); err == nil {
			out = append(out, id)
		}
	}
	return out
}

func only(servers []*autopilot.Server, ids []uuid.UUID) []*autopilot.Server {
	return slices.DeleteFunc(slices.Clone(servers), func(s *autopilot.Server) bool {
		return !slices.ContainsFunc(ids, func(id uuid.UUID) bool { return serverID(id) == s.ID })
	})
}

// absences is [formation.Absences] for what autopilot and the peer protocol know of servers.
type absences struct{ *formation.Absences }

func newAbsences(every time.Duration) absences { return absences{formation.NewAbsences(every)} }

// look notes who is there now.
func (a absences) look(now time.Time, servers iter.Seq[raft.ServerID], there map[raft.ServerID]bool) {
	ids := map[uuid.UUID]bool{}
	for id := range servers {
		if u, err := uuid.Parse(string(id)); err == nil {
			ids[u] = there[id]
		}
	}
	a.Observe(now, maps.Keys(ids), ids)
}

// of is how long a server has been missing, 0 when it is there.
func (a absences) of(id raft.ServerID) time.Duration {
	u, err := uuid.Parse(string(id))
	if err != nil {
		return 0
	}
	return a.Of(u)
}

// told takes over what the present leader has counted.
func (a absences) told(now time.Time, missing []MissingServer) {
	counted := map[uuid.UUID]time.Duration{}
	for _, m := range missing {
		counted[m.ID] = time.Duration(m.ForMs) * time.Millisecond
	}
	a.TakeOver(now, counted)
}

// missing is what there is to tell.
func (a absences) missing() (out []MissingServer) {
	for id, long := range a.Counted() {
		out = append(out, MissingServer{ID: id, ForMs: long.Milliseconds()})
	}
	return out
}
