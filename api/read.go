package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"pushquorum/expo/page"
	"pushquorum/fsm"
)

// staleHeader marks an answer that may lack later pushes, with the age of its state in seconds.
const staleHeader = "X-PushQuorum-Stale"

// reading is a state from which a read is answered.
type reading struct {
	view  *fsm.View
	stale bool
	age   time.Duration // of a stale state: how long ago it was last known to be current
}

// read returns a view that the read policy allows, or says why there is none. A replica that has never caught up since
// its start has none in any mode, because its state may be empty, and an empty page makes Prometheus mark every series
// as gone.
func (a *API) read(ctx context.Context) (reading, *problem) {
	policy := a.cfg.Read
	var barrier error
	if policy.Consistency != Local {
		ctx, cancel := context.WithTimeout(ctx, policy.Timeout)
		defer cancel()
		if barrier = a.cfg.Replica.ReadBarrier(ctx); barrier == nil {
			a.metrics.readStale.Set(0)
			return reading{view: a.cfg.Store.View()}, nil
		}
		if policy.Consistency == Linearizable {
			return reading{}, &problem{http.StatusServiceUnavailable, fmt.Sprintf(
				"no linearizable read within %s: %v: try again, or set --read.consistency=available",
				policy.Timeout, barrier,
			)}
		}
	}
	// The age is taken before the view, because the view may be newer than the age says, but never older.
	age, ok := a.cfg.Replica.Staleness()
	switch {
	case !ok:
		text := "this replica has not caught up since its start, scrape another one or wait"
		if barrier != nil {
			text = fmt.Sprintf("%s: %v", text, barrier)
		}
		return reading{}, &problem{http.StatusServiceUnavailable, text}
	case policy.Consistency == Local:
		return reading{view: a.cfg.Store.View()}, nil
	case age > policy.MaxStaleness:
		return reading{}, &problem{http.StatusServiceUnavailable, fmt.Sprintf(
			"the state of this replica is %s old, more than --read.max-staleness=%s: %v",
			age.Round(time.Millisecond), policy.MaxStaleness, barrier,
		)}
	}
	a.metrics.readStale.Set(age.Seconds())
	return reading{view: a.cfg.Store.View(), stale: true, age: age}, nil
}

// mark tells the client that the answer may lack later pushes.
func (rd reading) mark(w http.ResponseWriter) {
	if rd.stale {
		w.Header().Set(staleHeader, strconv.FormatFloat(rd.age.Seconds(), 'f', 3, 64))
	}
}

// serveMetrics is the telemetry path: what Prometheus scrapes.
func (a *API) serveMetrics(w http.ResponseWriter, r *http.Request) {
	rd, p := a.read(r.Context())
	if p != nil {
		a.refuse(w, r, p)
		return
	}
	f := pageForm{format: page.NegotiateFormat(r.Header), encoding: page.NegotiateEncoding(r.Header)}
	rd.mark(w)
	if r.Method == http.MethodHead {
		f.describe(w) // without Content-Length, for which the page would have to be made
		return
	}
	index := rd.view.Index()
	rd.view = nil // so that a scrape that waits holds no state
	out, to := &sink{ResponseWriter: w}, recipientOf(w)
	for range int(laneWait / laneCheckInterval) {
		page, err := a.pages.get(r.Context(), f, index, to)
		switch {
		case err == nil:
			a.sendPage(out, r, f, page, to)
			return
		case errors.Is(err, errNotItsTurn):
			a.refuse(w, r, &problem{http.StatusServiceUnavailable, err.Error()})
			return
		case !errors.Is(err, errNoRoom):
			a.cut(r, out, err)
		}
		leave, p := a.streams.tryEnter(r.Context(), to)
		switch {
		case p != nil:
			a.refuse(w, r, p)
			return
		case leave != nil:
			a.stream(out, r, f, leave)
			return
		} // Meanwhile there may be room for the page, or it may be there.
	}
	a.refuse(w, r, a.streams.full())
}

func (a *API) sendPage(out *sink, r *http.Request, f pageForm, s *sharedPage, to *recipient) {
	defer a.pages.release(s, to)
	a.tellFaults(s.page.LeftOut(), s.page.Caught())
	f.describe(out)
	out.Header().Set("Content-Length", strconv.FormatInt(s.page.Len(), 10)) // chunked, 25 MB would take 800 writes
	if _, err := s.page.WriteTo(out); err != nil {
		a.cut(r, out, err)
	}
}

// describe sets the headers that say in which form the answer is.
func (f pageForm) describe(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", string(f.format))
	h.Set("Vary", "Accept, Accept-Encoding")
	if f.encoding != page.Identity {
		h.Set("Content-Encoding", f.encoding)
	}
}

// stream sends an answer while it is made, because there is no room for it as a page.
func (a *API) stream(out *sink, r *http.Request, f pageForm, leave func()) {
	defer leave()
	a.metrics.streamed.Inc()
	f.describe(out)
	e := a.cfg.Store.View().Exposition()
	if a.pageSelfMetrics != nil {
		e = a.pageSelfMetrics.merge(a.pageSelfMetrics.gather(), e)
	}
	err := page.Stream(out, f.format, f.encoding, a.pages.pushesActive, e)
	var leftOut *page.LeftOutError
	if err != nil && !errors.As(err, &leftOut) {
		a.cut(r, out, err)
	}
	a.tellFaults(leftOut, nil)
	a.pages.noteStreamed(f, out.sent)
}

// tellFaults logs what was left out of a page because it would have spoiled the rest, and what was caught while the
// page was made.
func (a *API) tellFaults(leftOut *page.LeftOutError, caught error) {
	if leftOut != nil {
		a.scrapeLog.once(slog.LevelError, leftOut.First,
			"parts of the stored metrics cannot be shown: push them again, or delete their group", "parts",
			leftOut.Parts)
	}
	if caught != nil {
		a.scrapeLog.once(slog.LevelError, caught,
			"the page had to be made from the beginning, as it will be each time: report this")
	}
}

// sink is a writer that remembers its first error.
type sink struct {
	http.ResponseWriter
	sent int64 // bytes
	err  error
}

// Write implements io.Writer.
func (s *sink) Write(p []byte) (int, error) {
	n, err := s.ResponseWriter.Write(p)
	s.sent += int64(n)
	if err != nil && s.err == nil {
		s.err = err
	}
	return n, err
}

// gone returns the error by which it is known that the client has gone, nil if it may be waiting for the answer. It
// does not look at an error's text, because each protocol has its own, and some have several.
func (s *sink) gone(r *http.Request) error { return cmp.Or(s.err, r.Context().Err()) }

// cut ends an answer that could not be completed by closing the connection, because an answer that merely stops early
// looks complete, and Prometheus would take the missing series for gone.
func (a *API) cut(r *http.Request, out *sink, err error) {
	if gone := out.gone(r); gone != nil {
		a.log.Debug("client went away", "path", shownPath(r), "source", r.RemoteAddr, "err", gone)
	} else {
		a.scrapeLog.once(slog.LevelError, err, "writing an answer failed", "path", shownPath(r), "source", r.RemoteAddr)
	}
	panic(http.ErrAbortHandler)
}
