package api

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// pool is a number of bytes, or of other things, that may be in use at a time. Whoever has none of it yet may wait
// for its turn; whoever has some and needs more is told at once whether there is, because two that wait for each
// other's would wait for ever. It is not golang.org/x/sync/semaphore because a TryAcquire there fails as long as
// anybody waits: then nobody who has some could finish.
type pool struct {
	size int64

	taken atomic.Int64 // for gauges; changed under mu
	mu    sync.Mutex
	queue []*waiter // in the order in which they came
}

type waiter struct {
	n     int64
	ready chan struct{} // closed when it has got what it waits for
}

// maxWaiting is how many may wait for a pool at a time.
const maxWaiting = 256

var (
	errQueue = errors.New("too many are waiting already")
	errWait  = errors.New("the wait was too long")
	errTaken = errors.New("all is taken")
)

func newPool(size int64) *pool { return &pool{size: size} }

// try takes n if there are as many now.
func (p *pool) try(n int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tryLocked(n)
}

func (p *pool) tryLocked(n int64) bool {
	if p.taken.Load()+n > p.size {
		return false
	}
	p.taken.Add(n)
	return true
}

// take waits until there are n, in turn, but not longer than that. n is at most the size.
func (p *pool) take(ctx context.Context, n int64, longest time.Duration) error {
	p.mu.Lock()
	if len(p.queue) == 0 && p.tryLocked(n) {
		p.mu.Unlock()
		return nil
	}
	if len(p.queue) >= maxWaiting {
		p.mu.Unlock()
		return errQueue
	}
	w := &waiter{n, make(chan struct{})}
	p.queue = append(p.queue, w)
	p.mu.Unlock()
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-w.ready:
		return nil
	case <-timer.C:
		return p.abandon(w, errWait)
	case <-ctx.Done():
		return p.abandon(w, ctx.Err())
	}
}

// abandon takes w out of the queue and returns the reason, unless it has got what it waited for just now.
func (p *pool) abandon(w *waiter, reason error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.queue, w)
	if i < 0 {
		return nil
	}
	p.queue = slices.Delete(p.queue, i, i+1)
	p.serveLocked() // what was behind it may need less
	return reason
}

// give gives n back.
func (p *pool) give(n int64) {
	if n == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken.Add(-n)
	p.serveLocked()
}

func (p *pool) serveLocked() {
	for len(p.queue) > 0 && p.tryLocked(p.queue[0].n) {
		close(p.queue[0].ready)
		p.queue = p.queue[1:]
	}
}
