package gossip

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"
)

// listed is a member as memberlist shows it.
func listed(t *testing.T, m Meta) *memberlist.Node {
	t.Helper()
	b, err := EncodeMeta(m)
	if err != nil {
		t.Fatal(err)
	}
	return &memberlist.Node{Name: NodeName(m.ID, m.Starts), Addr: net.IPv4(127, 0, 0, 1), Port: 7946, Meta: b}
}

// unopened is the gossip of a replica that has opened no port.
func unopened(meta Meta) *Membership {
	return New(slog.New(slog.DiscardHandler), meta.ID, meta.Starts, Addresses{}, Hooks{
		Meta: func() Meta { return meta }, Moved: func(uuid.UUID, string) {}, Stranger: func(Meta) {},
	})
}

func TestNewsOfAnAddressIsPassedOnOnce(t *testing.T) {
	self, other := uuid.New(), uuid.New()
	g := unopened(Meta{ID: self, Starts: 3})
	var moves []string
	g.Moved = func(id uuid.UUID, peer string) { moves = append(moves, fmt.Sprintf("%t %s", id == other, peer)) }
	at := func(id uuid.UUID, peer string, starts uint64) *memberlist.Node {
		return listed(t, Meta{ID: id, Peer: peer, Starts: starts})
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
	self := Meta{ID: uuid.New(), Starts: 2, HasRaftState: true, Cluster: ours}
	for _, c := range []struct {
		name    string
		own     uuid.UUID
		node    Meta
		refused bool
	}{
		{"one of this cluster", ours, Meta{ID: uuid.New(), Cluster: ours, HasRaftState: true}, false},
		{"a new replica", ours, Meta{ID: uuid.New()}, false},
		{"one of another cluster", ours, Meta{ID: uuid.New(), Cluster: theirs, HasRaftState: true}, true},
		{"one that another cluster has invited", ours, Meta{ID: uuid.New(), Cluster: theirs}, true},
		{
			"a cluster's replica, seen by a new one", uuid.Nil,
			Meta{ID: uuid.New(), Cluster: theirs, HasRaftState: true},
			false,
		},
		{"this replica itself", ours, self, false},
		{"a copy of this replica, in another cluster", ours, Meta{ID: self.ID, Starts: 3, Cluster: theirs}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, told := unopened(self), 0
			g.Meta = func() Meta { m := self; m.Cluster = c.own; return m }
			g.Stranger = func(Meta) { told++ }
			err := g.NotifyAlive(listed(t, c.node))
			if refused := errors.Is(err, ErrOtherCluster); refused != c.refused || refused != (told == 1) {
				t.Errorf("%v, told %d times; want refused: %t", err, told, c.refused)
			}
		})
	}
}

func TestWhatIsNoReplicaIsLeftToTheEvents(t *testing.T) {
	g := unopened(Meta{ID: uuid.New(), Cluster: uuid.New()})
	if err := g.NotifyAlive(&memberlist.Node{Name: "x", Meta: []byte("y")}); err != nil {
		t.Error(err)
	}
}

// knows tells whether a replica is in the gossip's list of the living, and in its memory.
func knows(g *Membership, id uuid.UUID) (alive, remembered bool) {
	_, remembered = g.LastSeen(id)
	return slices.ContainsFunc(g.Alive(), func(m Meta) bool { return m.ID == id }), remembered
}

// TestAReplicaThatTurnsOutToBeForeignIsForgotten came as a new replica, and another cluster has bound it since.
// Memberlist goes on with what it said at first.
func TestAReplicaThatTurnsOutToBeForeignIsForgotten(t *testing.T) {
	ours, theirs, other := uuid.New(), uuid.New(), uuid.New()
	g := unopened(Meta{ID: uuid.New(), Cluster: ours})
	before := listed(t, Meta{ID: other, Starts: 1})
	g.NotifyJoin(before)
	if alive, remembered := knows(g, other); !alive || !remembered {
		t.Fatal("a new replica is not noticed")
	}
	if err := g.NotifyAlive(listed(t, Meta{ID: other, Starts: 1, Cluster: theirs})); err == nil {
		t.Error("it is not refused")
	}
	if alive, remembered := knows(g, other); alive || remembered {
		t.Errorf("refused, it is alive: %t, and remembered: %t", alive, remembered)
	}
	g.NotifyLeave(before)
	if _, remembered := knows(g, other); remembered {
		t.Error("its death brings it back")
	}
	g.NotifyJoin(listed(t, Meta{ID: other, Starts: 2, Cluster: ours}))
	if alive, _ := knows(g, other); !alive {
		t.Error("of this cluster now, it is not let in again")
	}
}

// TestBoundToAClusterAReplicaForgetsTheOther saw two clusters as a new replica, and is bound to one of them.
func TestBoundToAClusterAReplicaForgetsTheOther(t *testing.T) {
	ours, theirs, friend, foreigner, fresh := uuid.New(), uuid.New(), uuid.New(), uuid.New(), uuid.New()
	g := unopened(Meta{ID: uuid.New()})
	var told []uuid.UUID
	g.Stranger = func(m Meta) { told = append(told, m.ID) }
	for _, m := range []Meta{
		{ID: friend, Cluster: ours, HasRaftState: true},
		{ID: foreigner, Cluster: theirs, HasRaftState: true},
		{ID: fresh},
	} {
		if err := g.NotifyAlive(listed(t, m)); err != nil {
			t.Fatal(err)
		}
		g.NotifyJoin(listed(t, m))
	}
	g.dropForeigners(ours)
	for id, want := range map[uuid.UUID]bool{friend: true, foreigner: false, fresh: true} {
		if alive, remembered := knows(g, id); alive != want || remembered != want {
			t.Errorf("friend %t, fresh %t: alive %t, remembered %t, want %t", id == friend, id == fresh, alive,
				remembered, want)
		}
	}
	if !slices.Equal(told, []uuid.UUID{foreigner}) {
		t.Errorf("told of %v, want %v", told, foreigner)
	}
}

func TestOnlyAReplicaWithStateIsRememberedWhenItIsGone(t *testing.T) {
	member, fresh := uuid.New(), uuid.New()
	g := unopened(Meta{ID: uuid.New()})
	for _, m := range []Meta{{ID: member, HasRaftState: true, Peer: "10.0.0.1:1"}, {ID: fresh, Peer: "10.0.0.2:1"}} {
		g.NotifyJoin(listed(t, m))
		g.NotifyLeave(listed(t, m))
	}
	if _, remembered := knows(g, member); !remembered {
		t.Error("where the member was is forgotten")
	}
	if _, remembered := knows(g, fresh); remembered {
		t.Error("the new one is remembered")
	}
}
