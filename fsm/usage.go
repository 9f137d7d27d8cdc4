package fsm

import (
	"cmp"

	"pushquorum/expo"
)

// Usage is what is stored, as it counts against [Limits].
type Usage struct {
	Groups int
	Series int   // pushed ones: not those of the push-time families
	Bytes  int64 // of memory, about: what a group costs by the formula of this file
}

func (u *Usage) add(d Usage) {
	u.Groups += d.Groups
	u.Series += d.Series
	u.Bytes += d.Bytes
}

func (u *Usage) subtract(d Usage) {
	u.Groups -= d.Groups
	u.Series -= d.Series
	u.Bytes -= d.Bytes
}

// What the parts of the state cost in memory, in bytes: their structs, their places in trees and maps, and what the
// allocator rounds up. Measured, see TestAccountedBytesAreThoseOfTheHeap. A map is between half and fully loaded: these
// are for one in the middle, and rather more than less.
const (
	groupCost  = 260 // a group without families, with its two push times
	keyFactor  = 1   // a byte of its key
	familyCost = 70  // a family of a group
	seriesCost = 40  // a series, beside its metric: its ID, and its place in the index
	nameCost   = 140 // a name, in the table of headers
	headerCost = 140 // what a family says, beside the texts
	shapeCost  = 130 // a shape, beside the names
)

// usage is the bookkeeping of a store. It is this replica's own: which families share what they say depends on its
// past, so another replica may come to another number of bytes. It is in no snapshot and in no hash, and decides
// nothing in Apply.
type usage struct {
	tally
	// holders is how many families hold a header, and places in the table of headers refer to it.
	holders map[*expo.Header]int
}

type tally struct {
	Usage
	// largest is what no group exceeds: of each figure the highest that any group has had since the store was made.
	largest extent
	// replaced is what groups took that are not in the store any more, and may still be in views. It never falls.
	replaced int64
}

func newUsage() usage { return usage{holders: map[*expo.Header]int{}} }

// extent is the size of a group.
type extent struct {
	series int
	bytes  int64 // of memory, without what it may share with others: headers and the shape
	record int64 // at most, in a snapshot
	names  int64 // the length of its families' names
}

func extentOf(g *Group) (e extent) {
	if g == nil {
		return e
	}
	key := int64(len(g.Key))
	e.bytes = groupCost + keyFactor*key
	e.record = recordOverhead + labelOverhead*key
	for _, f := range g.Families {
		own := int64(f.MetricsSize() + idSize*f.Len())
		e.series += f.Len()
		e.bytes += familyCost + int64(f.MetricsSize()+seriesCost*f.Len())
		e.record += recordOverhead + own + int64(len(f.Name)+len(f.Help)+len(f.Unit))
		e.names += int64(len(f.Name)) + 1
	}
	return e
}

// What stands in a record of a snapshot beside the texts and metrics, at most, in bytes.
const (
	recordOverhead = 100 // for a group, and for each family: tags, lengths, type, times
	labelOverhead  = 16  // for each byte of a key: a label has at least two of them
)

func (e *extent) raise(to extent) {
	e.series, e.bytes = max(e.series, to.series), max(e.bytes, to.bytes)
	e.record, e.names = max(e.record, to.record), max(e.names, to.names)
}

func costOfHeader(h *expo.Header) int64 {
	return headerCost + int64(len(h.Name)+len(h.Help)+len(h.Unit))
}

// costOfShape: the names are put together in memory that is doubled as they grow.
func costOfShape(names int64) int64 { return shapeCost + 2*names }

// replaced counts g, nil for none, in place of old, nil for none, once the store has done so.
func (u *usage) replaced(old, g *Group) {
	was, is := extentOf(old), extentOf(g)
	u.largest.raise(is)
	u.tally.replaced += was.bytes
	u.Series += is.series - was.series
	u.Bytes += is.bytes - was.bytes
	if g != nil {
		for i := range g.Families {
			if h := g.Families[i].Header; !saysAt(old, i, h) {
				u.hold(h)
			}
		}
	}
	if old != nil {
		for i := range old.Families {
			if h := old.Families[i].Header; !saysAt(g, i, h) {
				u.release(h)
			}
		}
	}
	switch {
	case old == nil:
		u.Groups++
	case g == nil:
		u.Groups--
	case old.shape == g.shape:
		return
	}
	if g != nil && g.shape.groups == 1 { // it has come with the group
		u.Bytes += costOfShape(int64(len(g.shape.names)))
	}
	if old != nil && old.shape.groups == 0 { // it has gone with the group
		u.Bytes -= costOfShape(int64(len(old.shape.names)))
	}
}

// saysAt tells whether a group has a family with that header at that place.
func saysAt(g *Group, place int, h *expo.Header) bool {
	return g != nil && place < len(g.Families) && g.Families[place].Header == h
}

// headed counts what the table of headers holds of a name, in place of what it held. Of none the header is zero.
func (u *usage) headed(before, after *header) {
	if of := cmp.Or(before.shared, after.shared); of == pushTimeHeader || of == failureTimeHeader {
		return // there with any group
	}
	switch {
	case before.shared == nil && after.shared != nil:
		u.Bytes += nameCost
	case before.shared != nil && after.shared == nil:
		u.Bytes -= nameCost
	}
	was, is := before.held(), after.held()
	for i := range is {
		if was[i] == is[i] {
			continue
		}
		if is[i] != nil {
			u.hold(is[i])
		}
		if was[i] != nil {
			u.release(was[i])
		}
	}
}

func (u *usage) hold(h *expo.Header) {
	n := u.holders[h]
	u.holders[h] = n + 1
	if n == 0 {
		u.Bytes += costOfHeader(h)
	}
}

func (u *usage) release(h *expo.Header) {
	if n := u.holders[h]; n > 1 {
		u.holders[h] = n - 1
		return
	}
	delete(u.holders, h)
	u.Bytes -= costOfHeader(h)
}

// growth is by how much the usage grows, at most, when g takes the place of old, nil for none. It is exact but for what
// else would be let go of: old may be shared in ways that cost more to find than they matter.
func (s *store) growth(old, g *Group) Usage {
	was, is := extentOf(old), extentOf(g)
	d := Usage{Series: is.series - was.series, Bytes: is.bytes - was.bytes}
	if old == nil {
		d.Groups = 1
	}
	sameNames := old != nil && len(old.Families) == len(g.Families)
	for i := range g.Families {
		f := g.Families[i].Family
		had, found := old.family(f.Name, i)
		sameNames = sameNames && found
		if had.Family != f {
			d.Bytes += s.growthOfHeader(had.Family, f)
		}
	}
	if sameNames {
		return d
	}
	if old != nil {
		for i := range old.Families {
			if _, stays := g.family(old.Families[i].Name, i); !stays {
				d.Bytes -= s.freedWith(old.Families[i].Family)
			}
		}
		if old.shape != nil && old.shape.groups == 1 {
			d.Bytes -= costOfShape(int64(len(old.shape.names)))
		}
	}
	if names := namesOf(g.Families); s.shapes[names] == nil {
		d.Bytes += costOfShape(int64(len(names)))
	}
	return d
}

// growthOfHeader is what it costs more that a group has f in place of had, nil for none, beside what is the group's
// own.
func (s *store) growthOfHeader(had, f *expo.Family) int64 {
	h, found := s.header(f.Name)
	if !found {
		return nameCost + costOfHeader(f.Header)
	}
	if f.Header == h.shared || *f.Header == *h.shared {
		return 0 // and had's, which may go, is left out of account
	}
	d := costOfHeader(f.Header)
	if had == nil || !s.usage.onlyHere(&h, had.Header) {
		return d
	}
	alone := h.groups == 1
	if (alone || f.Help != "" || h.helpOf != had.Header) && (alone || f.Unit != "" || h.unitOf != had.Header) {
		d -= costOfHeader(had.Header)
	}
	return d
}

// freedWith is what goes with a group's share of a family, beside what is the group's own.
func (s *store) freedWith(f *expo.Family) int64 {
	h, found := s.header(f.Name)
	if !found || h.groups != 1 || !s.usage.onlyHere(&h, f.Header) {
		return 0
	}
	return nameCost + costOfHeader(f.Header)
}

// onlyHere tells whether one family alone has the header, beside the table.
func (u *usage) onlyHere(h *header, held *expo.Header) bool {
	n := 1
	for _, other := range h.held() {
		if other == held {
			n++
		}
	}
	return u.holders[held] == n
}
