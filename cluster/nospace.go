package cluster

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"pushquorum/fsm"
)

// diskAnswers are the answers to commands that would store something while too many voters are short of room, nil while
// there is enough. One that was applied before has the answer that it had: the leader has all of what is committed.
func (r *Replica) diskAnswers(commands [][]byte) answers {
	why := r.noSpace()
	if why == "" {
		return nil
	}
	out := make(answers, len(commands))
	for i, c := range commands {
		if !fsm.Stores(c) {
			continue
		}
		out[i] = &fsm.Result{Status: fsm.NoSpace, Reason: why}
		if before, known := r.cfg.FSM.Remembered(c); known {
			out[i] = &before
		}
	}
	return out
}

// noSpace is why this replica, as the leader, has nothing more stored, or "".
func (r *Replica) noSpace() string {
	own := r.space.Shortage()
	if r.pilot == nil {
		return own
	}
	switch said := r.pilot.room.Load(); {
	case said == nil:
		return own
	case said.shortage == "" && !said.ownShort:
		return own
	default:
		return said.shortage
	}
}

// room is what the leader knows of the disks of all, since it last asked them. Mostly the others' are as full as its
// own: when that has become short, or was when it began to lead, nothing is stored until they have been asked, which is
// within a second.
type room struct {
	shortage string // why nothing more is stored, "" while a majority has room
	ownShort bool   // the leader's own disk was short when that was decided
}

// makeWayEvery is how often a leader that is short of room tries to hand over to a voter that has some.
const makeWayEvery = 10 * time.Second

// lookAtSpace decides, from what all servers have just said, whether the cluster can store more. A leader that is short
// of room while a majority has some hands over to one of these.
func (p *pilot) lookAtSpace(heard map[raft.ServerID]answer) {
	configuration := p.r.raft.GetConfiguration().Configuration()
	own := p.r.space.Shortage() // and not what it was before the others were asked
	if a, ok := heard[p.r.serverID]; ok {
		a.NoSpace = own
		heard = maps.Clone(heard)
		heard[p.r.serverID] = a
	}
	now := &room{shortage: shortage(configuration, heard), ownShort: own != ""}
	p.room.Store(now)
	if now.shortage != "" || !now.ownShort || time.Since(p.madeWay) < makeWayEvery {
		return
	}
	to := successor(configuration, heard, p.r.serverID, p.madeWayTo)
	if to == nil {
		return
	}
	p.madeWay, p.madeWayTo = time.Now(), to.ID
	p.r.spawn(func(ctx context.Context) {
		err := waitFuture(ctx, p.r.raft.LeadershipTransferToServer(to.ID, to.Address))
		p.r.logger.Info("short of room on the disk: handing the leadership to a voter that has some",
			"to", p.r.nameOf(to.ID), "err", err)
	})
}

// successor is the voter with room that a leader without hands over to: the one with the most of the log, which takes
// over soonest, but the one tried last only where there is no other. It is nil if there is none.
func successor(c raft.Configuration, heard map[raft.ServerID]answer, self, tried raft.ServerID) *raft.Server {
	var best *raft.Server
	for _, s := range c.Servers {
		a, ok := heard[s.ID]
		if !ok || s.Suffrage != raft.Voter || s.ID == self || a.NoSpace != "" || a.Draining {
			continue
		}
		if best == nil || best.ID == tried || s.ID != tried && a.LastLogIndex > heard[best.ID].LastLogIndex {
			best = &s
		}
	}
	return best
}

// shortage is what the voters that are short of room say, if the others that answer are no majority: who goes on until
// its disk is full falls out of the quorum. Else it is "".
func shortage(c raft.Configuration, heard map[raft.ServerID]answer) string {
	var lacks []string
	roomy := 0
	for _, s := range c.Servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		switch a, ok := heard[s.ID]; {
		case ok && a.NoSpace != "":
			lacks = append(lacks, a.NoSpace)
		case ok:
			roomy++
		}
	}
	if len(lacks) == 0 || roomy > countVoters(c)/2 {
		return ""
	}
	return strings.Join(lacks, "; ")
}
