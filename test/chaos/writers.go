package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	writers = 6
	slots   = 4 // groups that are written to at a time: fewer than writers, so that they meet

	maxWrites  = 50 // to a group, and then it retires: short histories are checked fast
	maxUnknown = 4  // writes of unknown outcome, each of which doubles the work of the check
	cleanAfter = 20 * time.Second
	wipeEvery  = 4 * time.Second // on the average
)

// groups are those that are written to, and those that wait for their deletion.
type groups struct {
	c       *cluster
	prefix  string
	mu      sync.Mutex
	active  [slots]*group
	retired []*group
	made    int
	lastOp  time.Duration // of wipes
}

// pick is a group to write to.
func (gs *groups) pick(chance *rand.Rand) *group {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	slot := &gs.active[chance.IntN(slots)]
	h := gs.c.history
	if *slot != nil && h.isWornOut(*slot) {
		gs.retired = append(gs.retired, *slot)
		*slot = nil
	}
	if *slot == nil {
		gs.made++
		*slot = h.newGroup(fmt.Sprintf("%s-%d", gs.prefix, gs.made))
	}
	return *slot
}

// old is a group that has been retired for long enough to be deleted, so that a long run has no long pages.
func (gs *groups) old() *group {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if len(gs.retired) == 0 || gs.c.history.now()-gs.retired[0].retired < cleanAfter {
		return nil
	}
	g := gs.retired[0]
	gs.retired = gs.retired[1:]
	return g
}

// isWornOut retires a group whose history is long enough.
func (h *history) isWornOut(g *group) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g.writes < maxWrites && g.unknown < maxUnknown {
		return false
	}
	g.retired = h.now()
	return true
}

// writer is one client that pushes, replaces, adds, deletes and wipes, through all replicas.
type writer struct {
	id     int
	c      *cluster
	groups *groups
	asker  *asker
	chance *rand.Rand
	keys   int
	late   []lateCopy
	reader *scraper
}

// lateCopy is a request that was answered and arrives once more, as when the client has not seen the answer: it must
// change nothing.
type lateCopy struct {
	due time.Duration
	ask ask
	ok  int
}

func (w *writer) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.sendLateCopies()
		g, o := w.choose()
		w.write(ctx, g, o)
		if w.chance.IntN(5) == 0 {
			w.reader.scrape() // at once, elsewhere: nothing shows a stale read better
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(w.chance.Int64N(int64(30 * time.Millisecond)))):
		}
	}
}

// choose is the next write. A nil group stands for all.
func (w *writer) choose() (*group, operation) {
	o := operation{client: w.id}
	if w.id == 0 {
		if g := w.groups.old(); g != nil {
			o.kind = remove
			return g, o
		}
		if now := w.c.history.now(); now-w.groups.lastOp > time.Duration(w.chance.ExpFloat64()*float64(wipeEvery)) {
			w.groups.lastOp = now
			o.kind = wipe
			return nil, o
		}
	}
	g := w.groups.pick(w.chance)
	switch p := w.chance.IntN(100); {
	case p < 50:
		o.kind = put
	case p < 85:
		o.kind = post
	default:
		o.kind = remove
		return g, o
	}
	o.content.there = true
	number := w.c.history.number(g)
	for {
		for i := range o.content.values {
			if w.chance.IntN(2) == 0 {
				o.content.values[i] = number
			}
		}
		if o.content.values != [families]int32{} {
			return g, o
		}
	}
}

// request is how a write is asked for, without the replica, and the status of its success.
func (o operation) request(g *group) (q ask, path string, ok int) {
	q.timeout = pushTimeout + answerSlack + time.Second
	switch o.kind {
	case wipe:
		q.method = http.MethodPut
		return q, "/api/v1/admin/wipe", http.StatusAccepted
	case remove:
		q.method = http.MethodDelete
		return q, "/metrics/job/" + g.name, http.StatusAccepted
	case put:
		q.method = http.MethodPut
	case post:
		q.method = http.MethodPost
	}
	q.adds = true
	var body strings.Builder
	for i, v := range o.content.values {
		if v != 0 {
			fmt.Fprintf(&body, "# TYPE %s gauge\n%s %d\n", familyName(i), familyName(i), v)
		}
	}
	q.body = body.String()
	return q, "/metrics/job/" + g.name, http.StatusOK
}

func familyName(i int) string { return fmt.Sprintf("chaos_%c", 'a'+i) }

// write asks replicas until one says that it is done, or its time is over, and records what came of it. Every copy of
// one write carries the same Idempotency-Key; a write without one is asked for once.
func (w *writer) write(ctx context.Context, g *group, o operation) {
	q, path, ok := o.request(g)
	tries := 1
	if o.kind == wipe || w.chance.IntN(3) > 0 {
		w.keys++
		q.header = map[string]string{"Idempotency-Key": fmt.Sprintf("%s/%d/%d", w.groups.prefix, w.id, w.keys)}
		tries = 4
		if o.kind == wipe {
			tries = 20 // an unknown wipe would make every group's history harder to check
		}
	}
	h := w.c.history
	maybe := false
	o.call = h.now()
	h.asks(g, o)
	for range tries {
		r := w.c.any(w.chance)
		o.where += " " + r.name
		q.url = r.url(path)
		done, sent := w.once(r, q, ok)
		maybe = maybe || sent
		if done {
			o.ret = h.now()
			h.wrote(g, o)
			if q.header != nil && w.chance.IntN(4) == 0 {
				q.url = path
				w.late = append(w.late, lateCopy{h.now() + time.Duration(w.chance.Int64N(int64(4*time.Second))), q, ok})
			}
			return
		}
		select {
		case <-ctx.Done():
			tries = 0
		case <-time.After(time.Duration(w.chance.Int64N(int64(200 * time.Millisecond)))):
		}
		if tries == 0 {
			break
		}
	}
	if !maybe {
		h.gaveUp(g, o)
		return
	}
	o.ret, o.unknown = h.now(), true
	h.wrote(g, o)
}

// once asks one replica. done: it has happened; otherwise it may have, if it was sent.
func (w *writer) once(r *replica, q ask, ok int) (done, sent bool) {
	h := w.c.history
	from := h.now()
	a, err := w.asker.do(q)
	to := h.now()
	switch excused := r.mayHaveFailed(from, to); {
	case err != nil:
		if !excused {
			w.c.violate("%s gave no answer to %s within %s: %v", r.name, q.method, to-from, err)
		}
		h.count("writes without an answer")
		return false, q.header != nil || !notSent(err)
	case a.status == ok:
		return true, true
	case a.status == http.StatusTooManyRequests && q.adds && w.c.mayBeFull(from, to):
		h.count("writes refused at the limit")
		w.c.mustSayWhatIsFull(r, a)
		// It has certainly not happened: an earlier copy may have, and is remembered by whoever sent it
		return false, false
	case a.status < 500:
		w.c.violate("%s answered %s %s with %d: %s", r.name, q.method, q.url, a.status, a.body)
		return false, true
	default:
		h.count("writes refused")
		if reason := strings.TrimSpace(string(a.body)); reason == "" || strings.Contains(reason, "\n") {
			w.c.violate("%s refused %s with %d and does not say why: %q", r.name, q.method, a.status, reason)
		}
		if !excused && to-from > pushTimeout+answerSlack {
			w.c.violate("%s refused %s only after %s", r.name, q.method, to-from)
		}
		return false, true
	}
}

// notSent says whether a request without an Idempotency-Key has certainly not been sent. One with a key the HTTP client
// may have sent before, on a connection that broke, and then it could not dial again: its error tells the second half
// only.
func notSent(err error) bool {
	dial := (*net.OpError)(nil)
	return errors.As(err, &dial) && dial.Op == "dial"
}

// sendLateCopies sends those that are due. Their answers are not part of the history, because they change nothing.
func (w *writer) sendLateCopies() {
	now := w.c.history.now()
	waiting := w.late[:0]
	for _, late := range w.late {
		if late.due > now {
			waiting = append(waiting, late)
			continue
		}
		r := w.c.any(w.chance)
		late.ask.url = r.url(late.ask.url)
		w.once(r, late.ask, late.ok)
		w.c.history.count("late copies sent")
	}
	w.late = waiting
}
