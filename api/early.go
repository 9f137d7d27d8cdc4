package api

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// How much of a body is read that nobody wants.
const (
	// restKept is how much of it is read before the answer, so that the connection can be used again. It is as much as
	// net/http would read.
	restKept = 256 << 10
	// restIdle is how long a client may pause in it.
	restIdle = 2 * time.Second
	// streamIdle is the same of HTTP/2, where an answer ends only when the reading does, and some clients (Go's) do not
	// send on when they see that they are refused.
	streamIdle = 500 * time.Millisecond
	// restMost is where it ends even for those who send fast.
	restMost = 256 << 20
	// heldAnswer is how long an answer may be whose length is told before it is written: longer than any refusal.
	heldAnswer = 8 << 10
)

// earlyAnswer is the writer of answers to requests that have a body. Many clients send all of it before they read
// (client_python, Java's HttpURLConnection); if the connection is closed while they send, their kernel throws the
// answer away, and all they see is a reset. So with an answer that comes before the body has been read goes the rest
// of the body, which is read into nothing:
//
//   - a short rest before the answer is sent: the connection goes on;
//   - otherwise after the answer, which says that the connection will be closed and how long it is itself: who reads
//     while he sends can stop at once, and who waits for "100 Continue" is never told to continue.
//
// It is bounded by time, by size, and by how many do it at a time, and holds the memory of one read. With HTTP/2 it is
// the stream that is closed, which takes the answer away from curl 7.88 all the same.
type earlyAnswer struct {
	http.ResponseWriter
	r       *http.Request
	drains  *pool
	longest time.Duration // of the rest, in all

	taken  bool // the body has been read to its end
	begun  bool // what to do with the body is decided
	unread bool // the rest is read after the answer

	held int // status code of the answer that is held back; 0: none is
	text []byte
}

// newEarlyAnswer returns nil for a request of which there is nothing more to read.
func (a *API) newEarlyAnswer(w http.ResponseWriter, r *http.Request) *earlyAnswer {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 { // the last in HTTP/2
		return nil
	}
	return &earlyAnswer{ResponseWriter: w, r: r, drains: a.inFlight.drains, longest: a.cfg.PushTimeout}
}

// bodyTaken says that the body of the request that w answers has been read to its end.
func bodyTaken(w http.ResponseWriter) {
	for {
		if e, ok := w.(*earlyAnswer); ok {
			e.taken = true
			return
		}
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return
		}
		w = outer.Unwrap()
	}
}

// Unwrap is for http.ResponseController.
func (e *earlyAnswer) Unwrap() http.ResponseWriter { return e.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (e *earlyAnswer) WriteHeader(code int) {
	if code >= http.StatusOK && !e.begun {
		e.begun = true
		if e.unread = !e.taken && !e.restRead(code); e.unread {
			e.held = code
			return
		}
	}
	if e.held == 0 {
		e.ResponseWriter.WriteHeader(code)
	}
}

// restRead reads what is left, if it is little and the client sends it unasked.
func (e *earlyAnswer) restRead(code int) bool {
	slow := code == http.StatusRequestTimeout
	if slow || e.r.ContentLength > restKept || e.asksBefore() {
		return false
	}
	control := http.NewResponseController(e.ResponseWriter)
	_ = control.SetReadDeadline(time.Now().Add(restIdle))
	_, err := io.CopyN(io.Discard, e.r.Body, restKept+1)
	if err != io.EOF { //nolint:errorlint // a reader's end is EOF itself
		return false
	}
	_ = control.SetReadDeadline(time.Time{}) // at which net/http would end the request that is still being answered
	return true
}

// asksBefore tells whether the client may wait to be told to send the body, which reading from it would do.
func (e *earlyAnswer) asksBefore() bool {
	return strings.EqualFold(e.r.Header.Get("Expect"), "100-continue")
}

// Write implements http.ResponseWriter.
func (e *earlyAnswer) Write(b []byte) (int, error) {
	if !e.begun {
		e.WriteHeader(http.StatusOK)
	}
	if e.held != 0 {
		if len(e.text)+len(b) <= heldAnswer {
			e.text = append(e.text, b...)
			return len(b), nil
		}
		if err := e.release(); err != nil {
			return 0, err
		}
	}
	return e.ResponseWriter.Write(b)
}

// release writes what has been held back.
func (e *earlyAnswer) release() error {
	if e.held == 0 {
		return nil
	}
	if e.r.ProtoMajor < 2 {
		e.Header().Set("Connection", "close")
	}
	e.ResponseWriter.WriteHeader(e.held)
	e.held = 0
	_, err := e.ResponseWriter.Write(e.text)
	return err
}

// finish ends an answer that its handler has made, and then reads the rest of the body. It calls written in between.
func (e *earlyAnswer) finish(written func()) {
	if e == nil {
		written()
		return
	}
	if !e.begun {
		e.WriteHeader(http.StatusOK)
	}
	if e.held != 0 && e.r.Method != http.MethodHead {
		// Otherwise it would end only with the rest of the body.
		e.Header().Set("Content-Length", strconv.Itoa(len(e.text)))
	}
	err := e.release()
	written()
	if e.unread && err == nil && http.NewResponseController(e.ResponseWriter).Flush() == nil {
		e.drain()
	}
}

// drain reads until the client has sent all, or has seen that it need not.
func (e *earlyAnswer) drain() {
	// In HTTP/2, net/http would tell it to go on even after the answer.
	if e.r.ProtoMajor >= 2 && e.asksBefore() || !e.drains.try(1) {
		return
	}
	defer e.drains.give(1)
	buffer := wirePool.Get().(*wireBuffer)
	defer wirePool.Put(buffer)
	control, end := http.NewResponseController(e.ResponseWriter), time.Now().Add(e.longest)
	idle := restIdle
	if e.r.ProtoMajor >= 2 {
		idle = streamIdle
	}
	for rest := restMost; rest > 0; {
		deadline := time.Now().Add(idle)
		if deadline.After(end) {
			deadline = end
		}
		_ = control.SetReadDeadline(deadline)
		n, err := e.r.Body.Read(buffer[:])
		if err != nil {
			return
		}
		rest -= n
	}
}
