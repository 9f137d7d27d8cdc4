package raftnet

import (
	"net"
	"sync"
	"time"
)

// progressConn turns the deadline that Raft sets for a whole request into one for the next piece of it: a batch of
// large pushes or a snapshot takes as long as the network needs, and a peer that takes nothing is noticed all the same.
type progressConn struct {
	net.Conn
	closed func()

	mu   sync.Mutex
	idle time.Duration // from the last deadline set, 0 = none
}

// peerTimeout is how long a peer may take for the next piece of a Raft request, or for its answer.
const peerTimeout = 5 * time.Second

const progressChunk = 256 << 10 // bytes

func (c *progressConn) remember(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle = 0
	if !t.IsZero() {
		c.idle = time.Until(t)
	}
}

// SetDeadline implements net.Conn.
func (c *progressConn) SetDeadline(t time.Time) error {
	c.remember(t)
	return c.Conn.SetDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *progressConn) SetWriteDeadline(t time.Time) error {
	c.remember(t)
	return c.Conn.SetWriteDeadline(t)
}

// Write implements net.Conn.
func (c *progressConn) Write(p []byte) (int, error) {
	written := 0
	for {
		piece := p[written:min(len(p), written+progressChunk)]
		n, err := c.Conn.Write(piece)
		written += n
		if err != nil {
			return written, err
		}
		if err := c.extend(); err != nil {
			return written, err
		}
		if written == len(p) {
			return written, nil
		}
	}
}

// extend moves both deadlines: the answer may be awaited for as long after the last byte.
func (c *progressConn) extend() error {
	c.mu.Lock()
	idle := c.idle
	c.mu.Unlock()
	if idle <= 0 {
		return nil
	}
	return c.Conn.SetDeadline(time.Now().Add(idle))
}

// Close implements net.Conn.
func (c *progressConn) Close() error {
	if c.closed != nil {
		c.closed()
	}
	return c.Conn.Close()
}
