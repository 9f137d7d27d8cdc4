package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/server"
)

// streamLayer gives raft.NetworkTransport its connections: incoming from the mux, outgoing with a hello.
type streamLayer struct {
	mux       *mux
	self      uuid.UUID
	advertise string // host:port
	cluster   func() uuid.UUID
	dial      dialFunc

	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex
	conns map[net.Conn]server.Address // dialled, and where to
}

func newStreamLayer(m *mux, self uuid.UUID, advertise string, cluster func() uuid.UUID, dial dialFunc) *streamLayer {
	ctx, cancel := context.WithCancel(context.Background())
	return &streamLayer{
		mux: m, self: self, advertise: advertise, cluster: cluster, dial: dial,
		ctx: ctx, cancel: cancel, conns: map[net.Conn]server.Address{},
	}
}

// Accept implements net.Listener.
func (s *streamLayer) Accept() (net.Conn, error) {
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
func (s *streamLayer) Close() error {
	s.cancel()
	s.dropAll()
	return nil
}

func (s *streamLayer) dropAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close()
	}
}

// moved closes the connections to where a replica no longer is. Raft waits for an answer on each of them for
// peerTimeout, and keeps those that it does not use for ever: its pool goes by address.
func (s *streamLayer) moved(id uuid.UUID, peer string) {
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
func (s *streamLayer) Addr() net.Addr {
	return peerAddr(server.Address{ID: s.self, Peer: s.advertise}.Encode())
}

type peerAddr string

func (peerAddr) Network() string  { return "tcp" }
func (a peerAddr) String() string { return string(a) }

// Dial implements raft.StreamLayer.
func (s *streamLayer) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	a, err := server.ParseAddress(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, min(timeout, dialTimeout))
	defer cancel()
	conn, err := dialPeer(ctx, s.dial, a.Peer, hello{kind: kindRaft, target: a.ID, sender: s.self, cluster: s.cluster()})
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

// progressConn turns the deadline that Raft sets for a whole request into one for the next piece of it: a batch of
// large pushes or a snapshot takes as long as the network needs, and a peer that takes nothing is noticed all the same.
type progressConn struct {
	net.Conn
	closed func()

	mu   sync.Mutex
	idle time.Duration // from the last deadline set, 0 = none
}

const progressChunk = 256 << 10 // bytes

func (c *progressConn) remember(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = 0
	if !t.IsZero() {
		c.idle = time.Until(t)
	}
}

// SetDeadline implements net.Conn.
func (c *progressConn) SetDeadline(t time.Time) error {
	c.remember(t)
	return c.Conn.SetDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *progressConn) SetWriteDeadline(t time.Time) error {
	c.remember(t)
	return c.Conn.SetWriteDeadline(t)
}

// Write implements net.Conn.
func (c *progressConn) Write(p []byte) (int, error) {
	written := 0
	for {
		piece := p[written:min(len(p), written+progressChunk)]
		n, err := c.Conn.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
		if err := c.extend(); err != nil {
			return written, err
		}
		if written == len(p) {
			return written, nil
		}
	}
}

// extend moves both deadlines: the answer may be awaited for as long after the last byte.
func (c *progressConn) extend() error {
	c.mu.Lock()
	idle := c.idle
	c.mu.Unlock()
	if idle <= 0 {
		return nil
	}
	return c.Conn.SetDeadline(time.Now().Add(idle))
}

// Close implements net.Conn.
func (c *progressConn) Close() error {
	if c.closed != nil {
		c.closed()
	}
	return c.Conn.Close()
}

// addressBook answers Raft's question where a server is: what gossip knows, else what the configuration says.
type addressBook struct {
	self       uuid.UUID
	advertise  string
	gossiped   func(uuid.UUID) (string, bool)
	configured func(uuid.UUID) (raft.ServerAddress, bool)
}

// ServerAddr implements raft.ServerAddressProvider.
func (b *addressBook) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	u, err := uuid.Parse(string(id))
	if err != nil {
		return "", fmt.Errorf("server id %q: %w", id, err)
	}
	if u == b.self {
		return server.Address{ID: u, Peer: b.advertise}.Encode(), nil
	}
	if hostPort, ok := b.gossiped(u); ok {
		return server.Address{ID: u, Peer: hostPort}.Encode(), nil
	}
	if a, ok := b.configured(u); ok {
		return a, nil
	}
	return "", errors.New("not known")
}
