package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// handOverTimeout bounds how long a stopping replica tries to make another the leader, and to leave the gossip.
const handOverTimeout = 3 * time.Second

// leaver is the part of a replica with which it ends.
type leaver interface {
	// OnlyVoter tells whether no other replica could serve meanwhile.
	OnlyVoter() bool
	// Drain makes the replica not ready and another the leader; it goes on serving.
	Drain(ctx context.Context)
	// Leave says goodbye to the others.
	Leave(ctx context.Context)
}

// ending is how a replica stops without failing a request.
type ending struct {
	replica leaver
	delay   time.Duration // between not being ready and not serving, where others serve
	log     *slog.Logger
	begun   atomic.Bool
}

// await returns when it is time to stop serving: after a signal or a request to quit, and the delay that follows. It
// returns at once when done is closed, because something else has ended the process.
func (e *ending) await(signals <-chan os.Signal, quit, done <-chan struct{}) {
	var by slog.Attr
	select {
	case s := <-signals:
		by = slog.Any("signal", s)
	case <-quit:
		by = slog.String("request", "/-/quit")
	case <-done:
		return
	}
	delay := e.delay
	if e.replica.OnlyVoter() {
		delay = 0 // because serving on, not ready, would only prolong the outage
	}
	e.log.Info("stopping", by, "serving_for", delay)
	e.begun.Store(true)
	wait := time.NewTimer(delay)
	defer wait.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), handOverTimeout)
	defer cancel()
	e.replica.Drain(ctx)
	select {
	case <-wait.C:
	case s := <-signals:
		e.log.Info("stopping at once", "signal", s)
	case <-done:
	}
}

// leave is called when no more requests are served. After a fault it does nothing.
func (e *ending) leave() {
	if !e.begun.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), handOverTimeout)
	defer cancel()
	e.replica.Leave(ctx)
}

// closing asks clients, from the beginning of the end, not to use their connection again, because a connection that is
// closed while a request is on its way fails the request.
func (e *ending) closing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e.begun.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
