// Package connlimit bounds the connections that others open, because each takes one of the descriptors that the log,
// the snapshots and the clients need.
package connlimit

import (
	"net"
	"slices"
	"sync"
)

const (
	// Of the descriptors that the process may have, one port takes one part in descriptorShare at most: the rest is for
	// the log, the snapshots and the clients. It is never more than maxConns, which serves a hundred replicas.
	descriptorShare = 8
	maxConns        = 512
	minConns        = 16
)

// PerPort is how many connections one port may have at a time.
func PerPort() int {
	return int(min(max(descriptors()/descriptorShare, minConns), maxConns))
}

// Newest keeps so many connections: one more closes the oldest. It is for those that should be done with at once, which
// those of a flood are not.
type Newest struct {
	limit int
	mu    sync.Mutex
	conns []net.Conn // oldest first
}

// NewNewest makes a Newest that keeps so many.
func NewNewest(limit int) *Newest { return &Newest{limit: limit} }

// Add takes a connection in.
func (n *Newest) Add(conn net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns = append(n.conns, conn); len(n.conns) > n.limit {
		_ = n.conns[0].Close()
		n.conns = slices.Delete(n.conns, 0, 1)
	}
}

// Remove forgets a connection, which is closed or counted elsewhere; one that it does not hold it passes over.
func (n *Newest) Remove(conn net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns = slices.DeleteFunc(n.conns, func(c net.Conn) bool { return c == conn })
}
