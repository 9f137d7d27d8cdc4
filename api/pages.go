package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"

	"pushquorum/expo/page"
)

const (
	// maxPages is how many pages are kept: one for each form that was last asked for.
	maxPages = 3
	// pageIdle is how long a page is kept that nobody asks for: longer than any sane scrape interval.
	pageIdle = 5 * time.Minute
	// ownMaxAge is how old own metrics on a page may be. Within it a scrape of a state that has not changed costs a copy.
	ownMaxAge = time.Second
	// maxBuilds is how many pages are built at a time. Each uses all processors; a second one is there for a small page beside
	// a large one.
	maxBuilds = 2
	// maxFirstBuilds of them are of forms for which nothing is kept. Who asks for many forms then hinders those who always ask
	// for the same little, because a page that is made of the last one costs little.
	maxFirstBuilds = 1
	// inUse is how long a page that was asked for again is not dropped for the sake of other forms: longer than the usual
	// scrape intervals.
	inUse = 2 * time.Minute
)

// form is how a page is asked for.
type form struct {
	format   expfmt.Format
	encoding string
}

// pages keeps the last page in each form, of which the next one is made at the cost of what has changed. There is one builder for
// a form at a time, and scrapes at the same time share what it makes.
type pages struct {
	store  Store
	self   *self // nil where pages have the stored metrics alone, and stay right as long as these are the same
	busy   page.Busy
	now    func() time.Time
	builds chan struct{} // holds one value for each page that is being built, and …
	firsts chan struct{} // … for each of those of a form for which nothing is kept
	budget pageBudget

	mu       sync.Mutex
	list     []*slot // most recently asked for last
	building map[form]*build
	live     map[*snapshot]struct{} // pages that somebody holds
}

func newPages(store Store, self *self, busy page.Busy, budget pageBudget) *pages {
	return &pages{
		store: store, self: self, busy: busy, now: time.Now, builds: make(chan struct{}, maxBuilds), firsts: make(chan struct{}, maxFirstBuilds), budget: budget,
		building: map[form]*build{}, live: map[*snapshot]struct{}{},
	}
}

// slot is what is kept of one form. Its fields are guarded by pages.mu.
type slot struct {
	form  form
	last  *snapshot
	idle  *time.Timer // until it is dropped
	asked time.Time   // when it was last asked for
	again bool        // it has been asked for since it was made
}

// snapshot is a page of one state. Its page is there until nobody holds it: its slot, the build of the next one, those who are
// sent it.
type snapshot struct {
	page          *page.Page
	index         uint64
	selfMetricsAt time.Time

	// Guarded by pages.mu.
	holders    int
	recipients map[*recipient]struct{}
}

// build is a page that is being made. Its fields are guarded by pages.mu until done is closed.
type build struct {
	before   *snapshot // nil for none
	waiting  int       // others who will hold what is made
	reserved int64     // bytes of the budget
	done     chan struct{}

	made *snapshot
	err  error
}

// get returns a page that shows the state at the index, or a later one, for the client to be sent and then to be released. It stops
// waiting when ctx ends, and with errNotItsTurn when others are in front for too long. errNoRoom says that there is no room for the page.
func (ps *pages) get(ctx context.Context, f form, index uint64, to *recipient) (*snapshot, error) {
	for {
		made, b, first := ps.find(f, index, to)
		if made != nil {
			return made, nil
		}
		if b == nil {
			var err error
			if b, err = ps.build(ctx, f, index, first); err != nil {
				return nil, err
			}
			if b == nil {
				continue // somebody else was first
			}
		}
		select {
		case <-b.done:
		case <-ctx.Done():
			ps.forgo(b)
			return nil, ctx.Err()
		}
		if b.err != nil {
			return nil, b.err
		}
		if b.made.index >= index {
			ps.mu.Lock()
			b.made.sendTo(to)
			ps.mu.Unlock()
			return b.made, nil
		}
		ps.release(b.made, nil)
	}
}

// errNotItsTurn says that pages in many forms were asked for at a time.
var errNotItsTurn = fmt.Errorf("pages in many forms are asked for at a time, and it was not the turn of this one within %s: try again", laneWait)

// build waits for its turn and builds a page. It returns nil if that was not necessary any more.
func (ps *pages) build(ctx context.Context, f form, index uint64, first bool) (*build, error) {
	over := time.NewTimer(laneWait)
	defer over.Stop()
	if first {
		if err := takeTurn(ctx, ps.firsts, over.C); err != nil {
			return nil, err
		}
		defer func() { <-ps.firsts }()
	}
	if err := takeTurn(ctx, ps.builds, over.C); err != nil {
		return nil, err
	}
	defer func() { <-ps.builds }()
	b := ps.begin(f, index)
	if b != nil {
		b.run(ps, f)
	}
	return b, nil
}

func takeTurn(ctx context.Context, turns chan struct{}, over <-chan time.Time) error {
	select {
	case turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-over:
		return errNotItsTurn
	}
}

// find returns the page that is there and still right, or else the one that is being built, or neither, and whether
// nothing is kept of the form.
func (ps *pages) find(f form, index uint64, to *recipient) (made *snapshot, b *build, first bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	last := ps.askedForLocked(f)
	if last != nil {
		ps.list[len(ps.list)-1].again = true
	}
	if ps.isRight(last, index) {
		last.holders++
		last.sendTo(to)
		return last, nil, false
	}
	if b = ps.building[f]; b != nil {
		b.waiting++
	}
	return nil, b, last == nil
}

func (ps *pages) isRight(s *snapshot, index uint64) bool {
	return s != nil && s.index >= index && (ps.self == nil || ps.now().Sub(s.selfMetricsAt) < ownMaxAge)
}

// begin returns a new build, for the caller to run, unless a page that is right has come meanwhile, or its build has begun.
func (ps *pages) begin(f form, index uint64) *build {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	last := ps.askedForLocked(f)
	if ps.isRight(last, index) || ps.building[f] != nil {
		return nil
	}
	b := &build{before: last, waiting: 1, done: make(chan struct{})} // the caller waits, too
	if last != nil {
		last.holders++
	}
	ps.building[f] = b
	return b
}

// askedForLocked returns the last page of a form, nil if none is kept.
func (ps *pages) askedForLocked(f form) *snapshot {
	i := slices.IndexFunc(ps.list, func(s *slot) bool { return s.form == f })
	if i < 0 {
		return nil
	}
	s := ps.list[i]
	ps.list = append(slices.Delete(ps.list, i, i+1), s)
	s.idle.Reset(pageIdle)
	s.asked = ps.now()
	return s.last
}

// keepLocked puts a page into the slot of its form. There may be none: all of them are in use.
func (ps *pages) keepLocked(f form, made *snapshot) {
	if ps.askedForLocked(f) != nil {
		s := ps.list[len(ps.list)-1]
		ps.releaseLocked(s.last)
		s.last = made
		made.holders++
		return
	}
	if len(ps.list) == maxPages {
		i := slices.IndexFunc(ps.list, func(s *slot) bool { return !ps.isInUse(s) })
		if i < 0 {
			return
		}
		ps.dropLocked(ps.list[i])
	}
	s := &slot{form: f, last: made, asked: ps.now()}
	s.idle = time.AfterFunc(pageIdle, func() { ps.drop(s) })
	ps.list = append(ps.list, s)
	made.holders++
}

// isInUse tells whether somebody seems to ask for a form again and again.
func (ps *pages) isInUse(s *slot) bool { return s.again && ps.now().Sub(s.asked) < inUse }

func (ps *pages) drop(s *slot) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if slices.Contains(ps.list, s) {
		ps.dropLocked(s)
	}
}

// dropFormLocked drops the page of a form beside which the next one has no room. That one will be made from the beginning.
func (ps *pages) dropFormLocked(f form) {
	if i := slices.IndexFunc(ps.list, func(s *slot) bool { return s.form == f }); i >= 0 {
		ps.dropLocked(ps.list[i])
	}
}

func (ps *pages) dropLocked(s *slot) {
	s.idle.Stop()
	ps.list = slices.DeleteFunc(ps.list, func(other *slot) bool { return other == s })
	ps.releaseLocked(s.last)
}

// sendTo says whom a page is sent. It is called with pages.mu held.
func (s *snapshot) sendTo(to *recipient) {
	if to != nil { // else it is a test's
		s.recipients[to] = struct{}{}
	}
}

// release says that a page is no longer held, or no longer sent to a client.
func (ps *pages) release(s *snapshot, to *recipient) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(s.recipients, to)
	ps.releaseLocked(s)
}

func (ps *pages) releaseLocked(s *snapshot) {
	if s.holders--; s.holders == 0 {
		ps.budget.addLocked(-s.page.Release())
		delete(ps.live, s)
	}
}

// forgo says that somebody does not wait for a build any more.
func (ps *pages) forgo(b *build) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if b.made != nil {
		ps.releaseLocked(b.made)
	} else {
		b.waiting--
	}
}

// run makes the page, for whoever waits for it. It takes the present state, and not the one that was asked for first: those who
// wait may have come after a later push. A panic is an error, the same for all of them.
func (b *build) run(ps *pages, f form) {
	made, err := b.make(ps, f)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.budget.addLocked(-b.reserved)
	if b.err = err; err == nil {
		ps.budget.addLocked(made.page.Hold())
		ps.budget.sizes[f] = made.page.Len()
		ps.live[made] = struct{}{}
		b.made, made.holders = made, b.waiting+1 // this one, for as long as it may be that nobody else does
		ps.keepLocked(f, made)
		ps.releaseLocked(made)
	}
	if errors.Is(err, errNoRoom) {
		ps.dropFormLocked(f)
	}
	if b.before != nil {
		ps.releaseLocked(b.before)
		b.before = nil
	}
	delete(ps.building, f)
	close(b.done)
}

func (b *build) make(ps *pages, f form) (made *snapshot, err error) {
	defer func() {
		if p := recover(); p != nil {
			made, err = nil, page.Caught(p)
		}
	}()
	if !ps.hasRoom(b, f) {
		return nil, errNoRoom
	}
	var before *page.Page
	if b.before != nil {
		before = b.before.page
	} else if before, err = page.New(f.format, f.encoding, ps.busy); err != nil {
		return nil, err
	}
	view := ps.store.View()
	made = &snapshot{index: view.Index(), recipients: map[*recipient]struct{}{}}
	room := func(bytes int) error { return ps.reserve(b, f, int64(bytes)) }
	if ps.self == nil {
		made.page, err = before.NextWithin(view.Exposition(), room)
		return made, err
	}
	made.selfMetricsAt = ps.now()
	own := ps.self.gather()
	if b.before != nil && b.before.index == made.index {
		var ok bool
		if made.page, ok = before.Renew(own.exposition); ok {
			return made, nil
		}
	}
	made.page, err = before.NextWithin(ps.self.merge(own, view.Exposition()), room)
	return made, err
}
