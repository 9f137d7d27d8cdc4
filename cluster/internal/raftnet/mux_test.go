package raftnet

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"pushquorum/cluster/internal/testkit"
)

// Connections that do nothing must leave descriptors for the log, and a replica that has something to say must get
// through.
func TestIdleConnectionsTakeFewDescriptorsAndKeepNobodyOut(t *testing.T) {
	const idle = 5000
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{}, 100)
	m := NewMux(
		ln,
		slog.New(slog.DiscardHandler),
		func(Hello) Answer { return Accepted },
		func(net.Conn) { served <- struct{}{} },
	)
	m.Start()
	defer m.Close()
	address := ln.Addr().String()
	open := testkit.Flood(t, address, idle)
	testkit.Eventually(t, "nearly all are closed", func() bool { return open() <= maxNewcomers })
	testkit.Eventually(t, "those that are closed are forgotten", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.conns) <= maxNewcomers
	})
	conn, err := Dial(testkit.Context(t), DialTCP, address, Hello{Kind: KindRPC, Target: uuid.New()})
	if err != nil {
		t.Fatalf("a replica does not get through: %v", err)
	}
	defer conn.Close()
	<-served
}

func TestTheConnectionsOfOnePortAreBounded(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	logs := &testkit.LogBuffer{}
	m := NewMux(
		ln,
		slog.New(slog.NewTextHandler(logs, nil)),
		func(Hello) Answer { return Accepted },
		func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
	)
	m.limit = 3
	m.Start()
	defer m.Close()
	dial := func() (net.Conn, error) {
		return Dial(testkit.Context(t), DialTCP, ln.Addr().String(), Hello{Kind: KindRPC, Target: uuid.New()})
	}
	var conns []net.Conn
	for range 3 {
		conn, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
		t.Cleanup(func() { _ = conn.Close() })
	}
	for range 2 {
		if conn, err := dial(); err == nil {
			_ = conn.Close()
			t.Error("there is one too many")
		}
	}
	if n := strings.Count(logs.String(), "there are too many"); n != 1 {
		t.Errorf("it was said %d times", n)
	}
	_ = conns[0].Close()
	testkit.Eventually(t, "there is a place again", func() bool {
		conn, err := dial()
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// Who asks who is here need not know anybody, and could stay for ever.
func TestWhoAsksWhoIsHereIsNotServedForEver(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	deadlines := make(chan time.Time, 2)
	m := NewMux(
		&notingListener{ln, deadlines},
		slog.New(slog.DiscardHandler),
		func(Hello) Answer { return Accepted },
		func(net.Conn) {},
	)
	m.Start()
	defer m.Close()
	conn, err := Dial(testkit.Context(t), DialTCP, ln.Addr().String(), Hello{Kind: KindRPC})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 2 {
		<-deadlines // of the hello, and that it has none any more
	}
	if at := <-deadlines; at.IsZero() || time.Until(at) > strangerTimeout {
		t.Errorf("it is served until %s", at)
	}
}

type notingListener struct {
	net.Listener
	deadlines chan time.Time
}

func (l *notingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return &notingConn{conn, l.deadlines}, err
}

type notingConn struct {
	net.Conn
	deadlines chan time.Time
}

func (c *notingConn) SetDeadline(at time.Time) error {
	c.deadlines <- at
	return c.Conn.SetDeadline(at)
}
