package cluster

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// quietTrio is a cluster whose leader tells of a commit only with the entries that follow.
func quietTrio(t *testing.T) (leader *replicaT, others []*replicaT) {
	t.Helper()
	replicas := prepare(t, newTestNet(), 3)
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
	leader, others := quietTrio(t)
	late := others[0]
	late.store.log.mu.Lock() // its disk is slow
	release := sync.OnceFunc(late.store.log.mu.Unlock)
	defer release()
	push(t, leader, "late", 1)
	done := make(chan error, 1)
	go func() { done <- late.ReadBarrier(testContext(t)) }()
	eventually(t, "the reader waits for the entry", func() bool {
		late.store.log.waiting.Lock()
		defer late.store.log.waiting.Unlock()
		return late.store.log.grown != nil
	})
	if hasJob(late, "late") {
		t.Error("the entry is applied before it is in the log")
	}
	release()
	if err := <-done; err != nil || !hasJob(late, "late") {
		t.Fatalf("once the entry is there: %v", err)
	}
}

// TestACommitOfTheLeadersCommitsNoEntryOfAnotherTerm: a follower that hears from a reader what the leader has committed may
// still hold the entry of a deposed leader there.
func TestACommitOfTheLeadersCommitsNoEntryOfAnotherTerm(t *testing.T) {
	f := newFollower(t)
	injected := make(injections, 1)
	r := &Replica{raft: f.raft, serverID: f.self, injector: injected}
	tell := func() (taken bool) {
		r.injectCommit(testContext(t), readIndex{index: 5, term: leaderTerm})
		var resp raft.AppendEntriesResponse
		if err := f.leader.AppendEntries(f.self, f.addr, <-injected, &resp); err != nil {
			t.Fatal(err)
		}
		return resp.Success
	}
	f.mustAppend(snapshotEnd{}, entriesOf(leaderTerm-1, 1, 5))
	if tell() || f.raft.CommitIndex() != 0 {
		t.Fatalf("entries of another term are committed up to %d", f.raft.CommitIndex())
	}
	f.mustAppend(snapshotEnd{}, entriesOf(leaderTerm, 1, 5))
	if !tell() || f.raft.CommitIndex() != 5 {
		t.Fatalf("the leader's entries are committed up to %d, want 5", f.raft.CommitIndex())
	}
}

// injections are the requests that were handed to the transport.
type injections chan *raft.AppendEntriesRequest

func (i injections) Inject(_ context.Context, request *raft.AppendEntriesRequest) { i <- request }
