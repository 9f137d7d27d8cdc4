package api

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// laneWait is how long an answer waits for its turn. Whoever waits holds nothing; but those in front may take long.
const laneWait = 10 * time.Second

// lane lets few answers of a kind be made at a time, because each of them holds memory, and a state that may have been replaced,
// until the client has taken it. While others wait, who stalls is cut.
type lane struct {
	what  string // is made
	turns chan struct{}

	mu     sync.Mutex
	inside map[*recipient]struct{}
}

func newLane(what string, width int) *lane {
	return &lane{what: what, turns: make(chan struct{}, width), inside: map[*recipient]struct{}{}}
}

// enter waits for a turn. It returns the function that gives it back, or why there is none.
func (l *lane) enter(ctx context.Context, to *recipient) (leave func(), p *problem) {
	select {
	case l.turns <- struct{}{}:
		return l.entered(to), nil
	default:
	}
	look := time.NewTicker(stalledUnderPressure / 2)
	defer look.Stop()
	for looks := int(laneWait / (stalledUnderPressure / 2)); looks > 0; looks-- {
		l.cutStalled()
		select {
		case l.turns <- struct{}{}:
			return l.entered(to), nil
		case <-ctx.Done():
			return nil, &problem{http.StatusServiceUnavailable, "the client went away while it waited for " + l.what}
		case <-look.C:
		}
	}
	return nil, &problem{http.StatusServiceUnavailable, fmt.Sprintf(
		"%d clients are being sent %s, and none was done within %s: try again", cap(l.turns), l.what, laneWait,
	)}
}

func (l *lane) entered(to *recipient) (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside[to] = struct{}{}
	return func() {
		l.mu.Lock()
		delete(l.inside, to)
		l.mu.Unlock()
		<-l.turns
	}
}

func (l *lane) cutStalled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for to := range l.inside {
		to.cutIfStalled()
	}
}
