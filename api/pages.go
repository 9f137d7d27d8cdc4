package api

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"

	"pushquorum/expo"
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
	busy   expo.Busy
	now    func() time.Time
	builds chan struct{} // holds one value for each page that is being built
	budget pageBudget

	mu       sync.Mutex
	list     []*slot // most recently asked for last
	building map[form]*build
	live     map[*snapshot]struct{} // pages that somebody holds
}

func newPages(store Store, self *self, busy expo.Busy, budget pageBudget) *pages {
	return &pages{
		store: store, self: self, busy: busy, now: time.Now, builds: make(chan struct{}, maxBuilds), budget: budget,
		building: map[form]*build{}, live: map[*snapshot]struct{}{},
	}
}

// slot is what is kept of one form. Its fields are guarded by pages.mu.
type slot struct {
	form form
	last *snapshot
	idle *time.Timer // until it is dropped
}

// snapshot is a page of one state. Its page is there until nobody holds it: its slot, the build of the next one, those who are
// sent it.
type snapshot struct {
	page          *expo.Page
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
// waiting when ctx ends. errNoRoom says that there is no room for the page.
func (ps *pages) get(ctx context.Context, f form, index uint64, to *recipient) (*snapshot, error) {
	for {
		made, b := ps.find(f, index, to)
		if made != nil {
			return made, nil
		}
		if b == nil {
			select {
			case ps.builds <- struct{}{}:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			if b = ps.begin(f, index); b != nil {
				b.run(ps, f)
			}
			<-ps.builds
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

// find returns the page that is there and still right, or else the one that is being built, or neither.
func (ps *pages) find(f form, index uint64, to *recipient) (*snapshot, *build) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if last := ps.askedForLocked(f); ps.isRight(last, index) {
		last.holders++
		last.sendTo(to)
		return last, nil
	}
	b := ps.building[f]
	if b != nil {
		b.waiting++
	}
	return nil, b
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
	return s.last
}

// keepLocked puts a page into the slot of its form.
func (ps *pages) keepLocked(f form, made *snapshot) {
	made.holders++
	if ps.askedForLocked(f) != nil {
		s := ps.list[len(ps.list)-1]
		ps.releaseLocked(s.last)
		s.last = made
		return
	}
	if len(ps.list) == maxPages {
		ps.dropLocked(ps.list[0])
	}
	s := &slot{form: f, last: made}
	s.idle = time.AfterFunc(pageIdle, func() { ps.drop(s) })
	ps.list = append(ps.list, s)
}

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
		b.made, made.holders = made, b.waiting
		ps.keepLocked(f, made)
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
			made, err = nil, expo.Caught(p)
		}
	}()
	if !ps.hasRoom(b, f) {
		return nil, errNoRoom
	}
	var before *expo.Page
	if b.before != nil {
		before = b.before.page
	} else if before, err = expo.NewPage(f.format, f.encoding, ps.busy); err != nil {
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
