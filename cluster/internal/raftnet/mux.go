package raftnet

import (
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/google/uuid"

	"pushquorum/cluster/internal/connlimit"
	"pushquorum/cluster/internal/loglimit"
)

// Mux accepts the connections at the peer port and hands them out by kind.
type Mux struct {
	ln     net.Listener
	logger *slog.Logger

	admit    func(Hello) Answer
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

// NewMux makes a Mux that owns the listener. admit decides about a hello, and serveRPC serves a connection for calls
// until it ends; both are called from many goroutines.
func NewMux(ln net.Listener, logger *slog.Logger, admit func(Hello) Answer, serveRPC func(net.Conn)) *Mux {
	return &Mux{
		ln: ln, logger: logger, admit: admit, serveRPC: serveRPC,
		raft: make(
			chan net.Conn,
		), done: make(chan struct{}), conns: map[net.Conn]struct{}{}, known: map[net.Conn]struct{}{},
		limit: connlimit.PerPort(), newcomers: connlimit.NewNewest(min(maxNewcomers, connlimit.PerPort())),
		full: loglimit.New(),
	}
}

// Start begins to accept. Before it, connections wait in the listener's backlog.
func (m *Mux) Start() { m.wg.Go(m.accept) }

func (m *Mux) accept() {
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

func (m *Mux) greet(conn *trackedConn) {
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
	if answer == Accepted && !m.letIn(conn.Conn) {
		_ = conn.Close() // who dials tries again
		return
	}
	if _, err := conn.Write([]byte{byte(answer)}); err != nil || answer != Accepted {
		if answer != Accepted {
			m.logger.Debug("refused a peer connection", "from", conn.RemoteAddr(), "reason", answer)
		}
		_ = conn.Close()
		return
	}
	_ = conn.SetDeadline(time.Time{})
	if h.Kind == KindRPC {
		if h.Target == uuid.Nil { // who asks who is here has one question
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

func (m *Mux) track(conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.conns[conn] = struct{}{}
	return true
}

// letIn counts a connection that has said hello, unless there are too many.
func (m *Mux) letIn(conn net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.known) >= m.limit {
		if m.full.Allow("full", time.Now()) {
			m.logger.Warn(
				"refused a peer connection: there are too many, does somebody else use the peer port?",
				"from",
				conn.RemoteAddr(),
				"limit",
				m.limit,
			)
		}
		return false
	}
	m.known[conn] = struct{}{}
	return true
}

func (m *Mux) forget(conn net.Conn) {
	m.newcomers.Remove(conn)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.conns, conn)
	delete(m.known, conn)
}

// Close stops listening, closes every accepted connection and waits for those who serve them.
func (m *Mux) Close() error {
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
	m    *Mux
	once sync.Once
}

func (c *trackedConn) Close() error {
	c.once.Do(func() { c.m.forget(c.Conn) })
	return c.Conn.Close()
}
