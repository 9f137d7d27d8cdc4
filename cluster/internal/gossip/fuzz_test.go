package gossip

import (
	"testing"

	"github.com/google/uuid"
)

// FuzzGossipMeta: whatever a stranger sends is refused or makes sense, and ours always fits.
func FuzzGossipMeta(f *testing.F) {
	b, err := EncodeMeta(Meta{ID: uuid.UUID{1}, Name: "r1", Peer: "127.0.0.1:1", Expect: 3, Version: "v"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, "r1")
	f.Add([]byte(`{"i":"x"}`), "")
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		if m, err := DecodeMeta(b); err == nil && m.ID == uuid.Nil {
			t.Fatal("accepted without an id")
		}
		own, err := EncodeMeta(Meta{ID: uuid.UUID{1}, Name: name, Version: name})
		if err != nil || len(own) > 512 {
			t.Fatalf("%d bytes, %v", len(own), err)
		}
		if _, err := DecodeMeta(own); err != nil {
			t.Fatal(err)
		}
	})
}
