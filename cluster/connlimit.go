package cluster

import (
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"

	"github.com/hashicorp/memberlist"
)

const (
	// Of the descriptors that the process may have, the peer port takes one part in descriptorShare at most, and the gossip as well:
	// the rest is for the log, the snapshots and the clients. It is never more than maxConns, which serves a hundred replicas.
	descriptorShare = 8
	maxConns        = 512
	minConns        = 16
	// maxNewcomers is how many connections at a time may not have said yet what they are for.
	maxNewcomers = 64
)

// connLimit is how many connections one port may have at a time.
func connLimit() int {
	return int(min(max(descriptors()/descriptorShare, minConns), maxConns))
}

// newest keeps so many connections: one more closes the oldest. For those that should be done with at once, which those of a flood
// are not.
type newest struct {
	limit int
	mu    sync.Mutex
	conns []net.Conn // oldest first
}

func (n *newest) add(conn net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns = append(n.conns, conn); len(n.conns) > n.limit {
		_ = n.conns[0].Close()
		n.conns = slices.Delete(n.conns, 0, 1)
	}
}

func (n *newest) remove(conn net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = slices.DeleteFunc(n.conns, func(c net.Conn) bool { return c == conn })
}

// gossipTransport is memberlist's, with a bound on the streams that others have open at a time. Memberlist gives each a few seconds.
type gossipTransport struct {
	memberlist.NodeAwareTransport
	streams chan net.Conn
	done    chan struct{}
	stop    func()
	open    newest
}

func newGossipTransport(inner memberlist.NodeAwareTransport, limit int) *gossipTransport {
	t := &gossipTransport{NodeAwareTransport: inner, streams: make(chan net.Conn), done: make(chan struct{}), open: newest{limit: limit}}
	t.stop = sync.OnceFunc(func() { close(t.done) })
	go t.pass()
	return t
}

func (t *gossipTransport) pass() {
	for {
		select {
		case conn := <-t.NodeAwareTransport.StreamCh():
			t.open.add(conn)
			select {
			case t.streams <- &gossipStream{Conn: conn, t: t}:
			case <-t.done:
				_ = conn.Close()
				return
			}
		case <-t.done:
			return
		}
	}
}

// StreamCh implements memberlist.Transport.
func (t *gossipTransport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown implements memberlist.Transport.
func (t *gossipTransport) Shutdown() error {
	defer t.stop() // later: the listener may be handing over a stream
	return t.NodeAwareTransport.Shutdown()
}

type gossipStream struct {
	net.Conn
	t *gossipTransport
}

// Close implements io.Closer.
func (s *gossipStream) Close() error {
	s.t.open.remove(s.Conn)
	return s.Conn.Close()
}

// gossipHandler hands what the transport says to where all of memberlist's lines go.
type gossipHandler struct {
	slog.Handler
	to io.Writer
}

// Enabled implements slog.Handler.
func (gossipHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h gossipHandler) Handle(_ context.Context, r slog.Record) error {
	_, err := io.WriteString(h.to, r.Message)
	return err
}
