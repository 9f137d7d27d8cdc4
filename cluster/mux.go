package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"

	"pushquorum/cluster/internal/connlimit"
	"pushquorum/cluster/internal/loglimit"
)

// Every connection between replicas begins with a hello that says what it is for, whom it is meant for and from which
// cluster; one byte answers. Addresses are reused, so a listener that is not the replica meant must say so: an empty
// replica at the address of a dead one would otherwise acknowledge and vote in its name.
const (
	helloVersion = 2        // 1: a forwarded call had one command
	helloSize    = 2 + 3*16 // kind, version, target, sender, cluster

	kindRaft = 'R'
	kindRPC  = 'P'
)

type helloAnswer byte

const (
	helloOK helloAnswer = iota
	helloNotMe
	helloOtherCluster
	helloVersionUnknown
)

func (a helloAnswer) Error() string {
	switch a {
	case helloOK:
		return "accepted"
	case helloNotMe:
		return "another replica answers at this address"
	case helloOtherCluster:
		return "the replica does not take part in this cluster"
	case helloVersionUnknown:
		return "the replica speaks another version of the peer protocol"
	}
	return fmt.Sprintf("refused with code %d", byte(a))
}

type hello struct {
	kind                    byte
	target, sender, cluster uuid.UUID
}

func (h hello) encode() []byte {
	b := append(make([]byte, 0, helloSize), h.kind, helloVersion)
	b = append(b, h.target[:]...)
	b = append(b, h.sender[:]...)
	return append(b, h.cluster[:]...)
}

// decodeHello reads the bytes of a hello; the second value is false for another version or kind.
func decodeHello(b []byte) (hello, bool) {
	if len(b) != helloSize || b[1] != helloVersion || (b[0] != kindRaft && b[0] != kindRPC) {
		return hello{}, false
	}
	h := hello{kind: b[0]}
	copy(h.target[:], b[2:])
	copy(h.sender[:], b[18:])
	copy(h.cluster[:], b[34:])
	return h, true
}

// mux accepts the connections at the peer port and hands them out by kind.
type mux struct {
	ln     net.Listener
	logger *slog.Logger
	// admit decides about a hello.
	admit func(hello) helloAnswer
	// serveRPC serves one peer RPC connection until it ends.
	serveRPC func(net.Conn)

	raft chan net.Conn
	done chan struct{}
	wg   sync.WaitGroup

	limit     int               // of connections that have said hello
	newcomers *connlimit.Newest // those that have not
	full      *loglimit.Limit

	mu     sync.Mutex
	conns  map[net.Conn]struct{} // all that were accepted and not closed
	known  map[net.Conn]struct{} // those of them that were let in
	closed bool
}

const (
	// maxNewcomers is how many connections at a time may not have said yet what they are for.
	maxNewcomers    = 64
	helloTimeout    = 5 * time.Second
	strangerTimeout = 10 * time.Second
)

func newMux(ln net.Listener, logger *slog.Logger, admit func(hello) helloAnswer, serveRPC func(net.Conn)) *mux {
	return &mux{
		ln: ln, logger: logger, admit: admit, serveRPC: serveRPC,
		raft: make(chan net.Conn), done: make(chan struct{}), conns: map[net.Conn]struct{}{}, known: map[net.Conn]struct{}{},
		limit: connlimit.PerPort(), newcomers: connlimit.NewNewest(min(maxNewcomers, connlimit.PerPort())), full: loglimit.New(),
	}
}

// start begins to accept. Before it, connections wait in the listener's backlog.
func (m *mux) start() { m.wg.Go(m.accept) }

func (m *mux) accept() {
	for {
		conn, err := m.ln.Accept()
		if err != nil {
			select {
			case <-m.done:
				return
			case <-time.After(50 * time.Millisecond): // out of file descriptors, say
				m.logger.Warn("cannot accept a peer connection", "err", err)
				continue
			}
		}
		if !m.track(conn) {
			_ = conn.Close()
			return
		}
		watchHost(conn)
		m.newcomers.Add(conn)
		m.wg.Go(func() { m.greet(&trackedConn{Conn: conn, m: m}) })
	}
}

func (m *mux) greet(conn *trackedConn) {
	_ = conn.SetDeadline(time.Now().Add(helloTimeout))
	b := make([]byte, helloSize)
	if _, err := io.ReadFull(conn, b); err != nil {
		_ = conn.Close() // a port scan, a health check
		return
	}
	m.newcomers.Remove(conn.Conn)
	h, ok := decodeHello(b)
	answer := helloVersionUnknown
	if ok {
		answer = m.admit(h)
	}
	if answer == helloOK && !m.letIn(conn.Conn) {
		_ = conn.Close() // who dials tries again
		return
	}
	if _, err := conn.Write([]byte{byte(answer)}); err != nil || answer != helloOK {
		if answer != helloOK {
			m.logger.Debug("refused a peer connection", "from", conn.RemoteAddr(), "reason", answer)
		}
		_ = conn.Close()
		return
	}
	_ = conn.SetDeadline(time.Time{})
	if h.kind == kindRPC {
		if h.target == uuid.Nil { // who asks who is here has one question
			_ = conn.SetDeadline(time.Now().Add(strangerTimeout))
		}
		m.serveRPC(conn)
		_ = conn.Close()
		return
	}
	select {
	case m.raft <- conn:
	case <-m.done:
		_ = conn.Close()
	}
}

func (m *mux) track(conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.conns[conn] = struct{}{}
	return true
}

// letIn counts a connection that has said hello, unless there are too many.
func (m *mux) letIn(conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) >= m.limit {
		if m.full.Allow("full", time.Now()) {
			m.logger.Warn("refused a peer connection: there are too many, does somebody else use the peer port?", "from", conn.RemoteAddr(), "limit", m.limit)
		}
		return false
	}
	m.known[conn] = struct{}{}
	return true
}

func (m *mux) forget(conn net.Conn) {
	m.newcomers.Remove(conn)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.conns, conn)
	delete(m.known, conn)
}

// Close stops listening, closes every accepted connection and waits for those who serve them.
func (m *mux) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	close(m.done)
	err := m.ln.Close()
	for c := range m.conns {
		_ = c.Close()
	}
	m.mu.Unlock()
	m.wg.Wait()
	return err
}

// trackedConn leaves the mux's list when it is closed.
type trackedConn struct {
	net.Conn
	m    *mux
	once sync.Once
}

func (c *trackedConn) Close() error {
	c.once.Do(func() { c.m.forget(c.Conn) })
	return c.Conn.Close()
}

// dialFunc opens a TCP connection; tests cut it.
type dialFunc func(ctx context.Context, address string) (net.Conn, error)

// dialPeer connects to a replica and says hello. The error names address and reason.
func dialPeer(ctx context.Context, dial dialFunc, address string, h hello) (net.Conn, error) {
	if address == "" {
		return nil, errors.New("no address of the replica is known")
	}
	conn, err := dial(ctx, address)
	if err != nil {
		return nil, err
	}
	if err := sayHello(ctx, conn, h); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("peer %s: %w", address, err)
	}
	return conn, nil
}

func sayHello(ctx context.Context, conn net.Conn, h hello) error {
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(h.encode()); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	if a := helloAnswer(answer[0]); a != helloOK {
		return a
	}
	if !stop() {
		return ctx.Err()
	}
	return conn.SetDeadline(time.Time{})
}
