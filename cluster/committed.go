package cluster

import (
	"context"

	"github.com/hashicorp/raft"
)

// waitApplied returns nil when the local state machine holds what the leader has committed up to a read index.
//
// Raft's leader tells of a commit with the entries that follow, or when none follow after CommitTimeout, up to twice that: a
// reader should not wait for it. So what the leader's answer says is handed to Raft in the form in which Raft hears of it
// anyway, an AppendEntries without entries. It names the last committed entry, which is one of the leader's own term (see
// leadership.readyTerm), and is refused by Raft unless the log holds that entry: then it is the leader's up to there.
func (r *Replica) waitApplied(ctx context.Context, at readIndex) error {
	if at.term != 0 && r.network != nil && r.raft.CommitIndex() < at.index {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if r.store.log.last.Load() >= at.index {
			r.tellCommitted(ctx, at)
		} else {
			go func() { // ends with ctx at the latest: a snapshot may come instead of the entry
				if r.store.log.wait(ctx, at.index) == nil {
					r.tellCommitted(ctx, at)
				}
			}()
		}
	}
	return r.cfg.FSM.Wait(ctx, at.index)
}

// tellCommitted tells the local Raft that the leader whom it follows has committed an entry.
func (r *Replica) tellCommitted(ctx context.Context, at readIndex) {
	address, leader := r.raft.LeaderWithID()
	if leader == "" || leader == r.serverID || r.raft.CurrentTerm() != at.term {
		return
	}
	r.network.Inject(ctx, &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(leader), Addr: []byte(address)},
		Term:      at.term, PrevLogEntry: at.index, PrevLogTerm: at.term, LeaderCommitIndex: at.index,
	})
}
