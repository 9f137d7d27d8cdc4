package main

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// families is how many metric families a group can have. Each holds one gauge, whose value is the number of the push
// that set it: a value says who wrote it.
const families = 3

// content is what a group holds: the number of the push that set each family, 0 for a family that is not there. A group
// can be there without families.
type content struct {
	there  bool
	values [families]int32
}

func (c content) String() string {
	if !c.there {
		return "nothing"
	}
	text := ""
	for i, v := range c.values {
		if v != 0 {
			text += fmt.Sprintf(" %c=%d", 'a'+i, v)
		}
	}
	return "{" + text + " }"
}

type kind uint8

const (
	put    kind = iota // replaces what the group holds
	post               // replaces the families that are pushed
	remove             // deletes the group
	wipe               // deletes all groups
	read
)

func (k kind) String() string { return [...]string{"PUT", "POST", "DELETE", "wipe", "read"}[k] }

// operation is what a client asked for and what it was told, on one group.
type operation struct {
	kind   kind
	client int
	// pushed is what a put or post writes, or what a read has seen.
	content content
	// call and ret are times since the start of the history. The effect is in between, exactly once; of one whose
	// outcome is unknown it is at any time after call, or never.
	call, ret time.Duration
	unknown   bool
	// where says which replicas were asked.
	where string
}

func (o operation) String() string {
	text := o.kind.String()
	if o.kind != remove && o.kind != wipe {
		text += " " + o.content.String()
	}
	ret := fmt.Sprintf("%.3f s", o.ret.Seconds())
	if o.unknown {
		ret = "unknown"
	}
	return fmt.Sprintf("%.3f s … %s: client %d at %s: %s", o.call.Seconds(), ret, o.client, o.where, text)
}

// history is what the clients did and saw, group by group.
type history struct {
	began time.Time

	mu     sync.Mutex
	groups map[string]*group
	wipes  []operation
	// pending are the wipes that are under way, by client.
	pending map[int]operation

	counts map[string]int // of everything, for the report
}

// group is the history of one group. A name is used for one group only, and so a group begins with nothing.
type group struct {
	name  string
	born  time.Duration
	ops   []operation
	stale []operation // reads that were marked as stale
	// pending are the writes that are under way, by client. What they write may be seen before they are done.
	pending map[int]operation

	next     int32 // number of the next push
	writes   int
	unknown  int
	retired  time.Duration // since when nobody writes to it; 0: in use
	lastSeen map[int]content
}

func newHistory() *history {
	return &history{
		began: time.Now(), groups: map[string]*group{}, pending: map[int]operation{}, counts: map[string]int{},
	}
}

func (h *history) now() time.Duration { return time.Since(h.began) }

func (h *history) count(event string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[event]++
}

// newGroup begins a group.
func (h *history) newGroup(name string) *group {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := &group{name: name, born: h.now(), pending: map[int]operation{}, lastSeen: map[int]content{}}
	h.groups[name] = g
	return g
}

// number is that of the next push to a group.
func (h *history) number(g *group) int32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	g.next++
	return g.next
}

// asks records that a write of one group, or a wipe when g is nil, is under way. A client has one at a time.
func (h *history) asks(g *group, o operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o.unknown = true
	h.under(g)[o.client] = o
}

func (h *history) under(g *group) map[int]operation {
	if g == nil {
		return h.pending
	}
	return g.pending
}

// gaveUp records that the write under way has certainly not happened.
func (h *history) gaveUp(g *group, o operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.under(g), o.client)
}

// wrote records the outcome of the write under way.
func (h *history) wrote(g *group, o operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.under(g), o.client)
	outcome := "acknowledged"
	if o.unknown {
		outcome = "unknown"
	}
	h.counts["writes "+outcome]++
	if g == nil {
		h.wipes = append(h.wipes, o)
		return
	}
	g.ops = append(g.ops, o)
	g.writes++
	if o.unknown {
		g.unknown++
	}
}

// saw records a scrape as a read of every group that was there when it was asked for. Of a group that is not written
// any more, a client's reads that show nothing new say nothing new; they are kept only if all is true.
func (h *history) saw(page map[string]content, o operation, stale, all bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts["scrapes"]++
	if stale {
		h.counts["stale scrapes"]++
	}
	for name, g := range h.groups {
		o.content = page[name]
		last, before := g.lastSeen[o.client]
		if !all && before && last == o.content && (stale || g.retired != 0) {
			continue
		}
		if g.born > o.ret {
			continue
		}
		g.lastSeen[o.client] = o.content
		if stale {
			g.stale = append(g.stale, o)
		} else {
			g.ops = append(g.ops, o)
		}
	}
}

// of is the history of a group up to now, in order of calls: wipes are part of it, and what is under way is unknown.
func (h *history) of(g *group) (ops, stale []operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ops = slices.Clone(g.ops)
	for _, w := range h.wipes {
		if w.unknown || w.ret > g.born {
			ops = append(ops, w)
		}
	}
	ops = slices.AppendSeq(ops, maps.Values(g.pending))
	ops = slices.AppendSeq(ops, maps.Values(h.pending))
	slices.SortStableFunc(ops, func(a, b operation) int { return int(a.call - b.call) })
	return ops, slices.Clone(g.stale)
}

func (h *history) all() []*group {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := slices.Collect(maps.Values(h.groups))
	slices.SortFunc(out, func(a, b *group) int { return int(a.born - b.born) })
	return out
}
