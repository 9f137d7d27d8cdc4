package cluster

import (
	"log/slog"
	"net"
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"

	"pushquorum/cluster/internal/gossip"
)

// gossipNode is a member as memberlist shows it.
func gossipNode(t *testing.T, m gossip.Meta) *memberlist.Node {
	t.Helper()
	b, err := gossip.EncodeMeta(m)
	if err != nil {
		t.Fatal(err)
	}
	return &memberlist.Node{Name: gossip.NodeName(m.ID, m.Starts), Addr: net.IPv4(127, 0, 0, 1), Port: 7946, Meta: b}
}

// gossipOf is the gossip of a replica that has opened no port.
func gossipOf(meta gossip.Meta) *gossip.Membership {
	return gossip.New(slog.New(slog.DiscardHandler), meta.ID, meta.Starts, gossip.Addresses{}, gossip.Hooks{
		Meta: func() gossip.Meta { return meta }, Moved: func(uuid.UUID, string) {}, Stranger: func(gossip.Meta) {},
	})
}
