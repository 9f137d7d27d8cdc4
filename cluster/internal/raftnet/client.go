package raftnet

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

// Client calls the other replicas. There is one connection to each, shared by all calls; it is dialled when it is
// needed and thrown away at the first error, so that a call after a failed one always dials afresh.
type Client struct {
	where   func(id uuid.UUID) string // host:port, "" when it is not known
	dial    func(ctx context.Context, id uuid.UUID, address string) (net.Conn, error)
	timeout time.Duration
	closing error // of calls after Close

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

// NewClient makes a Client. where tells at which host:port a replica is, "" when that is not known, and dial opens a
// connection there; closing is the error of calls after Close.
func NewClient(
	where func(uuid.UUID) string,
	closing error,
	dial func(context.Context, uuid.UUID, string) (net.Conn, error),
) *Client {
	return &Client{where: where, closing: closing, dial: dial, timeout: dialTimeout, conns: map[uuid.UUID]*peerConn{}}
}

// ErrNotSent is wrapped when the peer cannot have seen the call.
var ErrNotSent = errors.New("not sent")

// errRemote is wrapped when the peer answered with an error.
var errRemote = errors.New("the replica answered")

// errSilent is why a call failed whose connection was given up; the peer may have seen it.
var errSilent = fmt.Errorf("nothing was heard of it for %s", silentAfter)

// Call calls a method of a replica and waits for the answer until ctx ends, or silentAfter later if the replica does
// not even take the question. An error that does not wrap [ErrNotSent] leaves open whether the replica has seen the
// call; an answer that is late may be written into reply even after an error.
func (p *Client) Call(ctx context.Context, id uuid.UUID, method string, args, reply any) error {
	if err := ctx.Err(); err != nil { // nobody is dialled for a call that is over
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	pc, err := p.get(ctx, id)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotSent, err)
	}
	call := pc.client.Go(peerPrefix+method, args, reply, make(chan *rpc.Call, 1))
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
func (p *Client) finish(id uuid.UUID, pc *peerConn, err error) error {
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
func (p *Client) get(ctx context.Context, id uuid.UUID) (*peerConn, error) {
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
func (p *Client) pick(id uuid.UUID) (*peerConn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, p.closing
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

// Moved gives up the connection to where a peer no longer is: a host that is gone does not close it, and would be
// waited for.
func (p *Client) Moved(id uuid.UUID, address string) {
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

func (p *Client) connect(id uuid.UUID, pc *peerConn) {
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
func (p *Client) drop(id uuid.UUID, pc *peerConn) {
	p.mu.Lock()
	if p.conns[id] == pc {
		delete(p.conns, id)
	}
	p.mu.Unlock()
	_ = pc.client.Close()
}

// dropAll closes every connection; the next calls dial again.
func (p *Client) dropAll() {
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
func (p *Client) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.dropAll()
	p.wg.Wait()
}
