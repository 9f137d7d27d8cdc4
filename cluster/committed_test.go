package cluster

import (
	"sync"
	"testing"
	"time"
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
	leader, others := quietTrio(t)
	late := others[0]
	late.store.Log.Mu.Lock() // its disk is slow
	release := sync.OnceFunc(late.store.Log.Mu.Unlock)
	defer release()
	push(t, leader, "late", 1)
	done := make(chan error, 1)
	go func() { done <- late.ReadBarrier(testContext(t)) }()
	eventually(t, "the reader waits for the entry", func() bool {
		late.store.Log.Waiting.Lock()
		defer late.store.Log.Waiting.Unlock()
		return late.store.Log.Grown != nil
	})
	if hasJob(late, "late") {
		t.Error("the entry is applied before it is in the log")
	}
	release()
	if err := <-done; err != nil || !hasJob(late, "late") {
		t.Fatalf("once the entry is there: %v", err)
	}
}
