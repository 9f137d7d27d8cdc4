package raftnet

import (
	"context"
	"io"
	"log/slog"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Transport is Raft's transport between replicas. Raft takes from it what the others send, and what this replica has
// learned from the leader in another way; what comes in a term that leaps does not reach it.
type Transport struct {
	pipelining
	calls chan raft.RPC
	done  chan struct{}
	once  sync.Once
}

// TransportConfig is what a [Transport] needs to know.
type TransportConfig struct {
	Streams   *Streams
	Addresses *AddressBook
	RaftLog   hclog.Logger // for what Raft's own transport says
	Logger    *slog.Logger
	Term      func() uint64 // this replica's own
	// Trim reduces a request to what goes to a follower at a time, or says why that cannot be read.
	Trim func(*raft.AppendEntriesRequest) error
}

// NewTransport makes Raft's transport over the streams. Nothing comes in before the mux has started.
func NewTransport(cfg TransportConfig) *Transport {
	return newNetwork(raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		ServerAddressProvider: cfg.Addresses, Logger: cfg.RaftLog, Stream: cfg.Streams,
		MaxPool: 3, Timeout: peerTimeout, MsgpackUseNewTimeFormat: true,
	}), &termWall{logger: cfg.Logger, current: cfg.Term}, cfg.Trim)
}

func newNetwork(trans *raft.NetworkTransport, wall *termWall, trim trimFunc) *Transport {
	n := &Transport{pipelining: pipelining{trans, wall, trim}, calls: make(chan raft.RPC), done: make(chan struct{})}
	go n.pass()
	return n
}

func (n *Transport) pass() {
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

// Inject hands Raft a request as if its sender had sent it. It may only say what the leader has said in another way,
// and in the term that it has said it in. Then it is safe, because Raft checks it like any other: in an earlier term
// than its own Raft refuses it, and also unless the log holds the entry that the request names, in the term that it
// names; and nothing beyond that entry is taken for committed. The answer goes to nobody, so the leader concludes
// nothing from it.
func (n *Transport) Inject(ctx context.Context, request *raft.AppendEntriesRequest) {
	select {
	case n.calls <- raft.RPC{Command: request, RespChan: make(chan raft.RPCResponse, 1)}: // nobody needs the answer
	case <-n.done:
	case <-ctx.Done():
	}
}

// SetHeartbeatHandler implements raft.Transport: heartbeats do not come through Consumer.
func (n *Transport) SetHeartbeatHandler(handle func(raft.RPC)) {
	n.pipelining.SetHeartbeatHandler(func(call raft.RPC) {
		if err := n.wall.checkRequest(call.Command); err != nil {
			refuse(call, err)
			return
		}
		handle(call)
	})
}

// AppendEntries implements raft.Transport.
func (n *Transport) AppendEntries(
	id raft.ServerID,
	target raft.ServerAddress,
	args *raft.AppendEntriesRequest,
	resp *raft.AppendEntriesResponse,
) error {
	if err := n.trim(args); err != nil {
		return err
	}
	err := n.pipelining.AppendEntries(id, target, args, resp)
	return n.wall.checkAnswer("AppendEntries", err, &resp.Term)
}

// RequestVote implements raft.Transport.
func (n *Transport) RequestVote(
	id raft.ServerID,
	target raft.ServerAddress,
	args *raft.RequestVoteRequest,
	resp *raft.RequestVoteResponse,
) error {
	err := n.pipelining.RequestVote(id, target, args, resp)
	return n.wall.checkAnswer("RequestVote", err, &resp.Term)
}

// RequestPreVote implements raft.WithPreVote.
func (n *Transport) RequestPreVote(
	id raft.ServerID,
	target raft.ServerAddress,
	args *raft.RequestPreVoteRequest,
	resp *raft.RequestPreVoteResponse,
) error {
	err := n.pipelining.RequestPreVote(id, target, args, resp)
	return n.wall.checkAnswer("RequestPreVote", err, &resp.Term)
}

// InstallSnapshot implements raft.Transport.
func (n *Transport) InstallSnapshot(
	id raft.ServerID,
	target raft.ServerAddress,
	args *raft.InstallSnapshotRequest,
	resp *raft.InstallSnapshotResponse,
	data io.Reader,
) error {
	err := n.pipelining.InstallSnapshot(id, target, args, resp, data)
	return n.wall.checkAnswer("InstallSnapshot", err, &resp.Term)
}

// Consumer implements raft.Transport.
func (n *Transport) Consumer() <-chan raft.RPC { return n.calls }

// Close implements raft.WithClose.
func (n *Transport) Close() error {
	n.once.Do(func() { close(n.done) })
	return n.pipelining.Close()
}
