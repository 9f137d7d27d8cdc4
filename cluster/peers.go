package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"sync"
	"time"

	"github.com/google/uuid"
)

const (
	dialTimeout = time.Second
	// silentAfter: a connection that has not given a byte for so long while there was a question to answer is taken for
	// dead.
	silentAfter = 2 * time.Second
)

// peers calls the other replicas. There is one connection to each, shared by all calls; it is dialled when it is
// needed and thrown away at the first error, so that a call after a failed one always dials afresh.
type peers struct {
	where   func(id uuid.UUID) string // host:port, "" when it is not known
	dial    func(ctx context.Context, id uuid.UUID, address string) (net.Conn, error)
	timeout time.Duration

	mu     sync.Mutex
	conns  map[uuid.UUID]*peerConn
	closed bool
	wg     sync.WaitGroup
}

// peerConn is a connection being dialled, or dialled.
type peerConn struct {
	address string        // that it leads to
	ready   chan struct{} // closed when client or err is set
	client  *rpc.Client
	conn    *heardConn
	err     error
}

// heardConn knows for how long the peer has owed an answer without giving a byte. That counts over calls and not within
// each of them: most give up before silentAfter, and the next one must not begin anew.
type heardConn struct {
	net.Conn

	mu      sync.Mutex
	waiting int       // calls
	since   time.Time // of the oldest question without an answer, or of the last byte if that came later; zero: nothing is owed
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

func newPeers(where func(uuid.UUID) string, dial func(context.Context, uuid.UUID, string) (net.Conn, error)) *peers {
	return &peers{where: where, dial: dial, timeout: dialTimeout, conns: map[uuid.UUID]*peerConn{}}
}

// errNotSent is wrapped when the peer cannot have seen the call.
var errNotSent = errors.New("not sent")

// errRemote is wrapped when the peer answered with an error.
var errRemote = errors.New("the replica answered")

// errSilent is why a call failed whose connection was given up; the peer may have seen it.
var errSilent = fmt.Errorf("nothing was heard of it for %s", silentAfter)

// call calls a method of a peer until ctx ends, or silentAfter later if the peer does not even take the question.
func (p *peers) call(ctx context.Context, id uuid.UUID, method string, args, reply any) error {
	if err := ctx.Err(); err != nil { // nobody is dialled for a call that is over
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	pc, err := p.get(ctx, id)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotSent, err)
	}
	call := pc.client.Go("Peer."+method, args, reply, make(chan *rpc.Call, 1))
	pc.conn.asked()
	silent := time.NewTimer(pc.conn.left())
	defer silent.Stop()
	for {
		select {
		case <-call.Done:
			pc.conn.answered()
			return p.finish(id, pc, call.Error)
		case <-ctx.Done():
			pc.conn.gaveUp()
			if pc.conn.left() <= 0 {
				p.drop(id, pc)
			}
			return ctx.Err()
		case <-silent.C:
			if left := pc.conn.left(); left > 0 {
				silent.Reset(left)
				continue
			}
			pc.conn.gaveUp()
			p.drop(id, pc)
			return errSilent
		}
	}
}

// finish is the end of a call that was answered, or whose connection broke.
func (p *peers) finish(id uuid.UUID, pc *peerConn, err error) error {
	var remote rpc.ServerError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &remote):
		return fmt.Errorf("%w: %s", errRemote, string(remote))
	}
	p.drop(id, pc)
	return err
}

// get gives the connection to a peer; concurrent callers share one dial.
func (p *peers) get(ctx context.Context, id uuid.UUID) (*peerConn, error) {
	for {
		pc, err := p.pick(id)
		if err != nil {
			return nil, err
		}
		select {
		case <-pc.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if pc.err == nil && pc.conn.left() <= 0 {
			p.drop(id, pc) // the calls that it did not answer had less time than that
			continue
		}
		return pc, pc.err
	}
}

// pick gives the connection to a peer, or begins to make one.
func (p *peers) pick(id uuid.UUID) (*peerConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosing
	}
	pc := p.conns[id]
	if pc == nil {
		// The address is asked for under the lock: moved comes after it has changed, and finds this connection.
		pc = &peerConn{address: p.where(id), ready: make(chan struct{})}
		p.conns[id] = pc
		p.wg.Go(func() { p.connect(id, pc) })
	}
	return pc, nil
}

// moved gives up the connection to where a peer no longer is: a host that is gone does not close it, and would be
// waited for.
func (p *peers) moved(id uuid.UUID, address string) {
	p.mu.Lock()
	pc := p.conns[id]
	if pc == nil || pc.address == address {
		p.mu.Unlock()
		return
	}
	delete(p.conns, id) // should it be in the making, connect sees that and closes it
	p.mu.Unlock()
	select {
	case <-pc.ready:
		if pc.client != nil {
			_ = pc.client.Close()
		}
	default:
	}
}

func (p *peers) connect(id uuid.UUID, pc *peerConn) {
	ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
	defer cancel()
	conn, err := p.dial(ctx, id, pc.address)
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
