package api

import (
	"sync"
	"sync/atomic"
	"time"
)

// pinned bounds the memory that answers keep from being freed that are made of a state while they are sent: whatever
// has been replaced in the store since each began. Together they may keep as much as may be stored. Beyond that, the
// client that has read nothing for the longest time is cut off; beyond twice as much, also clients that read, the one
// that began first before the others. It is checked with each push, and with each write to such a client.
type pinned struct {
	store Store
	limit int64        // bytes; 0: any number
	count atomic.Int32 // len(clients), read without mu

	mu      sync.Mutex
	clients map[*recipient]pin
}

// pin is how much was stored, and had been replaced, when a client's answer began.
type pin struct{ stored, replaced int64 }

func newPinned(store Store, limit int64) *pinned {
	return &pinned{store: store, limit: limit, clients: map[*recipient]pin{}}
}

// hold registers a client that is about to be sent the state. It returns the function that removes it.
func (p *pinned) hold(to *recipient) (release func()) {
	stored, replaced := p.store.Weight()
	p.mu.Lock()
	p.clients[to] = pin{stored, replaced}
	p.count.Store(int32(len(p.clients)))
	p.mu.Unlock()
	if to != nil { // else it is a test's
		to.pinned = p
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.clients, to)
		p.count.Store(int32(len(p.clients)))
	}
}

// relieve cuts off clients until the bound holds.
func (p *pinned) relieve() {
	if p.count.Load() == 0 || p.limit == 0 {
		return
	}
	stored, replaced := p.store.Weight()
	for _, to := range p.surplus(max(stored, p.limit), replaced) {
		to.cutOff()
	}
}

// surplus removes the clients that are to be cut off, and returns them.
func (p *pinned) surplus(room, replaced int64) (out []*recipient) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := func(of pin) int64 { return min(replaced-of.replaced, of.stored) }
	all := int64(0)
	for _, of := range p.clients {
		all += kept(of)
	}
	for all > room && len(p.clients) > 0 {
		slowest, stalls := p.slowest()
		if stalls == 0 && all <= 2*room {
			break
		}
		all -= kept(p.clients[slowest])
		delete(p.clients, slowest)
		out = append(out, slowest)
	}
	return out
}

func (p *pinned) slowest() (slowest *recipient, longest time.Duration) {
	longest = -1
	for to, of := range p.clients {
		stalls := to.stalls().Truncate(stalledUnderPressure / 5) // so that nearly equal ones are told apart by age
		if stalls > longest || stalls == longest && of.replaced < p.clients[slowest].replaced {
			slowest, longest = to, stalls
		}
	}
	return slowest, longest
}
