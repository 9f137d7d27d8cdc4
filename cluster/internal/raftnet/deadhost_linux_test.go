package raftnet

import (
	"errors"
	"log/slog"
	"net"
	"testing"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"pushquorum/cluster/internal/testkit"
)

// userTimeout asks the kernel for the bound of a connection, in milliseconds.
func userTimeout(conn net.Conn) (ms int, err error) {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var inner error
	err = raw.Control(
		func(fd uintptr) { ms, inner = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) },
	)
	return ms, errors.Join(err, inner)
}

func TestTheKernelGivesUpADeadHostAtBothEnds(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		ms  int
		err error
	}
	accepted := make(chan answer, 1)
	m := NewMux(ln, slog.New(slog.DiscardHandler), func(Hello) Answer { return Accepted }, func(c net.Conn) {
		ms, err := userTimeout(c.(*trackedConn).Conn)
		accepted <- answer{ms, err}
	})
	m.Start()
	t.Cleanup(func() { _ = m.Close() })
	conn, err := Dial(testkit.Context(t), DialTCP, ln.Addr().String(), Hello{Kind: KindRPC, Target: uuid.New()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	want := int(deadHostAfter.Milliseconds())
	if got, err := userTimeout(conn); got != want || err != nil {
		t.Errorf("the end that dialled: %d ms, %v; want %d", got, err, want)
	}
	if got := <-accepted; got.ms != want || got.err != nil {
		t.Errorf("the end that accepted: %d ms, %v; want %d", got.ms, got.err, want)
	}
}
