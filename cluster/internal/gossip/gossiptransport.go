package gossip

import (
	"context"
	"io"
	"log/slog"
	"net"
	"sync"

	"github.com/hashicorp/memberlist"

	"pushquorum/cluster/internal/connlimit"
)

// gossipTransport is memberlist's, with a bound on the streams that others have open at a time. Memberlist gives each a
// few seconds.
type gossipTransport struct {
	memberlist.NodeAwareTransport
	streams chan net.Conn
	done    chan struct{}
	stop    func()
	open    *connlimit.Newest
}

func newGossipTransport(inner memberlist.NodeAwareTransport, limit int) *gossipTransport {
	t := &gossipTransport{
		NodeAwareTransport: inner, streams: make(chan net.Conn), done: make(chan struct{}),
		open: connlimit.NewNewest(limit),
	}
	t.stop = sync.OnceFunc(func() { close(t.done) })
	go t.pass()
	return t
}

func (t *gossipTransport) pass() {
	for {
		select {
		case conn := <-t.NodeAwareTransport.StreamCh():
			t.open.Add(conn)
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
	s.t.open.Remove(s.Conn)
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
