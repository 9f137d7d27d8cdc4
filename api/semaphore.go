package api

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// semaphore bounds how many bytes, or other things, are in use at a time. A caller that holds none of them may wait for
// its turn (acquire). A caller that holds some and needs more is told at once whether there are (tryAcquire), because
// two that wait for each other would wait for ever. It is not golang.org/x/sync/semaphore, because TryAcquire fails
// there as long as anybody waits, and then nobody who holds some could finish.
type semaphore struct {
	size int64

	used  atomic.Int64 // for gauges; changed under mu
	mu    sync.Mutex
	queue []*waiter // in the order in which they came
}

type waiter struct {
	n     int64
	ready chan struct{} // closed when it has got what it waits for
}

// maxWaiting is how many may wait for a semaphore at a time.
const maxWaiting = 256

var (
	errQueue = errors.New("too many are waiting already")
	errWait  = errors.New("the wait was too long")
	errTaken = errors.New("all is taken")
)

func newSemaphore(size int64) *semaphore { return &semaphore{size: size} }

// tryAcquire takes n without waiting, and returns false if there are not as many.
func (s *semaphore) tryAcquire(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tryAcquireLocked(n)
}

func (s *semaphore) tryAcquireLocked(n int64) bool {
	if s.used.Load()+n > s.size {
		return false
	}
	s.used.Add(n)
	return true
}

// acquire takes n, and waits for its turn and for them until ctx ends or longest has passed. n is at most the size. The
// errors are errQueue, errWait and those of ctx.
func (s *semaphore) acquire(ctx context.Context, n int64, longest time.Duration) error {
	s.mu.Lock()
	if len(s.queue) == 0 && s.tryAcquireLocked(n) {
		s.mu.Unlock()
		return nil
	}
	if len(s.queue) >= maxWaiting {
		s.mu.Unlock()
		return errQueue
	}
	w := &waiter{n, make(chan struct{})}
	s.queue = append(s.queue, w)
	s.mu.Unlock()
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-w.ready:
		return nil
	case <-timer.C:
		return s.abandonWait(w, errWait)
	case <-ctx.Done():
		return s.abandonWait(w, ctx.Err())
	}
}

// abandonWait takes w out of the queue and returns the reason, unless it has got what it waited for just now.
func (s *semaphore) abandonWait(w *waiter, reason error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.queue, w)
	if i < 0 {
		return nil
	}
	s.queue = slices.Delete(s.queue, i, i+1)
	s.wakeWaitersLocked() // the next one may need less
	return reason
}

// release gives n back.
func (s *semaphore) release(n int64) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used.Add(-n)
	s.wakeWaitersLocked()
}

func (s *semaphore) wakeWaitersLocked() {
	for len(s.queue) > 0 && s.tryAcquireLocked(s.queue[0].n) {
		close(s.queue[0].ready)
		s.queue = s.queue[1:]
	}
}
