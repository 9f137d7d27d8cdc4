package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/raftnet"
)

func voters(r *replicaT) int {
	n := 0
	for _, s := range r.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage == raft.Voter {
			n++
		}
	}
	return n
}

func TestReplicasFormInAnyOrderAndAFourthJoins(t *testing.T) {
	t.Parallel()
	tn := newTestNet()
	replicas := prepare(t, tn, 3)
	replicas[2].start()
	if err := replicas[2].Ready(); err == nil {
		t.Fatal("one of three is ready on its own")
	}
	replicas[0].start()
	replicas[1].start()
	waitReady(t, replicas...)
	push(t, replicas[1], "before", 1)

	fourth := newReplica(t, tn, "r4", freePorts(t), 1, replicas[2].cfg.ListenAddress).start()
	waitReady(t, fourth)
	if err := fourth.ReadBarrier(testContext(t)); err != nil || !hasJob(fourth, "before") {
		t.Fatalf("the fourth does not hold what was pushed before: %v", err)
	}
	push(t, fourth, "after", 2)
	eventually(t, "the fourth votes", func() bool { return voters(fourth) == 4 && voters(replicas[0]) == 4 })
	sameState(t, append(replicas, fourth)...)
}

func TestFiveReplicasFormAndSurviveTwo(t *testing.T) {
	t.Parallel()
	tn := newTestNet()
	replicas := prepare(t, tn, 5)
	for _, r := range replicas {
		r.start()
	}
	waitReady(t, replicas...)
	push(t, replicas[4], "one", 1)
	leader, others := leaderOf(t, replicas)
	leader.crash()
	others[0].crash()
	push(t, others[1], "two", 2)
	for _, r := range others[1:] {
		if err := r.ReadBarrier(testContext(t)); err != nil || !hasJob(r, "two") {
			t.Fatalf("%s: %v", r.cfg.Name, err)
		}
	}
}

func TestStandaloneReplicaBecomesTheFirstMemberAndKeepsItsData(t *testing.T) {
	t.Parallel()
	tn := newTestNet()
	first := newReplica(t, tn, "r1", "", 1).start()
	waitReady(t, first)
	push(t, first, "old", 1)
	first.crash()

	first.cfg.ListenAddress = freePorts(t)
	first.cfg.BootstrapExpect = 3
	first.start()
	second := newReplica(t, tn, "r2", freePorts(t), 3, first.cfg.ListenAddress).start()
	third := newReplica(t, tn, "r3", freePorts(t), 3, first.cfg.ListenAddress).start()
	waitReady(t, first, second, third)
	if err := third.ReadBarrier(testContext(t)); err != nil || !hasJob(third, "old") {
		t.Fatalf("the old data is not on the third: %v", err)
	}
	eventually(t, "all vote", func() bool { return voters(first) == 3 })
	push(t, second, "new", 2)

	second.crash()
	second.cfg.ListenAddress, second.cfg.Peers, second.cfg.BootstrapExpect = "", nil, 1
	if err := second.open(); err == nil || !strings.Contains(err.Error(), "--cluster.listen-address") {
		t.Fatalf("a member of three starts standalone: %v", err)
	}
}

func TestReplicasWithStateOfDifferentClustersNeverMerge(t *testing.T) {
	t.Parallel()
	tn := newTestNet()
	a := newReplica(t, tn, "a", freePorts(t), 1).start()
	b := newReplica(t, tn, "b", freePorts(t), 1).start()
	waitReady(t, a, b)
	push(t, a, "of-a", 1)
	push(t, b, "of-b", 1)
	b.crash()
	b.cfg.Peers = []string{a.cfg.ListenAddress}
	b.start()
	waitReady(t, b)
	eventually(t, "the stranger is noticed", func() bool {
		return strings.Contains(a.logs.String(), "belongs to another cluster")
	})
	if voters(a) != 1 || voters(b) != 1 || hasJob(a, "of-b") || hasJob(b, "of-a") {
		t.Fatal("the two have merged")
	}
	if _, err := raftnet.Dial(testContext(t), a.tune.dial, b.addrs.PeerAdvertise,
		raftnet.Hello{
			Kind: raftnet.KindRaft, Target: b.self, Sender: a.self,
			Cluster: a.store.ClusterID(),
		}); !errors.Is(err, raftnet.OtherCluster) {
		t.Fatalf("Raft traffic of another cluster: %v, want a refusal", err)
	}
}

func TestEmptyReplicaAtTheAddressOfADeadOneDoesNotSpeakForIt(t *testing.T) {
	t.Parallel()
	tn, replicas := trio(t)
	_, others := leaderOf(t, replicas)
	dead := others[0]
	push(t, dead, "before", 1)
	dead.crash()
	replacement := newReplica(t, tn, "r9", dead.cfg.ListenAddress, 1, dead.cfg.Peers...).start()
	waitReady(t, replacement)
	if replacement.self == dead.self {
		t.Fatal("the replacement has the old id")
	}
	push(t, replacement, "after", 2)
	if err := replacement.ReadBarrier(testContext(t)); err != nil || !hasJob(replacement, "before") {
		t.Fatalf("the replacement lacks data: %v", err)
	}
	if _, err := raftnet.Dial(testContext(t), others[1].tune.dial, replacement.addrs.PeerAdvertise,
		raftnet.Hello{Kind: raftnet.KindRaft, Target: dead.self, Cluster: others[1].store.ClusterID()}); !errors.Is(
		err, raftnet.NotMe) {
		t.Fatalf("asked for the dead one: %v, want a refusal", err)
	}
	eventually(t, "the dead one is listed as unhealthy", func() bool {
		for _, m := range others[1].Status(testContext(t)).Members {
			if m.ID == dead.self.String() {
				return !m.Healthy && m.Name == dead.cfg.Name && m.Role == "voter"
			}
		}
		return false
	})
}

func TestReplicaThatExpectsOneWaitsForItsPeersHoweverSilent(t *testing.T) {
	tn := newTestNet()
	r := newReplica(t, tn, "r1", freePorts(t), 1, freePorts(t))
	r.tune.waitLog = 100 * time.Millisecond
	r.start()
	eventually(t, "it says what it waits for", func() bool {
		return strings.Contains(r.logs.String(), "to be added by the cluster that --cluster.peer names")
	})
	if r.hasState() {
		t.Fatal("it has founded a cluster")
	}
}

func TestReplicaThatWasAwayCatchesUpFromASnapshot(t *testing.T) {
	t.Parallel()
	tn := newTestNet()
	replicas := prepare(t, tn, 3)
	for _, r := range replicas {
		r.cfg.SnapshotEntries = 20
		r.start()
	}
	waitReady(t, replicas...)
	_, others := leaderOf(t, replicas)
	away := others[0]
	away.crash()
	for i := range 200 {
		push(t, others[1], fmt.Sprintf("job%d", i%10), float64(i))
	}
	first := func(r *replicaT) uint64 {
		i, err := r.store.Log().FirstIndex()
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	last := away.raft.LastIndex()
	left := []*replicaT{others[1], mustOther(replicas, away, others[1])} // either may lead when it comes back
	eventually(t, "the log that the absent one needs is gone", func() bool {
		return first(left[0]) > last+1 && first(left[1]) > last+1
	})
	away.start()
	waitReady(t, away)
	sameState(t, replicas...)
	// Raft drops the old log after the state has been replaced.
	eventually(t, "its state came from a snapshot, and the log before is gone", func() bool {
		f := first(away)
		return away.store.SnapshotIndex() > 0 && (f == 0 || f > last)
	})
	// And it can be opened again: no gap was left.
	away.crash()
	away.start()
	waitReady(t, away)
}

func mustOther(all []*replicaT, not ...*replicaT) *replicaT {
	for _, r := range all {
		if r != not[0] && r != not[1] {
			return r
		}
	}
	return nil
}
