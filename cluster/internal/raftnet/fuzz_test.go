package raftnet

import (
	"bytes"
	"testing"

	"github.com/google/uuid"
)

// FuzzHello: a hello is taken only in the form in which it is sent.
func FuzzHello(f *testing.F) {
	f.Add(Hello{Kind: KindRaft, Target: uuid.UUID{1}, Sender: uuid.UUID{2}, Cluster: uuid.UUID{3}}.encode())
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, ok := decodeHello(b); ok && !bytes.Equal(h.encode(), b) {
			t.Fatalf("%x was taken for %+v", b, h)
		}
	})
}
