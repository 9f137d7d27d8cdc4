package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

const (
	dialTimeout = time.Second
	// silentAfter: a connection that has not given a byte for so long while a call waited on it is taken for dead.
	silentAfter = 2 * time.Second
)

// peers calls the other replicas. There is one connection to each, shared by all calls; it is dialled when it is
// needed and thrown away at the first error, so that a call after a failed one always dials afresh.
type peers struct {
	dial    func(ctx context.Context, id uuid.UUID) (net.Conn, error)
	timeout time.Duration

	mu     sync.Mutex
	conns  map[uuid.UUID]*peerConn
	closed bool
	wg     sync.WaitGroup
}

// peerConn is a connection being dialled, or dialled.
type peerConn struct {
	ready  chan struct{} // closed when client or err is set
	client *rpc.Client
	conn   *heardConn
	err    error
}

// heardConn remembers when the peer was last heard of.
type heardConn struct {
	net.Conn
	heard atomic.Int64 // Unix nanoseconds
}

func (c *heardConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard.Store(time.Now().UnixNano())
	}
	return n, err
}

// writePiece is so small that a living peer takes it within silentAfter over any network that will do. Bytes.
const writePiece = 64 << 10

// Write fails when the peer takes nothing for silentAfter, as when its process is stopped and the buffers are full. Calls write one
// after the other: one that waited for ever would hold up all others, whatever their deadlines.
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

func newPeers(dial func(context.Context, uuid.UUID) (net.Conn, error)) *peers {
	return &peers{dial: dial, timeout: dialTimeout, conns: map[uuid.UUID]*peerConn{}}
}

// errNotSent is wrapped when the peer cannot have seen the call.
var errNotSent = errors.New("not sent")

// errRemote is wrapped when the peer answered with an error.
var errRemote = errors.New("the replica answered")

// call calls a method of a peer until ctx ends, or silentAfter later if the peer does not even take the question.
func (p *peers) call(ctx context.Context, id uuid.UUID, method string, args, reply any) error {
	pc, err := p.get(ctx, id)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	began := time.Now()
	call := pc.client.Go("Peer."+method, args, reply, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
	case <-ctx.Done():
		if time.Since(began) >= silentAfter && pc.conn.heard.Load() < began.UnixNano() {
			p.drop(id, pc)
		}
		return ctx.Err()
	}
	var remote rpc.ServerError
	switch {
	case call.Error == nil:
		return nil
	case errors.As(call.Error, &remote):
		return fmt.Errorf("%w: %s", errRemote, string(remote))
	}
	p.drop(id, pc)
	return call.Error
}

// get gives the connection to a peer; concurrent callers share one dial.
func (p *peers) get(ctx context.Context, id uuid.UUID) (*peerConn, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errClosing
	}
	pc := p.conns[id]
	if pc == nil {
		pc = &peerConn{ready: make(chan struct{})}
		p.conns[id] = pc
		p.wg.Go(func() { p.connect(id, pc) })
	}
	p.mu.Unlock()
	select {
	case <-pc.ready:
		return pc, pc.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *peers) connect(id uuid.UUID, pc *peerConn) {
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
	defer cancel()
	conn, err := p.dial(ctx, id)
	if err == nil {
		pc.conn = &heardConn{Conn: conn}
		pc.client = rpc.NewClient(pc.conn)
	} else {
		pc.err = err
	}
	close(pc.ready)
	p.mu.Lock()
	gone := p.closed || p.conns[id] != pc
	if err != nil && !gone {
		delete(p.conns, id)
	}
	p.mu.Unlock()
	if gone && pc.client != nil {
		_ = pc.client.Close()
	}
}

// drop closes a connection and forgets it; calls waiting on it fail at once.
func (p *peers) drop(id uuid.UUID, pc *peerConn) {
	p.mu.Lock()
	if p.conns[id] == pc {
		delete(p.conns, id)
	}
	p.mu.Unlock()
	_ = pc.client.Close()
}

// dropAll closes every connection; the next calls dial again.
func (p *peers) dropAll() {
	p.mu.Lock()
	conns := p.conns
	p.conns = map[uuid.UUID]*peerConn{}
	p.mu.Unlock()
	for _, pc := range conns {
		<-pc.ready // at most the dial timeout
		if pc.client != nil {
			_ = pc.client.Close()
		}
	}
}

// Close fails all calls, now and later, and waits for dials under way.
func (p *peers) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.dropAll()
	p.wg.Wait()
}
