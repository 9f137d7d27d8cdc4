package api

import (
	"sync"
	"time"
)

// trafficLasts is for how long after one command others are expected.
const trafficLasts = 20 * time.Millisecond

// traffic tells whether commands come in, to whichever replica: from the applied index, which costs them nothing.
type traffic struct {
	store Store
	now   func() time.Time

	mu            sync.Mutex
	seen          uint64 // the index at the last look
	looked, moved time.Time
}

// busy is a page.Busy. Who asks for the first time in a while is told that nobody comes: when the index moved is not known.
func (t *traffic) busy() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, index := t.now(), t.store.Applied()
	if index != t.seen && now.Sub(t.looked) < trafficLasts {
		t.moved = now
	}
	t.seen, t.looked = index, now
	return now.Sub(t.moved) < trafficLasts
}
