package gossip

import (
	"testing"

	"github.com/google/uuid"
)

// TestWhatIsGossipedStaysAsItIs: versions side by side read it.
func TestWhatIsGossipedStaysAsItIs(t *testing.T) {
	m := Meta{
		ID: uuid.UUID{1}, Name: "r1", Peer: "127.0.0.1:1", Starts: 7, HasRaftState: true, Cluster: uuid.UUID{2},
		Expect: 3, Version: "v", Seen: 9,
	}
	const want = `{"i":"01000000-0000-0000-0000-000000000000","n":"r1","p":"127.0.0.1:1","s":7,"m":true,` +
		`"c":"02000000-0000-0000-0000-000000000000","e":3,"v":"v"}`
	if b, err := EncodeMeta(m); err != nil || string(b) != want {
		t.Errorf("%s, %v; want %s", b, err, want)
	}
}
