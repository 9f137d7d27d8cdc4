package api

import (
	"sync"
	"time"
)

// trafficLasts is for how long after one command others are expected.
const trafficLasts = 20 * time.Millisecond

// traffic tells whether commands come in, on whichever replica. It watches the applied index, which costs a push
// nothing.
type traffic struct {
	store Store
	now   func() time.Time

	mu            sync.Mutex
	seen          uint64 // the index at the last question
	looked, moved time.Time
}

// pushesActive is a page.Busy. It returns false at the first question in a while, because it is not known when the
// index moved.
func (t *traffic) pushesActive() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, index := t.now(), t.store.Applied()
	if index != t.seen && now.Sub(t.looked) < trafficLasts {
		t.moved = now
	}
	t.seen, t.looked = index, now
	return now.Sub(t.moved) < trafficLasts
}
