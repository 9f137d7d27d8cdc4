package cluster

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"pushquorum/fsm"
)

// quietTrio is a cluster whose leader tells of a commit only with the entries that follow. change, if any, sees each
// replica before its start.
func quietTrio(t *testing.T, change ...func(r *replicaT)) (leader *replicaT, others []*replicaT) {
	t.Helper()
	replicas := prepare(t, newTestNet(), 3)
	for _, r := range replicas {
		for _, f := range change {
			f(r)
		}
	}
	for _, r := range replicas {
		r.tune.commit = time.Hour
		r.start()
	}
	waitReady(t, replicas...)
	return leaderOf(t, replicas)
}

func TestReaderDoesNotWaitForTheNextEntry(t *testing.T) {
	t.Parallel()
	leader, others := quietTrio(t)
	for _, at := range []*replicaT{leader, others[0], others[1]} {
		push(t, at, "through "+at.cfg.Name, 1)
		for _, r := range append(others, leader) {
			if err := r.ReadBarrier(testContext(t)); err != nil || !hasJob(r, "through "+at.cfg.Name) {
				t.Fatalf("after a push through %s: %s: %v", at.cfg.Name, r.cfg.Name, err)
			}
		}
	}
}

func TestReaderDoesNotWaitForTheNextEntryWhenItsLogIsLate(t *testing.T) {
	t.Parallel()
	slow := map[*replicaT]*sync.Mutex{} // held while the disk of a replica is
	waits := make(chan *replicaT, 100)
	leader, others := quietTrio(t, func(r *replicaT) {
		disk := &sync.Mutex{}
		slow[r] = disk
		r.tune.disk.Append = func([]*raft.Log) error {
			disk.Lock()
			defer disk.Unlock()
			return nil
		}
		r.tune.disk.Wait = func() {
			select {
			case waits <- r:
			default:
			}
		}
	})
	late := others[0]
	slow[late].Lock()
	release := sync.OnceFunc(slow[late].Unlock)
	defer release()
	for len(waits) > 0 {
		<-waits
	}
	push(t, leader, "late", 1)
	done := make(chan error, 1)
	go func() { done <- late.ReadBarrier(testContext(t)) }()
	eventually(t, "the reader waits for the entry", func() bool {
		select {
		case r := <-waits:
			return r == late
		default:
			return false
		}
	})
	if hasJob(late, "late") {
		t.Error("the entry is applied before it is in the log")
	}
	release()
	if err := <-done; err != nil || !hasJob(late, "late") {
		t.Fatalf("once the entry is there: %v", err)
	}
}

// TestACommitOfTheLeadersCommitsNoEntryOfAnotherTerm: a follower that hears from a reader what the leader has committed
// may still hold the entry of a deposed leader there.
func TestACommitOfTheLeadersCommitsNoEntryOfAnotherTerm(t *testing.T) {
	const leaderTerm = 2
	store, config := raft.NewInmemStore(), raft.DefaultConfig()
	config.LocalID, config.Logger = "self", hclog.NewNullLogger()
	config.HeartbeatTimeout, config.ElectionTimeout = time.Hour, time.Hour // it never wants to lead
	address, transport := raft.NewInmemTransport("")
	_, leader := raft.NewInmemTransport("leader")
	leader.Connect(address, transport)
	follower, err := raft.NewRaft(config, fsm.New(slog.New(slog.DiscardHandler)), store, store,
		raft.NewInmemSnapshotStore(), transport)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := follower.Shutdown().Error(); err != nil {
			t.Error(err)
		}
	}()
	ask := func(request *raft.AppendEntriesRequest) bool {
		var resp raft.AppendEntriesResponse
		if err := leader.AppendEntries(config.LocalID, address, request, &resp); err != nil {
			t.Fatal(err)
		}
		return resp.Success
	}
	mustAppend := func(term uint64) {
		request := &raft.AppendEntriesRequest{
			RPCHeader: raft.RPCHeader{
				ProtocolVersion: raft.ProtocolVersionMax, ID: []byte("leader"),
				Addr: []byte("leader"),
			},
			Term: leaderTerm,
		}
		for index := range uint64(5) {
			request.Entries = append(request.Entries, &raft.Log{Index: index + 1, Term: term, Data: fsm.EncodeNoop()})
		}
		if !ask(request) {
			t.Fatal("entries were refused")
		}
	}
	injected := make(injections, 1)
	r := &Replica{raft: follower, serverID: config.LocalID, injector: injected}
	tell := func() (taken bool) {
		r.injectCommit(testContext(t), readIndex{index: 5, term: leaderTerm})
		return ask(<-injected)
	}
	mustAppend(leaderTerm - 1)
	if tell() || follower.CommitIndex() != 0 {
		t.Fatalf("entries of another term are committed up to %d", follower.CommitIndex())
	}
	mustAppend(leaderTerm)
	if !tell() || follower.CommitIndex() != 5 {
		t.Fatalf("the leader's entries are committed up to %d, want 5", follower.CommitIndex())
	}
}

// injections are the requests that were handed to the transport.
type injections chan *raft.AppendEntriesRequest

func (i injections) Inject(_ context.Context, request *raft.AppendEntriesRequest) { i <- request }
