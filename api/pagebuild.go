package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pushquorum/expo/page"
)

const (
	// maxBuilds is how many pages are built at a time. One alone uses all processors; a second one is there for a small
	// page beside a large one.
	maxBuilds = 2
	// maxFirstBuilds is how many of them may be of forms for which no page is kept. A client that asks for many forms
	// then hinders those little that always ask for the same one, because a page that is made of the last one costs
	// little.
	maxFirstBuilds = 1
)

// build is a page that is being made. Its fields are guarded by pages.mu until done is closed.
type build struct {
	before   *sharedPage // nil for none
	waiting  int         // scrapes that will hold the page
	reserved int64       // bytes of the budget
	done     chan struct{}

	made *sharedPage
	err  error
}

// errNotItsTurn says that pages in many forms were asked for at a time.
var errNotItsTurn = fmt.Errorf(
	"pages in many forms are asked for at a time, and it was not the turn of this one within %s: try again", laneWait,
)

// buildInTurn waits for its turn and builds a page. It returns nil if there is one meanwhile, or another build of it.
func (ps *pages) buildInTurn(ctx context.Context, f pageForm, index uint64, first bool) (*build, error) {
	over := time.NewTimer(laneWait)
	defer over.Stop()
	if first {
		if err := acquireBuildTurn(ctx, ps.firstBuildTurns, over.C); err != nil {
			return nil, err
		}
		defer func() { <-ps.firstBuildTurns }()
	}
	if err := acquireBuildTurn(ctx, ps.buildTurns, over.C); err != nil {
		return nil, err
	}
	defer func() { <-ps.buildTurns }()
	b := ps.begin(f, index)
	if b != nil {
		b.run(ps, f)
	}
	return b, nil
}

func acquireBuildTurn(ctx context.Context, turns chan struct{}, over <-chan time.Time) error {
	select {
	case turns <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-over:
		return errNotItsTurn
	}
}

// begin returns a new build for the caller to run, or nil if there is a right page meanwhile, or another build.
func (ps *pages) begin(f pageForm, index uint64) *build {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	last := ps.askedForLocked(f)
	if ps.isRight(last, index) || ps.builds[f] != nil {
		return nil
	}
	b := &build{before: last, waiting: 1, done: make(chan struct{})} // for the caller
	if last != nil {
		last.holders++
	}
	ps.builds[f] = b
	return b
}

// forgo ends the wait of one scrape for a build.
func (ps *pages) forgo(b *build) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if b.made != nil {
		ps.releaseLocked(b.made)
	} else {
		b.waiting--
	}
}

// run makes the page for all who wait for it. It takes the present state and not the one for which it was begun,
// because those who wait may have come after a later push. A panic becomes an error, the same for all of them.
func (b *build) run(ps *pages, f pageForm) {
	made, err := b.make(ps, f)
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.budget.addLocked(-b.reserved)
	if b.err = err; err == nil {
		ps.budget.addLocked(made.page.Hold())
		ps.budget.sizes[f] = made.page.Len()
		ps.live[made] = struct{}{}
		b.made, made.holders = made, b.waiting+1 // one more, until keepLocked has had its choice
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
	delete(ps.builds, f)
	close(b.done)
}

func (b *build) make(ps *pages, f pageForm) (made *sharedPage, err error) {
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
	} else if before, err = page.New(f.format, f.encoding, ps.pushesActive); err != nil {
		return nil, err
	}
	view := ps.store.View()
	made = &sharedPage{index: view.Index(), recipients: map[*recipient]struct{}{}}
	room := func(bytes int) error { return ps.reserve(b, f, int64(bytes)) }
	if ps.selfMetrics == nil {
		made.page, err = before.NextWithin(view.Exposition(), room)
		return made, err
	}
	made.selfMetricsAt = ps.now()
	own := ps.selfMetrics.gather()
	if b.before != nil && b.before.index == made.index {
		var ok bool
		if made.page, ok = before.Renew(own.exposition); ok {
			return made, nil
		}
	}
	made.page, err = before.NextWithin(ps.selfMetrics.merge(own, view.Exposition()), room)
	return made, err
}
