package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/common/expfmt"

	"pushquorum/expo/page"
)

const (
	// maxPages is how many pages are kept: one in each of the forms that were asked for last.
	maxPages = 3
	// pageIdle is how long a page is kept for which nobody asks: longer than any sane scrape interval.
	pageIdle = 5 * time.Minute
	// selfMetricsMaxAge is how old own metrics on a page may be. Within it, a scrape of an unchanged state costs a
	// copy.
	selfMetricsMaxAge = time.Second
	// inUseFor is how long a page that was asked for again is not dropped for the sake of other forms: longer than the
	// usual scrape intervals.
	inUseFor = 2 * time.Minute
)

// pageForm is in which form a page is asked for.
type pageForm struct {
	format   expfmt.Format
	encoding string
}

// pages keeps the last page in each form, of which the next one is made at the cost of what has changed. There is one
// build of a form at a time, and all scrapes that come meanwhile share the page that it makes.
type pages struct {
	store           Store
	selfMetrics     *selfMetrics // nil: pages have the stored metrics alone, and stay right until these change
	pushesActive    page.Busy
	now             func() time.Time
	buildTurns      chan struct{} // holds one value for each page that is being built
	firstBuildTurns chan struct{} // the same for forms for which no page is kept
	budget          pageBudget

	mu     sync.Mutex
	list   []*slot // most recently asked for last
	builds map[pageForm]*build
	live   map[*sharedPage]struct{} // pages that are held
}

func newPages(store Store, self *selfMetrics, pushesActive page.Busy, budget pageBudget) *pages {
	return &pages{
		store: store, selfMetrics: self, pushesActive: pushesActive, now: time.Now, budget: budget,
		buildTurns: make(chan struct{}, maxBuilds), firstBuildTurns: make(chan struct{}, maxFirstBuilds),
		builds: map[pageForm]*build{}, live: map[*sharedPage]struct{}{},
	}
}

// slot keeps the last page in one form. Its fields are guarded by pages.mu.
type slot struct {
	form  pageForm
	last  *sharedPage
	idle  *time.Timer // drops the slot
	asked time.Time   // when it was last asked for
	again bool        // whether it has been asked for since it was made
}

// sharedPage is a page of one state. Its holders are its slot, the build of the next page, and the clients that are
// sent it. When the last of them releases it, its memory is free.
type sharedPage struct {
	page          *page.Page
	index         uint64
	selfMetricsAt time.Time

	// Guarded by pages.mu.
	holders    int
	recipients map[*recipient]struct{}
}

// get returns a page that shows the state at the index or a later one. The caller sends it to the client and then
// releases it. The errors are errNoRoom if the page does not fit, errNotItsTurn if others were in front for too long,
// that of ctx, or why the page could not be made.
func (ps *pages) get(ctx context.Context, f pageForm, index uint64, to *recipient) (*sharedPage, error) {
	for {
		made, b, first := ps.find(f, index, to)
		if made != nil {
			return made, nil
		}
		if b == nil {
			var err error
			if b, err = ps.buildInTurn(ctx, f, index, first); err != nil {
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

// find returns the kept page if it is right, or else the build that is under way, or neither. first says that no page
// of the form is kept.
func (ps *pages) find(f pageForm, index uint64, to *recipient) (made *sharedPage, b *build, first bool) {
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
	if b = ps.builds[f]; b != nil {
		b.waiting++
	}
	return nil, b, last == nil
}

func (ps *pages) isRight(s *sharedPage, index uint64) bool {
	return s != nil && s.index >= index && (ps.selfMetrics == nil || ps.now().Sub(s.selfMetricsAt) < selfMetricsMaxAge)
}

// askedForLocked notes that a form was asked for, and returns its last page, nil if none is kept.
func (ps *pages) askedForLocked(f pageForm) *sharedPage {
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

// keepLocked puts a page into the slot of its form, unless all slots are in use by other forms.
func (ps *pages) keepLocked(f pageForm, made *sharedPage) {
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

// isInUse tells whether the form of a slot is asked for again and again.
func (ps *pages) isInUse(s *slot) bool { return s.again && ps.now().Sub(s.asked) < inUseFor }

func (ps *pages) drop(s *slot) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if slices.Contains(ps.list, s) {
		ps.dropLocked(s)
	}
}

// dropFormLocked drops the page of a form, beside which the next one has no room. The next one is then made from the
// beginning.
func (ps *pages) dropFormLocked(f pageForm) {
	if i := slices.IndexFunc(ps.list, func(s *slot) bool { return s.form == f }); i >= 0 {
		ps.dropLocked(ps.list[i])
	}
}

func (ps *pages) dropLocked(s *slot) {
	s.idle.Stop()
	ps.list = slices.DeleteFunc(ps.list, func(other *slot) bool { return other == s })
	ps.releaseLocked(s.last)
}

// sendTo registers a client to which the page is sent. pages.mu is held.
func (s *sharedPage) sendTo(to *recipient) {
	if to != nil { // else it is a test's
		s.recipients[to] = struct{}{}
	}
}

// release ends one hold of a page. to is the client to which it was sent, or nil.
func (ps *pages) release(s *sharedPage, to *recipient) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(s.recipients, to)
	ps.releaseLocked(s)
}

func (ps *pages) releaseLocked(s *sharedPage) {
	if s.holders--; s.holders == 0 {
		ps.budget.addLocked(-s.page.Release())
		delete(ps.live, s)
	}
}
