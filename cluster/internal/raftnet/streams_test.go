package raftnet

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"

	"pushquorum/cluster/internal/server"
)

// welcoming listens at an address where everybody who is called is.
func welcoming(t *testing.T) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := NewMux(ln, slog.New(slog.DiscardHandler), func(Hello) Answer { return Accepted }, func(net.Conn) {})
	m.Start()
	t.Cleanup(func() { _ = m.Close() })
	return ln.Addr().String()
}

func TestRaftsConnectionsToWhereAReplicaWasAreClosed(t *testing.T) {
	s := NewStreams(nil, uuid.New(), "", func() uuid.UUID { return uuid.Nil }, DialTCP)
	t.Cleanup(func() { _ = s.Close() })
	before, now := welcoming(t), welcoming(t)
	mover, neighbour := uuid.New(), uuid.New()
	open := func(id uuid.UUID, address string) net.Conn {
		conn, err := s.Dial(server.Address{ID: id, Peer: address}.Encode(), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	old, fresh, other := open(mover, before), open(mover, now), open(neighbour, before)
	s.Moved(mover, now)
	for _, c := range []struct {
		name string
		conn net.Conn
		want error
	}{
		{"to where it was", old, net.ErrClosed},
		{"to where it is", fresh, os.ErrDeadlineExceeded},
		{"to its neighbour of old", other, os.ErrDeadlineExceeded},
	} {
		_ = c.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.conn.Read(make([]byte, 1)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if len(s.conns) != 2 {
		t.Errorf("%d connections are remembered, want 2", len(s.conns))
	}
}
