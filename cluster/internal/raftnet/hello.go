package raftnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/google/uuid"
)

// Every connection between replicas begins with a hello that says what it is for, whom it is meant for and from which
// cluster; one byte answers. Addresses are reused, so a listener that is not the replica meant must say so: an empty
// replica at the address of a dead one would otherwise acknowledge and vote in its name.
const (
	helloVersion = 2        // 1: a forwarded call had one command
	helloSize    = 2 + 3*16 // kind, version, target, sender, cluster

	// KindRaft and KindRPC are what a connection is for: Raft's own traffic, or calls between replicas.
	KindRaft = 'R'
	KindRPC  = 'P'
)

// Answer is what a replica says to a [Hello], one byte; as an error, why it refuses.
type Answer byte

// What a replica may say to a hello: that it takes the connection, that it is not the replica meant, or that it does
// not take part in that cluster.
const (
	Accepted Answer = iota
	NotMe
	OtherCluster
	helloVersionUnknown
)

// Error implements error; it says what the replica does or is, without its address.
func (a Answer) Error() string {
	switch a {
	case Accepted:
		return "accepted"
	case NotMe:
		return "another replica answers at this address"
	case OtherCluster:
		return "the replica does not take part in this cluster"
	case helloVersionUnknown:
		return "the replica speaks another version of the peer protocol"
	}
	return fmt.Sprintf("refused with code %d", byte(a))
}

// Hello begins a connection.
type Hello struct {
	Kind                    byte      // KindRaft or KindRPC
	Target, Sender, Cluster uuid.UUID // replicas, and a cluster; a zero Target asks whoever is there
}

func (h Hello) encode() []byte {
	b := append(make([]byte, 0, helloSize), h.Kind, helloVersion)
	b = append(b, h.Target[:]...)
	b = append(b, h.Sender[:]...)
	return append(b, h.Cluster[:]...)
}

// decodeHello reads the bytes of a hello; the second value is false for another version or kind.
func decodeHello(b []byte) (Hello, bool) {
	if len(b) != helloSize || b[1] != helloVersion || (b[0] != KindRaft && b[0] != KindRPC) {
		return Hello{}, false
	}
	h := Hello{Kind: b[0]}
	copy(h.Target[:], b[2:])
	copy(h.Sender[:], b[18:])
	copy(h.Cluster[:], b[34:])
	return h, true
}

// DialFunc opens a TCP connection; tests cut it.
type DialFunc func(ctx context.Context, address string) (net.Conn, error)

// Dial connects to a replica and says hello. The error names address and reason; a refusal is an [Answer].
func Dial(ctx context.Context, dial DialFunc, address string, h Hello) (net.Conn, error) {
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

func sayHello(ctx context.Context, conn net.Conn, h Hello) error {
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
	if a := Answer(answer[0]); a != Accepted {
		return a
	}
	if !stop() {
		return ctx.Err()
	}
	return conn.SetDeadline(time.Time{})
}
