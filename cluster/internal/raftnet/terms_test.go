package raftnet

import (
	"bytes"
	"io"
	"log/slog"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/testkit"
)

func openWall(t *testing.T, current func() uint64) *termWall {
	t.Helper()
	return &termWall{current: current, logger: slog.New(slog.DiscardHandler)}
}

// peerOfOne is the other voter of a replica's Raft, at the far end of a real connection: the test, which may answer in
// any term.
type peerOfOne struct {
	*raft.NetworkTransport
	raft   *raft.Raft // of the replica
	answer atomic.Uint64
	logs   *testkit.LogBuffer
}

const (
	nodeID raft.ServerID = "node"
	peerID raft.ServerID = "peer"
)

func openTCP(t *testing.T) *raft.NetworkTransport {
	t.Helper()
	trans, err := raft.NewTCPTransport("127.0.0.1:0", nil, 2, time.Second, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return trans
}

// newPeerOfOne starts both; answers come in the term of the request, unless another is set.
func newPeerOfOne(t *testing.T, term uint64) *peerOfOne {
	t.Helper()
	p := &peerOfOne{NetworkTransport: openTCP(t), logs: &testkit.LogBuffer{}}
	p.answer.Store(term)
	done := make(chan struct{})
	go p.serve(done)
	var ref atomic.Pointer[raft.Raft]
	wall := &termWall{logger: slog.New(slog.NewTextHandler(p.logs, nil)), current: func() uint64 {
		if r := ref.Load(); r != nil {
			return r.CurrentTerm()
		}
		return 0
	}}
	own := newNetwork(openTCP(t), wall, whole)
	store := raft.NewInmemStore()
	cfg := raft.DefaultConfig()
	cfg.LocalID, cfg.Logger = nodeID, hclog.NewNullLogger()
	cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = 800*time.Millisecond, 800*time.Millisecond,
		500*time.Millisecond
	err := raft.BootstrapCluster(
		cfg,
		store,
		store,
		raft.NewDiscardSnapshotStore(),
		own,
		raft.Configuration{Servers: []raft.Server{
			{ID: nodeID, Address: own.LocalAddr()}, {ID: peerID, Address: p.LocalAddr()},
		}},
	)
	if err == nil {
		p.raft, err = raft.NewRaft(cfg, &raft.MockFSM{}, store, store, raft.NewDiscardSnapshotStore(), own)
	}
	if err != nil {
		t.Fatal(err)
	}
	ref.Store(p.raft)
	t.Cleanup(func() {
		if err := p.raft.Shutdown().Error(); err != nil {
			t.Error(err)
		}
		close(done)
		_ = p.Close()
	})
	return p
}

func (p *peerOfOne) serve(done chan struct{}) {
	for {
		select {
		case rpc := <-p.Consumer():
			lie := p.answer.Load()
			honest := lie == 0
			switch req := rpc.Command.(type) {
			case *raft.AppendEntriesRequest:
				resp := &raft.AppendEntriesResponse{
					Term: max(req.Term, lie), Success: honest,
					LastLog: req.PrevLogEntry + uint64(len(req.Entries)),
				}
				rpc.Respond(resp, nil)
			case *raft.RequestVoteRequest:
				rpc.Respond(&raft.RequestVoteResponse{Term: max(req.Term, lie), Granted: honest}, nil)
			case *raft.RequestPreVoteRequest:
				rpc.Respond(&raft.RequestPreVoteResponse{Term: max(req.Term, lie), Granted: honest}, nil)
			default:
				rpc.Respond(nil, io.ErrUnexpectedEOF)
			}
		case <-done:
			return
		}
	}
}

func (p *peerOfOne) leads() bool { return p.raft.State() == raft.Leader }

// Whoever could name the last term of all would be followed into it, and no election would ever end again.
func TestARequestInATermThatLeapsLeavesTermAndLeaderAlone(t *testing.T) {
	t.Parallel()
	p := newPeerOfOne(t, 0)
	testkit.Eventually(t, "the replica leads", p.leads)
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(peerID), Addr: []byte(p.LocalAddr())}
	address, node := p.raft.LeaderWithID()
	configuration := raft.EncodeConfiguration(p.raft.GetConfiguration().Configuration())
	for _, leap := range []uint64{math.MaxUint64, p.raft.CurrentTerm() + maxTermLeap + 2} {
		term := p.raft.CurrentTerm()
		for name, send := range map[string]func() error{
			"AppendEntries": func() error {
				return p.AppendEntries(node, address,
					&raft.AppendEntriesRequest{
						RPCHeader: header, Term: leap, PrevLogEntry: 1,
						PrevLogTerm: 1,
					}, new(raft.AppendEntriesResponse))
			},
			"a heartbeat": func() error {
				return p.AppendEntries(node, address, &raft.AppendEntriesRequest{RPCHeader: header, Term: leap},
					new(raft.AppendEntriesResponse))
			},
			"RequestVote": func() error {
				return p.RequestVote(node, address,
					&raft.RequestVoteRequest{
						RPCHeader: header, Term: leap, LastLogIndex: 1 << 40, LastLogTerm: leap,
						LeadershipTransfer: true,
					}, new(raft.RequestVoteResponse))
			},
			"RequestPreVote": func() error {
				return p.RequestPreVote(node, address,
					&raft.RequestPreVoteRequest{
						RPCHeader: header, Term: leap, LastLogIndex: 1 << 40,
						LastLogTerm: leap,
					}, new(raft.RequestPreVoteResponse))
			},
			"InstallSnapshot": func() error {
				req := &raft.InstallSnapshotRequest{
					RPCHeader: header, SnapshotVersion: raft.SnapshotVersionMax, Term: leap, LastLogIndex: 1 << 40,
					LastLogTerm:   1,
					Configuration: configuration, Size: 1 << 20,
				}
				return p.InstallSnapshot(node, address, req, new(raft.InstallSnapshotResponse),
					bytes.NewReader(make([]byte, 1<<20)))
			},
			"a snapshot with a bogus configuration": func() error {
				req := &raft.InstallSnapshotRequest{
					RPCHeader: header, SnapshotVersion: raft.SnapshotVersionMax, Term: term, LastLogIndex: 1 << 40,
					LastLogTerm:   1,
					Configuration: []byte("bogus"), Size: 5,
				}
				return p.InstallSnapshot(node, address, req, new(raft.InstallSnapshotResponse),
					strings.NewReader("bogus"))
			},
			"a bogus configuration": func() error {
				return p.AppendEntries(node, address, &raft.AppendEntriesRequest{
					RPCHeader: header, Term: term, PrevLogEntry: 1, PrevLogTerm: 1,
					Entries: []*raft.Log{{Index: 2, Term: term, Type: raft.LogConfiguration, Data: []byte("bogus")}},
				}, new(raft.AppendEntriesResponse))
			},
			"an entry of a later term than its request": func() error {
				return p.AppendEntries(node, address, &raft.AppendEntriesRequest{
					RPCHeader: header, Term: term, PrevLogEntry: 1, PrevLogTerm: 1,
					Entries: []*raft.Log{{Index: 2, Term: term + 1}},
				}, new(raft.AppendEntriesResponse))
			},
		} {
			if err := send(); err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("%s in term %d: %v, want a refusal", name, leap, err)
			}
			if p.raft.CurrentTerm() != term || !p.leads() {
				t.Fatalf(
					"after %s in term %d the replica is in term %d, a %s; it was in %d and led",
					name,
					leap,
					p.raft.CurrentTerm(),
					p.raft.State(),
					term,
				)
			}
		}
	}
	if said := strings.Count(p.logs.String(), "terms do not leap"); said != 1 {
		t.Errorf("it was said %d times, want once in a while:\n%s", said, p.logs.String())
	}
	// A step that elections make is followed.
	resp := new(raft.AppendEntriesResponse)
	if err := p.AppendEntries(node, address, &raft.AppendEntriesRequest{
		RPCHeader: header,
		Term:      p.raft.CurrentTerm() + 1000, PrevLogEntry: 1, PrevLogTerm: 1,
	}, resp); err != nil {
		t.Errorf("a leader of a later term: %v", err)
	}
}

func TestAnAnswerInATermThatLeapsLeavesTheTermAlone(t *testing.T) {
	t.Parallel()
	p := newPeerOfOne(t, math.MaxUint64)
	sane := func() {
		t.Helper()
		if term := p.raft.CurrentTerm(); term > 1000 {
			t.Fatalf("the replica is in term %d", term)
		}
	}
	testkit.Eventually(
		t,
		"it asks for a vote and is answered in the last term of all",
		func() bool { return strings.Contains(p.logs.String(), "an answer to") },
	)
	sane()
	p.answer.Store(0)
	testkit.Eventually(t, "it leads once the other is sane", p.leads)
	p.answer.Store(math.MaxUint64) // to heartbeats and to a pipeline
	testkit.Eventually(t, "it leads no more, without an answer that counts", func() bool {
		_ = p.raft.Apply([]byte("a command"), time.Millisecond)
		return !p.leads()
	})
	sane()
	p.answer.Store(0)
	testkit.Eventually(t, "it leads once the other is sane again", p.leads)
	sane()
}
