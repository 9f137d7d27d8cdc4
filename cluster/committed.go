package cluster

import (
	"context"
	"io"
	"sync"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk"
)

// waitApplied returns nil when the local state machine holds what the leader has committed up to a read index.
//
// A reader should not wait for Raft's leader to tell of the commit, which it does with the entries that follow, or when
// none follow after CommitTimeout, up to twice that. So what the leader's answer says is injected into Raft in the form
// in which Raft hears of it anyway, an AppendEntries without entries. It names the last committed entry, which is one
// of the leader's own term (see leadership.readyTerm). Raft refuses it unless the log holds that entry, and if it does,
// the log is the leader's up to there.
func (r *Replica) waitApplied(ctx context.Context, at readIndex) error {
	if at.term != 0 && r.network != nil && r.raft.CommitIndex() < at.index {
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

// injectCommit tells the local Raft that the leader whom it follows has committed an entry. Everything in the request
// is what that leader has confirmed in its answer to ReadIndex, or could have sent itself: the term in which it leads,
// an entry of its own, and that this one is committed. The commit index goes no further than the entry that Raft
// compares with its log, so nothing is taken for committed that is not the leader's.
func (r *Replica) injectCommit(ctx context.Context, at readIndex) {
	address, leader := r.raft.LeaderWithID()
	if leader == "" || leader == r.serverID || r.raft.CurrentTerm() != at.term {
		return
	}
	r.network.inject(ctx, &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(leader), Addr: []byte(address)},
		Term:      at.term, PrevLogEntry: at.index, PrevLogTerm: at.term, LeaderCommitIndex: at.index,
	})
}

// network is Raft's transport between replicas. Raft takes from it what the others send, and what this replica has learned
// from the leader in another way; what comes in a term that leaps does not reach it.
type network struct {
	pipelining
	calls chan raft.RPC
	done  chan struct{}
	once  sync.Once
}

func newNetwork(trans *raft.NetworkTransport, wall *termWall, logs *disk.LogCache) *network {
	n := &network{pipelining: pipelining{trans, wall, logs}, calls: make(chan raft.RPC), done: make(chan struct{})}
	go n.pass()
	return n
}

func (n *network) pass() {
	for {
		select {
		case call := <-n.pipelining.Consumer():
			if err := n.wall.checkRequest(call.Command); err != nil {
				refuse(call, err)
				continue
			}
			select {
			case n.calls <- call:
			case <-n.done:
				return
			}
		case <-n.done:
			return
		}
	}
}

// inject hands Raft a request as if its sender had sent it.
func (n *network) inject(ctx context.Context, request *raft.AppendEntriesRequest) {
	select {
	case n.calls <- raft.RPC{Command: request, RespChan: make(chan raft.RPCResponse, 1)}: // nobody needs the answer
	case <-n.done:
	case <-ctx.Done():
	}
}

// SetHeartbeatHandler implements raft.Transport: heartbeats do not come through Consumer.
func (n *network) SetHeartbeatHandler(handle func(raft.RPC)) {
	n.pipelining.SetHeartbeatHandler(func(call raft.RPC) {
		if err := n.wall.checkRequest(call.Command); err != nil {
			refuse(call, err)
			return
		}
		handle(call)
	})
}

// AppendEntries implements raft.Transport.
func (n *network) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	if err := n.logs.Cut(args); err != nil {
		return err
	}
	err := n.pipelining.AppendEntries(id, target, args, resp)
	return n.wall.checkAnswer("AppendEntries", err, &resp.Term)
}

// RequestVote implements raft.Transport.
func (n *network) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	err := n.pipelining.RequestVote(id, target, args, resp)
	return n.wall.checkAnswer("RequestVote", err, &resp.Term)
}

// RequestPreVote implements raft.WithPreVote.
func (n *network) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	err := n.pipelining.RequestPreVote(id, target, args, resp)
	return n.wall.checkAnswer("RequestPreVote", err, &resp.Term)
}

// InstallSnapshot implements raft.Transport.
func (n *network) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	err := n.pipelining.InstallSnapshot(id, target, args, resp, data)
	return n.wall.checkAnswer("InstallSnapshot", err, &resp.Term)
}

// Consumer implements raft.Transport.
func (n *network) Consumer() <-chan raft.RPC { return n.calls }

// Close implements raft.WithClose.
func (n *network) Close() error {
	n.once.Do(func() { close(n.done) })
	return n.pipelining.Close()
}
