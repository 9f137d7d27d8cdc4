package gossip

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/hashicorp/memberlist"

	"pushquorum/cluster/internal/testkit"
)

func TestWhatTheGossipsTransportSaysIsInTheLog(t *testing.T) {
	var said strings.Builder
	slog.NewLogLogger(gossipHandler{slog.DiscardHandler, &said}, slog.LevelInfo).Printf("[ERR] memberlist: %d", 7)
	if said.String() != "[ERR] memberlist: 7" {
		t.Errorf("it says %q", said.String())
	}
}

func TestTheStreamsOfTheGossipAreBounded(t *testing.T) {
	inner, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{BindAddrs: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	const limit = 16
	g := newGossipTransport(inner, limit)
	go func() {
		for {
			select {
			case conn := <-g.StreamCh():
				go func() { // as memberlist does
					defer conn.Close()
					_, _ = io.ReadFull(conn, make([]byte, 1))
				}()
			case <-g.done:
				return
			}
		}
	}()
	address := net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: inner.GetAutoBindPort()}
	open := testkit.Flood(t, address.String(), 1000)
	testkit.Eventually(t, "nearly all are closed", func() bool { return open() <= limit })
	conn, err := g.DialTimeout(address.String(), testkit.Deadline)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a stream that says something is not served: %v", err)
	}
	if err := g.Shutdown(); err != nil {
		t.Error(err)
	}
}
