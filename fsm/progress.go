package fsm

import (
	"context"
	"sync"
)

// progress is an index that only grows and that can be waited for.
type progress struct {
	mu      sync.Mutex
	index   uint64
	waiters map[chan struct{}]uint64
}

func (p *progress) current() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.index
}

// advance sets the index and wakes those who waited for it.
func (p *progress) advance(index uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.index = max(p.index, index)
	for c, want := range p.waiters { // any order: each is woken alone, and no result depends on it
		if p.index >= want {
			close(c)
			delete(p.waiters, c)
		}
	}
}

// wait returns nil when the index has been reached, and the context's error when it ends before that.
func (p *progress) wait(ctx context.Context, index uint64) error {
	p.mu.Lock()
	if p.index >= index {
		p.mu.Unlock()
		return nil
	}
	if p.waiters == nil {
		p.waiters = map[chan struct{}]uint64{}
	}
	c := make(chan struct{})
	p.waiters[c] = index
	p.mu.Unlock()

	select { // any order: it tells one who waits, and changes nothing that is stored
	case <-c:
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.waiters, c)
		return ctx.Err()
	}
}
