package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestConnectionsThatRestGiveWay: there are never more than may be, and those that have a request are not closed for
// others.
func TestConnectionsThatRestGiveWay(t *testing.T) {
	const most = 4
	working, end := make(chan struct{}), make(chan struct{})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(working)
			<-end
		}
	}))
	cs := newConnections(most)
	serve := newServer(server.Config.Handler, time.Minute, cs, slog.New(slog.DiscardHandler))
	server.Config = serve
	server.Start()
	defer server.Close()
	dial := func() net.Conn {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	get := func(conn net.Conn, path string) error {
		if _, err := io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
			return err
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil {
			_ = res.Body.Close()
		}
		return err
	}
	slow, answered := dial(), make(chan error, 1)
	go func() { answered <- get(slow, "/slow") }()
	<-working
	idle := dial()
	if err := get(idle, "/"); err != nil {
		t.Fatal(err)
	}
	for range 20 * most {
		dial() // and say nothing
	}
	last := dial()
	if err := get(last, "/"); err != nil {
		t.Errorf("the last one was shut out: %v", err)
	}
	if err := idle.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := idle.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the one that was idle for the longest time was not closed")
	}
	close(end)
	if err := <-answered; err != nil {
		t.Errorf("one with a request was closed: %v", err)
	}
	for cs.tooMany() { // until the server has seen that what it has closed is
		runtime.Gosched()
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.open > most || cs.resting.Len() > cs.open || len(cs.places) != cs.resting.Len() {
		t.Errorf("%d are open, %d rest, %d are known to", cs.open, cs.resting.Len(), len(cs.places))
	}
}

func (cs *connections) tooMany() bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.open > cs.most
}

func TestHeadersAreBounded(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.Config = newServer(http.NotFoundHandler(), time.Minute, newConnections(10), slog.New(slog.DiscardHandler))
	server.Start()
	defer server.Close()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, server.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Long", strings.Repeat("a", 2*maxHeaderBytes))
	res, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("want 431, got %d", res.StatusCode)
	}
}
