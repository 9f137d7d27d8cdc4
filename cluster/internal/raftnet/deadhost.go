package raftnet

import (
	"context"
	"net"
	"time"
)

// A host that is gone closes nothing: the kernel goes on sending for a quarter of an hour before it says so. On a
// connection between replicas it asks an idle host after a while whether it is there, and gives up when what was sent
// is not taken for deadHostAfter.
const deadHostAfter = peerTimeout

func hostProbes() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 4}
}

// DialTCP opens a connection to a replica.
func DialTCP(ctx context.Context, address string) (net.Conn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	watchHost(conn)
	return conn, nil
}

// watchHost has the kernel notice when the host at the other end is gone. Where it cannot, the replica's own deadlines
// do.
func watchHost(conn net.Conn) {
	if c, ok := conn.(*net.TCPConn); ok {
		_ = c.SetKeepAliveConfig(hostProbes())
		_ = setUserTimeout(c, deadHostAfter)
	}
}
