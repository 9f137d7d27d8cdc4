package api

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// How an answer has to be taken. What counts is the time that writes wait for the client: making an answer may take as
// long as it takes, and so may sending a large one to somebody who goes on reading.
const (
	recipientChunk = 128 << 10        // bytes of one write
	recipientGrace = 10 * time.Second // for one write, and for all of them together, beyond …
	recipientRate  = 64 << 10         // … one second for so many bytes
	// stalledUnderPressure is how long a write may wait when others wait for what the answer holds.
	stalledUnderPressure = 500 * time.Millisecond
)

// errDawdled is what a write to a client comes to that does not take its answer.
var errDawdled = errors.New("the client does not read its answer")

// recipient is the client of one answer, and cuts it off if it stops taking it. A slow client is not cut as long as it
// takes recipientRate on average: a deadline for the whole would have to be as long as the largest answer takes, and
// let those who stop hold a small one for as long.
type recipient struct {
	http.ResponseWriter
	control *http.ResponseController
	dawdled prometheus.Counter
	pinned  *pinned // nil: its answer is not made of a state while it is sent
	clear   bool    // HTTP/2 ends a stream when its deadline passes, even if nothing is written

	sent   int64         // bytes
	waited time.Duration // in writes

	mu      sync.Mutex // guards what follows, and the deadline
	writing time.Time  // since when; zero: nothing is written now
	cut     bool
	done    bool
}

func newRecipient(w http.ResponseWriter, r *http.Request, dawdled prometheus.Counter) *recipient {
	return &recipient{ResponseWriter: w, control: http.NewResponseController(w), dawdled: dawdled, clear: r.ProtoMajor >= 2}
}

// recipientOf finds the recipient among what has been put around it.
func recipientOf(w http.ResponseWriter) *recipient {
	for {
		if to, ok := w.(*recipient); ok {
			return to
		}
		w = w.(interface{ Unwrap() http.ResponseWriter }).Unwrap()
	}
}

// Unwrap is for http.ResponseController.
func (rc *recipient) Unwrap() http.ResponseWriter { return rc.ResponseWriter }

// Write implements http.ResponseWriter.
func (rc *recipient) Write(b []byte) (int, error) {
	done := 0
	for {
		if rc.pinned != nil {
			rc.pinned.relieve()
		}
		chunk := b[done:min(done+recipientChunk, len(b))]
		deadline, err := rc.begin(len(chunk))
		if err != nil {
			return done, err
		}
		n, err := rc.ResponseWriter.Write(chunk)
		done += n
		if err = rc.end(n, deadline, err); err != nil || done == len(b) {
			return done, err
		}
	}
}

func (rc *recipient) begin(n int) (deadline time.Time, err error) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.cut {
		return time.Time{}, errDawdled
	}
	all := recipientGrace + timeFor(rc.sent+int64(n)) - rc.waited
	rc.writing = time.Now()
	deadline = rc.writing.Add(min(all, recipientGrace+timeFor(int64(n))))
	_ = rc.control.SetWriteDeadline(deadline) // writers without deadlines are those of tests
	return deadline, nil
}

func timeFor(bytes int64) time.Duration {
	return time.Duration(float64(bytes) / recipientRate * float64(time.Second))
}

func (rc *recipient) end(n int, deadline time.Time, err error) error {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	now := time.Now()
	rc.sent += int64(n)
	rc.waited += now.Sub(rc.writing)
	rc.writing = time.Time{}
	switch {
	case err == nil:
		if rc.clear && !rc.cut {
			_ = rc.control.SetWriteDeadline(time.Time{})
		}
		return nil
	case rc.cut || !now.Before(deadline):
		rc.dawdled.Inc()
		return errors.Join(errDawdled, err)
	}
	return err
}

// cutIfStalled cuts off a client for whose sake others wait, if it has not taken anything for a while.
func (rc *recipient) cutIfStalled() {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.cut || rc.done || rc.writing.IsZero() || time.Since(rc.writing) < stalledUnderPressure {
		return
	}
	rc.cut = true
	_ = rc.control.SetWriteDeadline(time.Unix(1, 0))
}

// stalls is for how long the client has not taken what is written now.
func (rc *recipient) stalls() time.Duration {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.writing.IsZero() {
		return 0
	}
	return time.Since(rc.writing)
}

// cutOff cuts off a client whatever it does.
func (rc *recipient) cutOff() {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.cut || rc.done {
		return
	}
	rc.cut = true
	if !rc.writing.IsZero() {
		_ = rc.control.SetWriteDeadline(time.Unix(1, 0))
	}
}

// finish leaves a while for what net/http writes after the handler.
func (rc *recipient) finish() {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if !rc.cut {
		_ = rc.control.SetWriteDeadline(time.Now().Add(recipientGrace))
	}
	rc.done = true
}

// leave says that the handler is gone, however it ended: the connection is no longer this answer's.
func (rc *recipient) leave() {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.done = true
}
