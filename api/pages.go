package api

import (
	"context"
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
)

// form is how a page is asked for.
type form struct {
	format   expfmt.Format
	encoding string
}

// pages keeps the last page in each form, of which the next one is made at the cost of what has changed. There is one builder for
// a form at a time, and scrapes at the same time share what it makes.
type pages struct {
	store Store
	self  *self // nil where pages have the stored metrics alone, and stay right as long as these are the same
	busy  expo.Busy
	now   func() time.Time

	mu   sync.Mutex
	list []*kept // most recently asked for last
}

// kept is what is kept of one form. Its fields are guarded by pages.mu.
type kept struct {
	form form
	last *building
	idle *time.Timer // until it is dropped
}

// building is a page that is there, or will be.
type building struct {
	before *expo.Page // nil for none
	index  uint64     // of the state that is shown; until done is closed, by before
	done   chan struct{}

	// Set when done is closed.
	page *expo.Page
	own  time.Time // when own metrics were gathered
	err  error
}

// get returns a page that shows the state at the index, or a later one. It stops waiting when ctx ends.
func (ps *pages) get(ctx context.Context, f form, index uint64) (*expo.Page, error) {
	for {
		b, mine := ps.join(f, index)
		if mine {
			b.build(ps, f)
		}
		select {
		case <-b.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if b.err != nil || b.index >= index {
			return b.page, b.err
		}
	}
}

// join returns the page that is being built, or that is there and still right, or else a new one, for the caller to build.
func (ps *pages) join(f form, index uint64) (b *building, mine bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	k := ps.askedForLocked(f)
	next := &building{done: make(chan struct{})}
	if last := k.last; last != nil {
		select {
		case <-last.done:
			if last.err == nil && last.index >= index && (ps.self == nil || ps.now().Sub(last.own) < ownMaxAge) {
				return last, false
			}
			next.before, next.index = last.page, last.index
		default:
			return last, false
		}
	}
	k.last = next
	return next, true
}

// askedForLocked finds what is kept of a form, and forgets what has not been asked for.
func (ps *pages) askedForLocked(f form) *kept {
	i := slices.IndexFunc(ps.list, func(k *kept) bool { return k.form == f })
	if i < 0 {
		k := &kept{form: f}
		k.idle = time.AfterFunc(pageIdle, func() { ps.drop(k) })
		if len(ps.list) == maxPages {
			ps.list[0].idle.Stop()
			ps.list = slices.Delete(ps.list, 0, 1)
		}
		ps.list = append(ps.list, k)
		return k
	}
	k := ps.list[i]
	ps.list = append(slices.Delete(ps.list, i, i+1), k)
	k.idle.Reset(pageIdle)
	return k
}

func (ps *pages) drop(k *kept) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.list = slices.DeleteFunc(ps.list, func(other *kept) bool { return other == k })
}

// build makes the page, for whoever waits for it. It takes the present state, and not the one that was asked for first: those who
// wait may have come after a later push. A panic is an error, the same for all of them.
func (b *building) build(ps *pages, f form) {
	before, index, first := b.before, b.index, b.before == nil
	b.before = nil
	defer close(b.done)
	defer func() {
		if p := recover(); p != nil {
			b.page, b.err = nil, expo.Caught(p)
		}
	}()
	if first {
		var err error
		if before, err = expo.NewPage(f.format, f.encoding, ps.busy); err != nil {
			b.err = err
			return
		}
	}
	view := ps.store.View()
	b.index = view.Index()
	if ps.self == nil {
		b.page, b.err = before.Next(view.Exposition())
		return
	}
	b.own = ps.now()
	own := ps.self.gather()
	if !first && index == b.index {
		var ok bool
		if b.page, ok = before.Renew(own.exposition); ok {
			return
		}
	}
	b.page, b.err = before.Next(ps.self.merge(own, view.Exposition()))
}
