package cluster

import (
	"context"
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
	if r.pilot == nil {
		return r.space.shortage()
	}
	if why := r.pilot.shortage.Load(); why != nil {
		return *why
	}
	return ""
}

// spaceEnds is called when this replica's own disk has become short of room. Mostly those of the others are as full: until they have
// been asked, which is within a second, nothing is stored.
func (p *pilot) spaceEnds(why string) {
	if p.r.raft.State() == raft.Leader {
		p.shortage.Store(&why)
	}
}

// makeWayEvery is how often a leader that is short of room tries to hand over to a voter that has some.
const makeWayEvery = 10 * time.Second

// lookAtSpace decides, from what all servers have just said, whether the cluster can store more. A leader that is short of room
// while a majority has some hands over to one of these.
func (p *pilot) lookAtSpace(heard map[raft.ServerID]answer) {
	configuration := p.r.raft.GetConfiguration().Configuration()
	if why := shortage(configuration, heard); why != "" {
		p.shortage.Store(&why)
		return
	}
	p.shortage.Store(nil)
	if p.r.space.shortage() == "" || time.Since(p.madeWay) < makeWayEvery {
		return
	}
	for _, s := range configuration.Servers {
		if a, ok := heard[s.ID]; ok && s.Suffrage == raft.Voter && s.ID != p.r.serverID && a.NoSpace == "" && !a.Draining {
			p.madeWay = time.Now()
			p.r.spawn(func(ctx context.Context) {
				err := waitFuture(ctx, p.r.raft.LeadershipTransferToServer(s.ID, s.Address))
				p.r.logger.Info("short of room on the disk: handing the leadership to a voter that has some", "to", p.r.nameOf(s.ID), "err", err)
			})
			return
		}
	}
}

// shortage is what the voters that are short of room say, if the others that answer are no majority: who goes on until its disk
// is full falls out of the quorum. Else it is "".
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
