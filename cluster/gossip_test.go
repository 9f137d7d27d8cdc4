package cluster

import (
	"fmt"
	"log/slog"
	"net"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"
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
	return newGossip(slog.New(slog.DiscardHandler), meta.ID, meta.Starts, addresses{}, func() nodeMeta { return meta }, func(uuid.UUID, string) {})
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
