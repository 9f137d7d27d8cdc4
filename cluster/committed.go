package cluster

import (
	"context"

	"github.com/hashicorp/raft"
)

// waitApplied returns nil when the local state machine holds what the leader has committed up to a read index.
//
// A reader should not wait for Raft's leader to tell of the commit, which it does with the entries that follow, or when
// none follow after CommitTimeout, up to twice that. So what the leader's answer says is injected into Raft in the form
// in which Raft hears of it anyway, an AppendEntries without entries. It names the last committed entry, which is one
// of the leader's own term (see leadership.readyTerm). Raft refuses it unless the log holds that entry, and if it does,
// the log is the leader's up to there.
func (r *Replica) waitApplied(ctx context.Context, at readIndex) error {
	if at.term != 0 && r.injector != nil && r.raft.CommitIndex() < at.index {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if r.store.LastIndex() >= at.index {
			r.injectCommit(ctx, at)
		} else {
			go func() { // ends with ctx at the latest: a snapshot may come instead of the entry
				if r.store.WaitForEntry(ctx, at.index) == nil {
					r.injectCommit(ctx, at)
				}
			}()
		}
	}
	return r.cfg.FSM.Wait(ctx, at.index)
}

// injector is a transport that takes requests from this process as well: see [raftnet.Transport.Inject].
type injector interface {
	Inject(ctx context.Context, request *raft.AppendEntriesRequest)
}

// injectCommit tells the local Raft that the leader whom it follows has committed an entry. Everything in the request
// is what that leader has confirmed in its answer to ReadIndex, or could have sent itself: the term in which it leads,
// an entry of its own, and that this one is committed. The commit index goes no further than the entry that Raft
// compares with its log, so nothing is taken for committed that is not the leader's.
func (r *Replica) injectCommit(ctx context.Context, at readIndex) {
	address, leader := r.raft.LeaderWithID()
	if leader == "" || leader == r.serverID || r.raft.CurrentTerm() != at.term {
		return
	}
	r.injector.Inject(ctx, &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(leader), Addr: []byte(address)},
		Term:      at.term, PrevLogEntry: at.index, PrevLogTerm: at.term, LeaderCommitIndex: at.index,
	})
}
