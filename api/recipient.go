package api

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// How fast a client has to read its answer. Only the time that writes wait for the client counts: making an answer may
// take long, and so may sending a large one to a client that goes on reading.
const (
	recipientChunk = 128 << 10        // bytes of one write
	recipientGrace = 10 * time.Second // for one write, and for all of them together, beyond …
	recipientRate  = 64 << 10         // … one second for so many bytes
	// stalledUnderPressure is how long a write may wait when others wait for what the answer holds.
	stalledUnderPressure = 500 * time.Millisecond
)

// errNotReading is the error of a write to a client that does not read its answer.
var errNotReading = errors.New("the client does not read its answer")

// recipient writes one answer to its client, and cuts the client off when it stops reading. A slow client is not cut
// off as long as it reads recipientRate on average. One deadline for the whole answer would not do: it would have to be
// as long as the largest answer takes, and a client that stops could hold a small answer for as long.
type recipient struct {
	http.ResponseWriter
	control    *http.ResponseController
	cutCounter prometheus.Counter
	pinned     *pinned // nil: its answer is not made of a state while it is sent
	clear      bool    // whether to lift the deadline between writes, because HTTP/2 ends a stream when it passes

	sent   int64         // bytes
	waited time.Duration // in writes

	mu      sync.Mutex // guards the fields below, and the deadline
	writing time.Time  // since when; zero: nothing is written now
	checked time.Time  // when others last looked whether it stalls, or when the write began
	stalled time.Duration
	cut     bool
	done    bool
}

func newRecipient(w http.ResponseWriter, r *http.Request, cuts prometheus.Counter) *recipient {
	return &recipient{
		ResponseWriter: w, control: http.NewResponseController(w), cutCounter: cuts, clear: r.ProtoMajor >= 2,
	}
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
		deadline, err := rc.beginWrite(len(chunk))
		if err != nil {
			return done, err
		}
		n, err := rc.ResponseWriter.Write(chunk)
		done += n
		if err = rc.endWrite(n, deadline, err); err != nil || done == len(b) {
			return done, err
		}
	}
}

func (rc *recipient) beginWrite(n int) (deadline time.Time, err error) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.cut {
		return time.Time{}, errNotReading
	}
	all := recipientGrace + timeFor(rc.sent+int64(n)) - rc.waited
	rc.writing = time.Now()
	rc.checked, rc.stalled = rc.writing, 0
	deadline = rc.writing.Add(min(all, recipientGrace+timeFor(int64(n))))
	_ = rc.control.SetWriteDeadline(deadline) // writers without deadlines are those of tests
	return deadline, nil
}

func timeFor(bytes int64) time.Duration {
	return time.Duration(float64(bytes) / recipientRate * float64(time.Second))
}

func (rc *recipient) endWrite(n int, deadline time.Time, err error) error {
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
		rc.cutCounter.Inc()
		return errors.Join(errNotReading, err)
	}
	return err
}

// cutIfStalled cuts off a client for which others wait, if it has read nothing for stalledUnderPressure. Who waits asks
// every laneCheckInterval. If the question comes later than that, this process had no processor, and would not have
// seen either that the client reads: that time does not count.
func (rc *recipient) cutIfStalled() {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.cut || rc.done || rc.writing.IsZero() {
		return
	}
	now := time.Now()
	rc.stalled += min(now.Sub(rc.checked), laneCheckInterval)
	rc.checked = now
	if rc.stalled < stalledUnderPressure {
		return
	}
	rc.cut = true
	_ = rc.control.SetWriteDeadline(time.Unix(1, 0))
}

// stalls is how long the present write has been waiting for the client.
func (rc *recipient) stalls() time.Duration {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if rc.writing.IsZero() {
		return 0
	}
	return time.Since(rc.writing)
}

// cutOff cuts off a client, whether it reads or not.
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

// finish sets the last deadline, for what net/http writes after the handler.
func (rc *recipient) finish() {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if !rc.cut {
		_ = rc.control.SetWriteDeadline(time.Now().Add(recipientGrace))
	}
	rc.done = true
}

// leave says that the handler has returned or panicked: the connection is no longer this answer's.
func (rc *recipient) leave() {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	rc.done = true
}
