package main

import (
	"container/list"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// maxHeaderBytes is far above what clients and proxies send. A request that sends as much has it allocated.
	maxHeaderBytes = 64 << 10
	// idleTimeout is how long a connection may be kept for the next request: longer than the usual scrape intervals.
	// When there are too many connections, it is shorter.
	idleTimeout = 3 * time.Minute
	// maxStreams is how many requests at a time a connection of HTTP/2 may carry, and maxUnread how many bytes of their
	// bodies are buffered before a handler reads them.
	maxStreams = 16
	maxUnread  = 64 << 10
	// sendBuffer is the kernel's send buffer, in bytes, of which it uses twice as much. Its own choice would be some
	// megabytes, and it reports room again only when a third is free, so that nobody could tell who reads slowly.
	sendBuffer = 256 << 10
)

// connections bounds how many connections there are to the HTTP port. Beyond that, it closes the one that has been
// without a request for the longest time, so that neither clients that keep connections nor those that open them and
// send nothing shut out the next one. A listener that accepts no more would make the next one wait for as long as they
// like. It is a hook of the server, so that the bound holds for all listeners together.
type connections struct {
	most int

	mu      sync.Mutex
	open    int
	resting *list.List                 // of net.Conn without a request, longest first
	places  map[net.Conn]*list.Element // in resting
}

func newConnections(most int) *connections {
	return &connections{most: most, resting: list.New(), places: map[net.Conn]*list.Element{}}
}

// changed is an http.Server.ConnState.
func (cs *connections) changed(c net.Conn, state http.ConnState) {
	if state == http.StateNew {
		if sender, ok := underTLS(c).(interface{ SetWriteBuffer(bytes int) error }); ok {
			_ = sender.SetWriteBuffer(sendBuffer) // a connection that does not allow it is none the worse
		}
	}
	if surplus := cs.count(c, state); surplus != nil {
		_ = underTLS(surplus).Close() // without the close of TLS, for which its peer may keep us waiting
	}
}

func underTLS(c net.Conn) net.Conn {
	if encrypted, ok := c.(*tls.Conn); ok {
		return encrypted.NetConn()
	}
	return c
}

// count notes the state of a connection, and returns one to close if there are too many.
func (cs *connections) count(c net.Conn, state http.ConnState) (surplus net.Conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if place := cs.places[c]; place != nil {
		cs.resting.Remove(place)
		delete(cs.places, c)
	}
	switch state {
	case http.StateNew:
		cs.open++
		cs.places[c] = cs.resting.PushBack(c)
	case http.StateIdle:
		cs.places[c] = cs.resting.PushBack(c)
	case http.StateHijacked, http.StateClosed:
		cs.open--
	}
	if state != http.StateNew || cs.open <= cs.most {
		return nil
	}
	longest := cs.resting.Front() // c itself at worst
	surplus = longest.Value.(net.Conn)
	cs.resting.Remove(longest)
	delete(cs.places, surplus)
	return surplus
}

// newServer returns a server that gives a request so much time for its headers.
func newServer(handler http.Handler, headers time.Duration, cs *connections, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler: handler, ConnState: cs.changed,
		ReadHeaderTimeout: headers, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: maxUnread,
			MaxReceiveBufferPerStream: maxUnread,
		},
		ErrorLog: slog.NewLogLogger(serverHandler{logger.Handler()}, slog.LevelError),
	}
}
