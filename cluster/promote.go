package cluster

import (
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/formation"
	"pushquorum/cluster/internal/server"
)

// promote makes a non-voter a voter, in the place of its predecessors.
//
// The predecessors go first. If both voted for a moment, of four voters one would be dead, and a newcomer that died in
// that moment, too, and lost its disk, would take the quorum with it for good. Between the two changes the rest vote
// alone: they are those who have to agree while the dead one still counts.
func (p *pilot) promote(id raft.ServerID) error {
	// Not autopilot's word but the configuration of now counts: autopilot remembers that of its last look, and since
	// then the newcomer may have given up its vote, and its predecessors may have answered.
	newcomer := serverOf(p.r.raft.GetConfiguration().Configuration(), id)
	if newcomer == nil {
		return errors.New("it is no member any more")
	}
	a, err := server.ParseAddress(newcomer.Address)
	if err != nil {
		return err
	}
	for _, predecessor := range p.predecessorsOf(a.Replaces) {
		if err := p.remove(predecessor, p.r.nameOf(predecessor), 1); err != nil {
			return err
		}
	}
	promoted := false
	if err := p.r.reconfigure(p.leadership(), func(c raft.Configuration) (raft.Future, error) {
		s := serverOf(c, id)
		if s == nil || s.Suffrage == raft.Voter || p.mayNotVote(id) {
			return nil, nil
		}
		promoted = true
		return p.r.raft.AddVoter(id, s.Address, 0, changeTimeout), nil
	}); err != nil || !promoted {
		return err
	}
	p.r.metrics.promotions.Inc()
	p.r.logger.Info("a replica has caught up and votes now", "name", p.r.nameOf(id), "id", id)
	return nil
}

// predecessorsOf gives those of the replaced who lose their place to the newcomer: see [formation.Predecessors].
func (p *pilot) predecessorsOf(replaced []uuid.UUID) (out []raft.ServerID) {
	c := p.r.raft.GetConfiguration().Configuration()
	var members []formation.Replaced
	for _, id := range replaced {
		if s := serverOf(c, serverID(id)); s != nil {
			members = append(members, formation.Replaced{
				ID: id, Voter: s.Suffrage == raft.Voter, Answered: p.answered(s.ID), Absent: p.gone.Of(id),
			})
		}
	}
	for _, id := range formation.Predecessors(members) {
		out = append(out, serverID(id))
	}
	return out
}

// pilotRaft is Raft as autopilot sees it.
type pilotRaft struct {
	*raft.Raft
	promote func(raft.ServerID) error
}

// AddVoter is how autopilot promotes. It returns when that is done or has failed.
func (p *pilotRaft) AddVoter(id raft.ServerID, _ raft.ServerAddress, _ uint64, _ time.Duration) raft.IndexFuture {
	return promotion{p.promote(id)}
}

// promotion is a raft.IndexFuture of what is over.
type promotion struct{ err error }

// Error implements raft.Future.
func (p promotion) Error() error { return p.err }

// Index implements raft.IndexFuture; autopilot does not ask for it.
func (promotion) Index() uint64 { return 0 }
