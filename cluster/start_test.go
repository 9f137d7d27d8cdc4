package cluster

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// clusters are the ids of the clusters that the replicas are bound to with state.
func clusters(replicas []*replicaT) map[uuid.UUID]int {
	out := map[uuid.UUID]int{}
	for _, r := range replicas {
		if rec := r.id.Get(); rec.HasRaftState {
			out[rec.Cluster]++
		}
	}
	return out
}

// TestStartsInAnyOrderWithPartitionsMakeOneCluster starts five in random order and with random delays, while links
// between their peer ports are cut and healed and replicas are restarted, until one cluster is there. The gossip stays
// whole: so everybody thinks that it can be done, and tries.
func TestStartsInAnyOrderWithPartitionsMakeOneCluster(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("long, because it forms many clusters, one after the other")
	}
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 7))
		tn := newTestNet()
		replicas := prepare(t, tn, 5)
		all := names(replicas)
		for _, r := range replicas { // before any has said a word: owners are known by their addresses
			tn.isolate(r.cfg.Name, rng.IntN(3) == 0, all)
		}
		for _, i := range rng.Perm(5) {
			replicas[i].start()
			pauseFor(t, time.Duration(rng.IntN(300))*time.Millisecond)
		}
		for range 6 {
			victim := replicas[rng.IntN(5)]
			switch rng.IntN(3) {
			case 0:
				tn.isolate(victim.cfg.Name, true, all)
			case 1:
				tn.isolate(victim.cfg.Name, false, all)
			default:
				victim.crash()
				victim.start()
			}
			if c := clusters(replicas); len(c) > 1 {
				t.Fatalf("seed %d: two clusters: %v", seed, c)
			}
			pauseFor(t, time.Duration(rng.IntN(600))*time.Millisecond)
		}
		for _, r := range replicas {
			tn.isolate(r.cfg.Name, false, all)
		}
		waitReady(t, replicas...)
		eventually(t, "all five vote", func() bool { return exactly(replicas, replicas...) })
		if c := clusters(replicas); len(c) != 1 {
			t.Fatalf("seed %d: clusters %v", seed, c)
		}
		push(t, replicas[seed], "one", 1)
		sameState(t, replicas...)
		for _, r := range replicas {
			r.crash()
		}
	}
}

// pauseFor lets time pass that is part of what is tried, not a condition that is waited for.
func pauseFor(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

func TestOneOldMemberAmongNewOnesIsJoinedHoweverLateItComes(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("long, because it waits for replicas that have to wait for one another")
	}
	tn := newTestNet()
	replicas := prepare(t, tn, 3)
	old := replicas[0]
	old.cfg.ListenAddress, old.cfg.Peers, old.cfg.BootstrapExpect = "", nil, 1
	address := replicas[1].cfg.Peers[0]
	old.start()
	waitReady(t, old)
	push(t, old, "old", 1)
	old.crash()

	// Two new ones of three, with the old one's address but without it: they must not go ahead.
	for _, r := range replicas[1:] {
		r.tune.waitLog = 200 * time.Millisecond
		r.start()
	}
	eventually(t, "both wait for the third", func() bool {
		return strings.Contains(replicas[1].logs.String(), "2 of 3 new replicas") &&
			strings.Contains(replicas[2].logs.String(), "2 of 3 new replicas")
	})
	if c := clusters(replicas[1:]); len(c) != 0 {
		t.Fatalf("two of three have formed a cluster: %v", c)
	}
	old.cfg.ListenAddress, old.cfg.Peers, old.cfg.BootstrapExpect = address, replicas[1].cfg.Peers, 3
	old.start()
	waitReady(t, replicas...)
	eventually(t, "all vote", func() bool { return exactly(replicas, replicas...) })
	if c := clusters(replicas); len(c) != 1 || !hasJob(replicas[2], "old") {
		t.Fatalf("clusters %v", c)
	}

	// The other way round: two of the three lose their disks at once. The one that is left has no majority, and the two
	// new ones know it: nobody forms anything, and nothing is lost.
	for _, r := range replicas[1:] {
		r.crash()
		if err := os.RemoveAll(r.cfg.DataDir); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the one that is left knows that it cannot lead", func() bool {
		leader, _ := old.leader.current()
		return leader == ""
	})
	for _, r := range replicas[1:] {
		r.start()
	}
	eventually(t, "both see that there is one with state", func() bool {
		return strings.Contains(replicas[1].logs.String(), "has state: waiting to be added") &&
			strings.Contains(replicas[2].logs.String(), "has state: waiting to be added")
	})
	if c := clusters(replicas); len(c) != 1 || c[old.store.ClusterID()] != 1 {
		t.Fatalf("clusters %v, want the old one's alone", c)
	}
}
