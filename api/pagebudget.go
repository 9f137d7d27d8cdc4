package api

import (
	"errors"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// errNoRoom says that a page does not fit beside those that are kept, being built or being sent. The answer is then
// streamed.
var errNoRoom = errors.New("the page does not fit into --web.max-page-bytes")

// pageBudget bounds the memory of pages: kept ones, those being built, and old ones that are still being sent. Its
// fields are guarded by pages.mu.
type pageBudget struct {
	limit int64 // bytes; 0 for no bound
	held  int64 // bytes
	gauge prometheus.Gauge
	// sizes are how long the last answer in each form was, in bytes. There are 48 forms.
	sizes map[pageForm]int64
}

func newPageBudget(limit int64, gauge prometheus.Gauge) pageBudget {
	return pageBudget{limit: limit, gauge: gauge, sizes: map[pageForm]int64{}}
}

func (b *pageBudget) addLocked(bytes int64) {
	b.held += bytes
	b.gauge.Set(float64(b.held))
}

// hasRoom tells whether it is worth beginning a build. A page that is made from the beginning will be about as large as
// the last one in its form.
func (ps *pages) hasRoom(b *build, f pageForm) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	want := int64(0)
	if b.before == nil {
		want = ps.budget.sizes[f]
	}
	return ps.makeRoomLocked(b, want)
}

// reserve acquires bytes of the budget for a build, or returns errNoRoom.
func (ps *pages) reserve(b *build, f pageForm, bytes int64) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if !ps.makeRoomLocked(b, bytes) {
		ps.budget.sizes[f] = max(ps.budget.sizes[f], b.reserved)
		return errNoRoom
	}
	b.reserved += bytes
	ps.budget.addLocked(bytes)
	return nil
}

// noteStreamed notes how long an answer was that did not fit as a page.
func (ps *pages) noteStreamed(f pageForm, bytes int64) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.budget.sizes[f] = bytes
}

// makeRoomLocked drops pages until there is room for so many bytes more, the one that was not asked for longest first.
// If that is not enough, pages that are being sent are in the way: clients that stall over one are cut off, which makes
// room for the next build.
func (ps *pages) makeRoomLocked(b *build, bytes int64) bool {
	if ps.budget.limit == 0 {
		return true
	}
	if bytes > ps.budget.limit {
		return false // whatever else goes
	}
	limit := ps.budget.limit
	if b.before == nil && slices.ContainsFunc(ps.list, ps.isInUse) {
		limit -= limit / 4 // for the next pages of those that are in use
	}
	for ps.budget.held+ps.pinnedLocked(b)+bytes > limit {
		if !ps.evictLocked(b) {
			ps.cutStalledLocked()
			return false
		}
	}
	return true
}

// pinnedLocked is how many bytes of replaced metrics the pages keep from being freed, at most. The page of which the
// next one is made does not count, because the next one shows most of the same.
func (ps *pages) pinnedLocked(b *build) (bytes int64) {
	now := ps.store.Applied()
	for s := range ps.live {
		if s != b.before && s.index < now {
			bytes += s.page.Shown()
		}
	}
	return bytes
}

// evictLocked drops a page that only its slot holds, and returns whether there was one. The first page of a form drops
// none that is in use.
func (ps *pages) evictLocked(b *build) bool {
	for _, s := range ps.list {
		if s.last != b.before && s.last.holders == 1 && (b.before != nil || !ps.isInUse(s)) {
			ps.dropLocked(s)
			return true
		}
	}
	return false
}

// cutStalledLocked cuts off clients that stall over any page, because they keep it from being dropped.
func (ps *pages) cutStalledLocked() {
	for s := range ps.live {
		for to := range s.recipients {
			to.cutIfStalled()
		}
	}
}
