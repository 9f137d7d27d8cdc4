package api

import (
	"errors"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// errNoRoom says that a page does not fit beside those that are kept, built or sent. The answer is then streamed.
var errNoRoom = errors.New("the page does not fit into --web.max-page-bytes")

// pageBudget bounds the memory of pages: those that are kept, those that are built, and old ones that are still being
// sent. Its fields are guarded by pages.mu.
type pageBudget struct {
	limit int64 // bytes; 0 for no bound
	held  int64
	gauge prometheus.Gauge
	// sizes are the last known ones of answers in each form. There are not many forms.
	sizes map[pageForm]int64
}

func newPageBudget(limit int64, gauge prometheus.Gauge) pageBudget {
	return pageBudget{limit: limit, gauge: gauge, sizes: map[pageForm]int64{}}
}

func (b *pageBudget) addLocked(bytes int64) {
	b.held += bytes
	b.gauge.Set(float64(b.held))
}

// hasRoom tells whether it is worth while to begin a build: a page that is made from the beginning will be about as
// large as the last one in its form.
func (ps *pages) hasRoom(b *build, f pageForm) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	want := int64(0)
	if b.before == nil {
		want = ps.budget.sizes[f]
	}
	return ps.makeRoomLocked(b, want)
}

// reserve takes so much of the budget for a build.
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

// streamed notes how long an answer in a form was that did not fit.
func (ps *pages) noteStreamed(f pageForm, bytes int64) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.budget.sizes[f] = bytes
}

// makeRoomLocked drops pages until there is room for so many bytes more, those first that have not been asked for
// longest. If that is not enough, pages are in the way that are being sent: whoever stalls over one is cut, and the
// next build has its room.
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

// pinnedLocked is how many bytes of replaced metrics pages keep from being freed, at most. The page of which the next
// one is made does not count: most of what it shows is shown again.
func (ps *pages) pinnedLocked(b *build) (bytes int64) {
	now := ps.store.Applied()
	for s := range ps.live {
		if s != b.before && s.index < now {
			bytes += s.page.Shown()
		}
	}
	return bytes
}

// evictLocked drops a page that nobody but its slot holds; the first page of a form drops none that is in use.
func (ps *pages) evictLocked(b *build) bool {
	for _, s := range ps.list {
		if s.last != b.before && s.last.holders == 1 && (b.before != nil || !ps.isInUse(s)) {
			ps.dropLocked(s)
			return true
		}
	}
	return false
}

// cutStalledLocked cuts off those who stall over any page: each keeps it from being dropped.
func (ps *pages) cutStalledLocked() {
	for s := range ps.live {
		for to := range s.recipients {
			to.cutIfStalled()
		}
	}
}
