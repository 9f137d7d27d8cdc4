package raftnet

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/server"
)

// Streams gives raft.NetworkTransport its connections: incoming from the mux, outgoing with a hello.
type Streams struct {
	mux       *Mux
	self      uuid.UUID
	advertise string // host:port
	cluster   func() uuid.UUID
	dial      DialFunc

	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex
	conns map[net.Conn]server.Address // dialled, and where to
}

// NewStreams makes the streams of the replica self, which others reach at advertise, host:port. cluster is the one that
// it belongs to now.
func NewStreams(m *Mux, self uuid.UUID, advertise string, cluster func() uuid.UUID, dial DialFunc) *Streams {
	ctx, cancel := context.WithCancel(context.Background())
	return &Streams{
		mux: m, self: self, advertise: advertise, cluster: cluster, dial: dial,
		ctx: ctx, cancel: cancel, conns: map[net.Conn]server.Address{},
	}
}

// Accept implements net.Listener.
func (s *Streams) Accept() (net.Conn, error) {
	select {
	case conn := <-s.mux.raft:
		return &progressConn{Conn: conn}, nil
	case <-s.mux.done:
		return nil, net.ErrClosed
	case <-s.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. The listener itself belongs to the mux; the dialled connections are closed here,
// because the transport forgets those in its pool.
func (s *Streams) Close() error {
	s.cancel()
	s.dropAll()
	return nil
}

func (s *Streams) dropAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

// Moved closes the connections to where a replica no longer is. Raft waits for an answer on each of them for
// peerTimeout, and keeps those that it does not use for ever: its pool goes by address.
func (s *Streams) Moved(id uuid.UUID, peer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c, to := range s.conns {
		if to.ID == id && to.Peer != peer {
			_ = c.Close()
			delete(s.conns, c)
		}
	}
}

// Addr implements net.Listener; Raft takes it for its own address.
func (s *Streams) Addr() net.Addr {
	return peerAddr(server.Address{ID: s.self, Peer: s.advertise}.Encode())
}

type peerAddr string

func (peerAddr) Network() string  { return "tcp" }
func (a peerAddr) String() string { return string(a) }

// Dial implements raft.StreamLayer.
func (s *Streams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	a, err := server.ParseAddress(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, min(timeout, dialTimeout))
	defer cancel()
	conn, err := Dial(ctx, s.dial, a.Peer, Hello{Kind: KindRaft, Target: a.ID, Sender: s.self, Cluster: s.cluster()})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	s.conns[conn] = a
	return &progressConn{Conn: conn, closed: func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, conn)
	}}, nil
}
