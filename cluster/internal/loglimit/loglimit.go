// Package loglimit keeps a log readable when the same is said again and again: with a peer down Raft would otherwise
// write several lines a second.
package loglimit

import (
	"maps"
	"sync"
	"time"
)

const (
	// quietFor is how long a message that is repeated word for word is not allowed again.
	quietFor = 10 * time.Second
	// maxMessages is how many are remembered, and how many different ones are allowed within quietFor.
	maxMessages = 100
)

// Limit remembers when a message was last allowed. Some messages quote what others have sent: so it forgets, and beyond
// a bound in so short a time it allows no more. It may be used from any goroutine.
type Limit struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// New makes a Limit that allows everything once.
func New() *Limit { return &Limit{last: map[string]time.Time{}} }

// Allow tells whether a message may be written now.
func (l *Limit) Allow(message string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.last[message]) < quietFor {
		return false
	}
	if len(l.last) >= maxMessages {
		maps.DeleteFunc(l.last, func(_ string, at time.Time) bool { return now.Sub(at) >= quietFor })
	}
	if len(l.last) >= maxMessages {
		return false
	}
	l.last[message] = now
	return true
}
