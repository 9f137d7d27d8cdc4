package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"

	"pushquorum/cluster/internal/disk"
)

// gossipNode is a member as memberlist shows it.
func gossipNode(t *testing.T, m nodeMeta) *memberlist.Node {
	t.Helper()
	b, err := encodeMeta(m)
	if err != nil {
		t.Fatal(err)
	}
	return &memberlist.Node{Name: nodeName(m.ID, m.Starts), Addr: net.IPv4(127, 0, 0, 1), Port: 7946, Meta: b}
}

// gossipOf is the gossip of a replica that has opened no port.
func gossipOf(meta nodeMeta) *gossip {
	return newGossip(slog.New(slog.DiscardHandler), meta.ID, meta.Starts, addresses{}, gossipHooks{
		meta: func() nodeMeta { return meta }, moved: func(uuid.UUID, string) {}, stranger: func(nodeMeta) {},
	})
}

func TestNewsOfAnAddressIsPassedOnOnce(t *testing.T) {
	self, other := uuid.New(), uuid.New()
	g := gossipOf(nodeMeta{ID: self, Starts: 3})
	var moves []string
	g.moved = func(id uuid.UUID, peer string) { moves = append(moves, fmt.Sprintf("%t %s", id == other, peer)) }
	at := func(id uuid.UUID, peer string, starts uint64) *memberlist.Node {
		return gossipNode(t, nodeMeta{ID: id, Peer: peer, Starts: starts})
	}
	g.NotifyJoin(at(other, "10.0.0.1:1", 1))
	g.NotifyUpdate(at(other, "10.0.0.1:1", 1))
	g.NotifyJoin(at(other, "10.0.0.2:1", 2))
	g.NotifyLeave(at(other, "10.0.0.1:1", 1)) // what an earlier start left behind
	g.NotifyJoin(at(self, "10.0.0.9:1", 2))   // this replica's own earlier start
	if want := []string{"true 10.0.0.1:1", "true 10.0.0.2:1"}; !slices.Equal(moves, want) {
		t.Errorf("passed on: %q, want %q", moves, want)
	}
}

func TestGossipRefusesAnotherClustersReplicas(t *testing.T) {
	ours, theirs := uuid.New(), uuid.New()
	self := nodeMeta{ID: uuid.New(), Starts: 2, Member: true, Cluster: ours}
	for _, c := range []struct {
		name    string
		own     uuid.UUID
		node    nodeMeta
		refused bool
	}{
		{"one of this cluster", ours, nodeMeta{ID: uuid.New(), Cluster: ours, Member: true}, false},
		{"a new replica", ours, nodeMeta{ID: uuid.New()}, false},
		{"one of another cluster", ours, nodeMeta{ID: uuid.New(), Cluster: theirs, Member: true}, true},
		{"one that another cluster has invited", ours, nodeMeta{ID: uuid.New(), Cluster: theirs}, true},
		{"a cluster's replica, seen by a new one", uuid.Nil, nodeMeta{ID: uuid.New(), Cluster: theirs, Member: true}, false},
		{"this replica itself", ours, self, false},
		{"a copy of this replica, in another cluster", ours, nodeMeta{ID: self.ID, Starts: 3, Cluster: theirs}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, told := gossipOf(self), 0
			g.meta = func() nodeMeta { m := self; m.Cluster = c.own; return m }
			g.stranger = func(nodeMeta) { told++ }
			err := g.NotifyAlive(gossipNode(t, c.node))
			if refused := errors.Is(err, disk.ErrOtherCluster); refused != c.refused || refused != (told == 1) {
				t.Errorf("%v, told %d times; want refused: %t", err, told, c.refused)
			}
		})
	}
}

func TestWhatIsNoReplicaIsLeftToTheEvents(t *testing.T) {
	g := gossipOf(nodeMeta{ID: uuid.New(), Cluster: uuid.New()})
	if err := g.NotifyAlive(&memberlist.Node{Name: "x", Meta: []byte("y")}); err != nil {
		t.Error(err)
	}
}

// knows tells whether a replica is in the gossip's list of the living, and in its memory.
func knows(g *gossip, id uuid.UUID) (alive, remembered bool) {
	_, remembered = g.lastSeen(id)
	return slices.ContainsFunc(g.alive(), func(m nodeMeta) bool { return m.ID == id }), remembered
}

// It came as a new replica, and another cluster has bound it since. Memberlist goes on with what it said at first.
func TestAReplicaThatTurnsOutToBeForeignIsForgotten(t *testing.T) {
	ours, theirs, other := uuid.New(), uuid.New(), uuid.New()
	g := gossipOf(nodeMeta{ID: uuid.New(), Cluster: ours})
	before := gossipNode(t, nodeMeta{ID: other, Starts: 1})
	g.NotifyJoin(before)
	if alive, remembered := knows(g, other); !alive || !remembered {
		t.Fatal("a new replica is not noticed")
	}
	if err := g.NotifyAlive(gossipNode(t, nodeMeta{ID: other, Starts: 1, Cluster: theirs})); err == nil {
		t.Error("it is not refused")
	}
	if alive, remembered := knows(g, other); alive || remembered {
		t.Errorf("refused, it is alive: %t, and remembered: %t", alive, remembered)
	}
	g.NotifyLeave(before)
	if _, remembered := knows(g, other); remembered {
		t.Error("its death brings it back")
	}
	g.NotifyJoin(gossipNode(t, nodeMeta{ID: other, Starts: 2, Cluster: ours}))
	if alive, _ := knows(g, other); !alive {
		t.Error("of this cluster now, it is not let in again")
	}
}

// It saw two clusters as a new replica, and is bound to one of them.
func TestBoundToAClusterAReplicaForgetsTheOther(t *testing.T) {
	ours, theirs, friend, foreigner, fresh := uuid.New(), uuid.New(), uuid.New(), uuid.New(), uuid.New()
	g := gossipOf(nodeMeta{ID: uuid.New()})
	var told []uuid.UUID
	g.stranger = func(m nodeMeta) { told = append(told, m.ID) }
	for _, m := range []nodeMeta{{ID: friend, Cluster: ours, Member: true}, {ID: foreigner, Cluster: theirs, Member: true}, {ID: fresh}} {
		if err := g.NotifyAlive(gossipNode(t, m)); err != nil {
			t.Fatal(err)
		}
		g.NotifyJoin(gossipNode(t, m))
	}
	g.dropForeigners(ours)
	for id, want := range map[uuid.UUID]bool{friend: true, foreigner: false, fresh: true} {
		if alive, remembered := knows(g, id); alive != want || remembered != want {
			t.Errorf("friend %t, fresh %t: alive %t, remembered %t, want %t", id == friend, id == fresh, alive, remembered, want)
		}
	}
	if !slices.Equal(told, []uuid.UUID{foreigner}) {
		t.Errorf("told of %v, want %v", told, foreigner)
	}
}

func TestOnlyAReplicaWithStateIsRememberedWhenItIsGone(t *testing.T) {
	member, fresh := uuid.New(), uuid.New()
	g := gossipOf(nodeMeta{ID: uuid.New()})
	for _, m := range []nodeMeta{{ID: member, Member: true, Peer: "10.0.0.1:1"}, {ID: fresh, Peer: "10.0.0.2:1"}} {
		g.NotifyJoin(gossipNode(t, m))
		g.NotifyLeave(gossipNode(t, m))
	}
	if _, remembered := knows(g, member); !remembered {
		t.Error("where the member was is forgotten")
	}
	if _, remembered := knows(g, fresh); remembered {
		t.Error("the new one is remembered")
	}
}
