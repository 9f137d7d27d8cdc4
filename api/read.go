package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"pushquorum/expo"
	"pushquorum/fsm"
)

// staleHeader marks an answer that may lack later pushes, with the age of its state in seconds.
const staleHeader = "X-PushQuorum-Stale"

// reading is a state to answer from.
type reading struct {
	view  *fsm.View
	stale bool
	age   time.Duration // of a stale state: how long ago it was last known to be current
}

// read takes a view that the read policy allows, or says why there is none. A replica that has never caught up since its start
// has none in any mode: its state may be empty, and an empty page makes Prometheus mark every series as gone.
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
			return reading{}, &problem{http.StatusServiceUnavailable, fmt.Sprintf("no linearizable read within %s: %v", policy.Timeout, barrier)}
		}
	}
	// The age is taken before the view: the view may be newer than it says, never older.
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
			"the state of this replica is %s old, more than --read.max-staleness=%s: %v", age.Round(time.Millisecond), policy.MaxStaleness, barrier,
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
	f := form{format: expo.NegotiateFormat(r.Header), encoding: expo.NegotiateEncoding(r.Header)}
	rd.mark(w)
	h := w.Header()
	h.Set("Content-Type", string(f.format))
	h.Set("Vary", "Accept, Accept-Encoding")
	if f.encoding != expo.Identity {
		h.Set("Content-Encoding", f.encoding)
	}
	out := &sink{w: w}
	var err error
	if a.self != nil {
		err = a.writePage(out, f, a.self.merge(rd.view.Exposition()))
	} else {
		err = a.copyPage(r.Context(), out, h, f, rd.view)
	}
	if err != nil {
		a.cut(r, out, err)
	}
}

// copyPage writes the page of a view from what is kept.
func (a *API) copyPage(ctx context.Context, out io.Writer, h http.Header, f form, view *fsm.View) error {
	p, done, err := a.pages.get(ctx, view, f)
	if err != nil {
		return err
	}
	defer done()
	a.tellLeftOut(p.leftOut)
	h.Set("Content-Length", strconv.Itoa(p.length()))
	_, err = p.WriteTo(out)
	return err
}

// writePage writes a page that is another one at each scrape, because of this process's own metrics.
func (a *API) writePage(out io.Writer, f form, page expo.Exposition) error {
	buffered := bufio.NewWriterSize(out, 256<<10)
	compressed, err := expo.Compress(buffered, f.encoding)
	if err != nil {
		return err
	}
	var leftOut *expo.LeftOutError
	if err := expo.Write(compressed, f.format, page); err != nil && !errors.As(err, &leftOut) {
		return err
	}
	a.tellLeftOut(leftOut)
	if err := compressed.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// tellLeftOut logs what a page lacks because it would have spoiled the rest.
func (a *API) tellLeftOut(err *expo.LeftOutError) {
	if err != nil {
		a.log.Error("parts of the stored metrics cannot be shown: push them again, or delete their group", "parts", err.Parts, "err", err.First)
	}
}

// sink remembers whether the client stopped taking the answer.
type sink struct {
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil && s.err == nil {
		s.err = err
	}
	return n, err
}

// cut ends an answer that could not be completed by closing the connection: an answer that merely stops early looks complete,
// and Prometheus would take the missing series for gone.
func (a *API) cut(r *http.Request, out *sink, err error) {
	if out.err != nil {
		a.log.Debug("client went away", "path", r.URL.Path, "source", r.RemoteAddr, "err", out.err)
	} else {
		a.log.Error("writing an answer failed", "path", r.URL.Path, "source", r.RemoteAddr, "err", err)
	}
	panic(http.ErrAbortHandler)
}
