package cluster

import (
	"bytes"
	"testing"

	"github.com/google/uuid"
)

// FuzzGossipMeta: whatever a stranger sends is refused or makes sense, and ours always fits.
func FuzzGossipMeta(f *testing.F) {
	b, err := encodeMeta(nodeMeta{ID: uuid.UUID{1}, Name: "r1", Peer: "127.0.0.1:1", Expect: 3, Version: "v"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, "r1")
	f.Add([]byte(`{"i":"x"}`), "")
	f.Fuzz(func(t *testing.T, b []byte, name string) {
		if m, err := decodeMeta(b); err == nil && m.ID == uuid.Nil {
			t.Fatal("accepted without an id")
		}
		own, err := encodeMeta(nodeMeta{ID: uuid.UUID{1}, Name: name, Version: name})
		if err != nil || len(own) > 512 {
			t.Fatalf("%d bytes, %v", len(own), err)
		}
		if _, err := decodeMeta(own); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzHello: a hello is taken only in the form in which it is sent.
func FuzzHello(f *testing.F) {
	f.Add(hello{kind: kindRaft, target: uuid.UUID{1}, sender: uuid.UUID{2}, cluster: uuid.UUID{3}}.encode())
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, ok := decodeHello(b); ok && !bytes.Equal(h.encode(), b) {
			t.Fatalf("%x was taken for %+v", b, h)
		}
	})
}
