package cluster

import (
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"

	"pushquorum/cluster/internal/gossip"
)

// sees tells whether the gossip of a replica shows exactly these.
func sees(r *replicaT, want ...*replicaT) bool {
	var seen, ids []uuid.UUID
	for _, m := range r.gossip.Alive() {
		seen = append(seen, m.ID)
	}
	for _, w := range want {
		ids = append(ids, w.self)
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return strings.Compare(a.String(), b.String()) })
	return slices.Equal(seen, ids)
}

// One wrong --cluster.peer: a replica of one cluster gossips with the other. They stay apart, and a replica that has
// lost its disk joins the cluster of its peers, however much the other one would like to have it.
func TestTwoClustersWhoseGossipMeetsStayApart(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it waits for elections and for gossip")
	}
	t.Parallel()
	tn := newTestNet()
	a := newReplica(t, tn, "a", freePorts(t), 1).start()
	b := prepare(t, tn, 3)
	for _, r := range b {
		r.start()
	}
	waitReady(t, append(b, a)...)
	push(t, a, "of-a", 1)
	push(t, b[0], "of-b", 1)
	clusterA, clusterB := a.store.ClusterID(), b[0].store.ClusterID()

	b[0].crash()
	b[0].cfg.Peers = append(b[0].cfg.Peers, a.cfg.ListenAddress)
	b[0].start()
	waitReady(t, b[0])
	eventually(t, "both sides say that there is a stranger", func() bool {
		return strings.Contains(a.logs.String(), "belongs to another cluster") &&
			strings.Contains(b[0].logs.String(), "belongs to another cluster")
	})
	b[2].crash()
	if err := os.RemoveAll(b[2].cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	b[2].start()
	waitReady(t, b[2])
	if got := b[2].store.ClusterID(); got != clusterB || !hasJob(b[2], "of-b") || hasJob(b[2], "of-a") {
		t.Errorf("the replacement is in cluster %s and holds the jobs of a: %t, of b: %t; want %s, false, true", got,
			hasJob(b[2], "of-a"), hasJob(b[2], "of-b"), clusterB)
	}
	for _, r := range b {
		eventually(t, r.cfg.Name+" sees its own cluster alone", func() bool { return sees(r, b...) })
	}
	if !sees(a, a) || !exactly([]*replicaT{a}, a) || a.store.ClusterID() != clusterA || hasJob(a, "of-b") {
		t.Errorf("the other cluster has changed: %v", configured(a))
	}
	if n := strings.Count(a.logs.String(), "belongs to another cluster and is not added"); n > 4 {
		t.Errorf("a speaks %d times of four strangers, one of whom came in the place of another", n)
	}
}

// A new replica that is named by a replica of one cluster, by mistake, and itself names the other.
func TestAReplicaIsNotTakenByAClusterThatNamesItByMistake(t *testing.T) {
	t.Parallel()
	tn := newTestNet()
	place := freePorts(t)
	wrong := newReplica(t, tn, "wrong", freePorts(t), 1).start()
	right := newReplica(t, tn, "right", freePorts(t), 1).start()
	waitReady(t, wrong, right)
	wrong.crash()
	wrong.cfg.Peers = []string{place}
	wrong.start()
	waitReady(t, wrong)
	fresh := newReplica(t, tn, "fresh", place, 1, right.cfg.ListenAddress).start()
	waitReady(t, fresh)
	if got, want := fresh.store.ClusterID(), right.store.ClusterID(); got != want {
		t.Errorf("it is in cluster %s, want the one of its peer, %s", got, want)
	}
}

func TestALabelKeepsStrangersOut(t *testing.T) {
	t.Parallel()
	tn := newTestNet()
	a := newReplica(t, tn, "a", freePorts(t), 1)
	a.cfg.Label = "payments"
	a.start()
	waitReady(t, a)
	b := newReplica(t, tn, "b", freePorts(t), 1, a.cfg.ListenAddress).start()
	c := newReplica(t, tn, "c", freePorts(t), 1, a.cfg.ListenAddress)
	c.cfg.Label = "payments"
	c.start()
	waitReady(t, c)
	if !sees(a, a, c) || !sees(b, b) {
		t.Errorf("a sees %d replicas and b %d, want a and c to see each other, and nobody b", len(a.gossip.Alive()),
			len(b.gossip.Alive()))
	}
}

// A replica that gossip met before it belonged to any cluster, and that is another cluster's by now, goes when it is
// asked.
func TestWhoHasJoinedAnotherClusterMeanwhileIsForgotten(t *testing.T) {
	t.Parallel()
	tn := newTestNet()
	a := newReplica(t, tn, "a", freePorts(t), 1).start()
	b := newReplica(t, tn, "b", freePorts(t), 1).start()
	waitReady(t, a, b)
	meet := func() {
		before := b.ownMeta()
		before.Cluster, before.HasRaftState = uuid.Nil, false
		text, err := gossip.EncodeMeta(before)
		if err != nil {
			t.Fatal(err)
		}
		a.gossip.NotifyJoin(&memberlist.Node{
			Name: gossip.NodeName(b.self, before.Starts), Addr: net.IPv4(127, 0, 0, 1),
			Port: 1, Meta: text,
		})
	}
	meet()
	eventually(t, "the leader that invited it has forgotten it and says why", func() bool {
		return sees(a, a) && strings.Contains(a.logs.String(), "belongs to another cluster")
	})
	if _, known := a.gossip.LastSeen(b.self); known {
		t.Error("it is remembered")
	}
	meet()
	if got := a.Status(testContext(t)).Members; len(got) != 1 {
		t.Errorf("it is shown: %+v", got)
	}
}
