package api

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	// laneWait is how long an answer waits for its turn: long, because who waits holds nothing, and those in front may
	// take their time.
	laneWait = 10 * time.Second
	// laneCheckInterval is how often those who wait look for a client in front that stalls.
	laneCheckInterval = stalledUnderPressure / 5
)

// lane bounds how many answers of one kind are made at a time, because each holds memory, and a state that may have
// been replaced, until its client has taken it. While others wait, a client that stalls is cut off.
type lane struct {
	answerName string        // what is made, for messages
	turns      chan struct{} // holds one value for each client inside
	pinned     *pinned       // nil: who has a turn holds no state

	mu     sync.Mutex
	inside map[*recipient]struct{}
}

func newLane(answerName string, width int, pinned *pinned) *lane {
	return &lane{
		answerName: answerName, pinned: pinned, turns: make(chan struct{}, width),
		inside: map[*recipient]struct{}{},
	}
}

// enter waits for a turn. It returns the function that gives it back, or why there is none.
func (l *lane) enter(ctx context.Context, to *recipient) (leave func(), p *problem) {
	for range int(laneWait / laneCheckInterval) {
		if leave, p = l.tryEnter(ctx, to); leave != nil || p != nil {
			return leave, p
		}
	}
	return nil, l.full()
}

// tryEnter waits for laneCheckInterval. It returns neither if there is no turn until then.
func (l *lane) tryEnter(ctx context.Context, to *recipient) (leave func(), p *problem) {
	select {
	case l.turns <- struct{}{}:
		return l.entered(to), nil
	default:
	}
	l.cutStalled()
	wait := time.NewTimer(laneCheckInterval)
	defer wait.Stop()
	select {
	case l.turns <- struct{}{}:
		return l.entered(to), nil
	case <-ctx.Done():
		return nil, &problem{http.StatusServiceUnavailable, "the client went away while it waited for " + l.answerName}
	case <-wait.C:
		return nil, nil
	}
}

func (l *lane) full() *problem {
	return &problem{http.StatusServiceUnavailable, fmt.Sprintf(
		"as many clients as may be, %d, are being sent %s, and none was done within %s: try again",
		cap(l.turns), l.answerName, laneWait,
	)}
}

func (l *lane) entered(to *recipient) (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inside[to] = struct{}{}
	release := func() {}
	if l.pinned != nil {
		release = l.pinned.hold(to)
	}
	return func() {
		release()
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
