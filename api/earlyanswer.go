package api

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// How much of an unwanted body is read.
const (
	// restKept is how much is read before the answer, so that the connection can be used again: as much as net/http
	// would read. Bytes.
	restKept = 256 << 10
	// restIdle is how long a client may pause within the rest.
	restIdle = 2 * time.Second
	// streamIdle is the same in HTTP/2. It is shorter, because an answer ends there only with the reading, and some
	// clients (Go's) stop sending without a word when they see that they are refused.
	streamIdle = 500 * time.Millisecond
	// restMost is how much is read after the answer, however fast it comes. Bytes.
	restMost = 256 << 20
	// heldAnswer is how long an answer may be to be held back until its length is known: longer than any refusal.
	// Bytes.
	heldAnswer = 8 << 10
)

// earlyAnswer is the writer of the answer to a request with a body. Many clients send all of the body before they read
// (client_python, Java's HttpURLConnection). If the connection is closed while they send, their kernel throws the
// answer away, and all they see is a reset. So where the answer comes before the body has been read, the rest of the
// body is read and discarded:
//
//   - a short rest before the answer is sent, so that the connection can be used again;
//   - a long one after the answer, which says "Connection: close" and has a Content-Length: a client that reads while
//     it sends can stop at once, and one that waits for "100 Continue" is never told to continue.
//
// Discarding is bounded in time, in size, and in how many do it at a time, and holds the memory of one read. HTTP/2
// closes the stream instead of the connection, which takes the answer away from curl 7.88 all the same.
type earlyAnswer struct {
	http.ResponseWriter
	r           *http.Request
	discards    *semaphore
	maxRestTime time.Duration // of the rest, in all

	bodyRead bool // the body has been read to its end
	decided  bool // what to do with the body is decided
	unread   bool // the rest is discarded after the answer

	held int // status code of the answer that is held back; 0: none is
	text []byte
}

// newEarlyAnswer returns nil for a request without a body.
func (a *API) newEarlyAnswer(w http.ResponseWriter, r *http.Request) *earlyAnswer {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 { // the last in HTTP/2
		return nil
	}
	return &earlyAnswer{ResponseWriter: w, r: r, discards: a.inFlight.discards, maxRestTime: a.cfg.PushTimeout}
}

// markBodyRead says that the body of the request that w answers has been read to its end.
func markBodyRead(w http.ResponseWriter) {
	for {
		if e, ok := w.(*earlyAnswer); ok {
			e.bodyRead = true
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
	if code >= http.StatusOK && !e.decided {
		e.decided = true
		if e.unread = !e.bodyRead && !e.readRest(code); e.unread {
			e.held = code
			return
		}
	}
	if e.held == 0 {
		e.ResponseWriter.WriteHeader(code)
	}
}

// readRest reads the rest of the body before the answer, and returns whether that was all of it. It does not try if the
// rest is long, slow, or sent only on request.
func (e *earlyAnswer) readRest(code int) bool {
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

// asksBefore tells whether the client may be waiting for "100 Continue". A read from the body would send it.
func (e *earlyAnswer) asksBefore() bool {
	return strings.EqualFold(e.r.Header.Get("Expect"), "100-continue")
}

// Write implements http.ResponseWriter.
func (e *earlyAnswer) Write(b []byte) (int, error) {
	if !e.decided {
		e.WriteHeader(http.StatusOK)
	}
	if e.held != 0 {
		if len(e.text)+len(b) <= heldAnswer {
			e.text = append(e.text, b...)
			return len(b), nil
		}
		if err := e.sendHeld(); err != nil {
			return 0, err
		}
	}
	return e.ResponseWriter.Write(b)
}

// sendHeld writes the answer that has been held back.
func (e *earlyAnswer) sendHeld() error {
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

// finish ends the answer when its handler has returned, calls written, and then discards the rest of the body.
func (e *earlyAnswer) finish(written func()) {
	if e == nil {
		written()
		return
	}
	if !e.decided {
		e.WriteHeader(http.StatusOK)
	}
	if e.held != 0 && e.r.Method != http.MethodHead {
		// Otherwise it would end only with the rest of the body.
		e.Header().Set("Content-Length", strconv.Itoa(len(e.text)))
	}
	err := e.sendHeld()
	written()
	if e.unread && err == nil && http.NewResponseController(e.ResponseWriter).Flush() == nil {
		e.discardRest()
	}
}

// discardRest reads until the client has sent all, or has seen that it need not.
func (e *earlyAnswer) discardRest() {
	// In HTTP/2, net/http would tell it to go on even after the answer.
	if e.r.ProtoMajor >= 2 && e.asksBefore() || !e.discards.tryAcquire(1) {
		return
	}
	defer e.discards.release(1)
	buffer := wirePool.Get().(*wireBuffer)
	defer wirePool.Put(buffer)
	control, end := http.NewResponseController(e.ResponseWriter), time.Now().Add(e.maxRestTime)
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
