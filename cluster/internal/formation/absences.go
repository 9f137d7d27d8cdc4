package formation

import (
	"iter"
	"maps"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Absences counts how long each server has been missing. Only time in which somebody looked counts: a leader that was
// paused for an hour has not seen the others missing for an hour. Each leader tells its followers what it has counted,
// and the next one goes on from there: else a cluster that changes its leader within each grace never removes anybody.
type Absences struct {
	every time.Duration // between two looks

	mu     sync.Mutex
	since  map[uuid.UUID]time.Duration
	looked time.Time // by this replica, as the leader
	heard  time.Time // when another leader last told
}

// maxHandover is how long what a leader has told is worth going on from: after that its servers may have been back
// meanwhile.
const maxHandover = time.Minute

// NewAbsences makes the count of a replica that looks so often while it leads.
func NewAbsences(every time.Duration) *Absences {
	return &Absences{every: every, since: map[uuid.UUID]time.Duration{}}
}

// Observe notes which of the servers are there now. The first look at which one is missing counts as one interval.
func (a *Absences) Observe(now time.Time, servers iter.Seq[uuid.UUID], there map[uuid.UUID]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	passed := a.every
	if !a.looked.IsZero() {
		passed = min(now.Sub(a.looked), 2*a.every)
	}
	a.looked = now
	next := map[uuid.UUID]time.Duration{}
	for id := range servers {
		if !there[id] {
			next[id] = a.since[id] + passed
		}
	}
	a.since = next
}

// Of is how long a server has been missing, 0 when it is there.
func (a *Absences) Of(id uuid.UUID) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.since[id]
}

// TakeOver goes on from what the present leader has counted.
func (a *Absences) TakeOver(now time.Time, counted map[uuid.UUID]time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.looked, a.heard, a.since = time.Time{}, now, map[uuid.UUID]time.Duration{}
	for id, long := range counted {
		a.since[id] = max(0, long)
	}
}

// Counted is how long each missing server has been missing, for the others to take over.
func (a *Absences) Counted() map[uuid.UUID]time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.since)
}

// Lead is the start of a new leader, who goes on from what was counted last, by itself or by another, unless that is
// long ago.
func (a *Absences) Lead(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.heard) > maxHandover && now.Sub(a.looked) > maxHandover {
		a.since = map[uuid.UUID]time.Duration{}
	}
	a.looked = time.Time{}
}
