package raftnet

import (
	"net"
	"sync"
	"time"
)

// heardConn knows for how long the peer has owed an answer without giving a byte. That counts over calls and not within
// each of them: most give up before silentAfter, and the next one must not begin anew.
type heardConn struct {
	net.Conn

	mu      sync.Mutex
	waiting int // calls
	// of the oldest question without an answer, or of the last byte if that came later; zero: nothing is owed
	since time.Time
}

func (c *heardConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard()
	}
	return n, err
}

// heard notes a byte of the peer. What was given up before may never be answered any more, and is not owed.
func (c *heardConn) heard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = time.Time{}
	if c.waiting > 0 {
		c.since = time.Now()
	}
}

// asked notes a question, when it has been written: how long that takes is Write's business.
func (c *heardConn) asked() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting++
	if c.since.IsZero() {
		c.since = time.Now()
	}
}

// answered notes that a question is open no longer, and gaveUp that nobody waits for its answer.
func (c *heardConn) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting--
	if c.waiting == 0 {
		c.since = time.Time{}
	}
}

func (c *heardConn) gaveUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting--
}

// left is how much longer the peer may be silent; not positive: it is dead.
func (c *heardConn) left() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.since.IsZero() {
		return silentAfter
	}
	return silentAfter - time.Since(c.since)
}

// writePiece is so small that a living peer takes it within silentAfter over any network that will do. Bytes.
const writePiece = 64 << 10

// Write fails when the peer takes nothing for silentAfter, as when its process is stopped and the buffers are full.
// Calls write one after the other: one that waited for ever would hold up all others, whatever their deadlines.
func (c *heardConn) Write(p []byte) (int, error) {
	written := 0
	for {
		if err := c.SetWriteDeadline(time.Now().Add(silentAfter)); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(p[written:min(len(p), written+writePiece)])
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}
