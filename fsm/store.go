package fsm

import (
	"bytes"
	"slices"
	"strings"

	"github.com/tidwall/btree"

	"pushquorum/expo"
)

// A store is the state that commands make. Whoever applies commands owns it; readers get a View. It has no lock.
//
// Its trees are copy-on-write: a copy costs O(1), and after one the next writes copy the few nodes on their paths.
type store struct {
	groups  *btree.BTreeG[*Group] // by (shape, key)
	headers *btree.BTreeG[header] // by name
	keys    map[string]*Group     // the same groups by key. Never ranged over, like all maps here.
	shapes  map[string]*shape     // those that groups have, by all their names
	// lastShape is the id of the shape that came up last.
	lastShape uint64
	// series holds every stored series with the number of the group that owns it.
	series map[expo.SeriesID]uint32
	// owners are the groups by number, and free the numbers that no group has. A number is this process's own way
	// of saying a group in four bytes: it is in no snapshot, and another one on another replica.
	owners []*Group
	free   []uint32
	// requests remembers what became of recent requests.
	requests *requests
	// written is whether a command has ever changed the store: an import is only for one that has not been.
	written bool
	// setBack are the groups, as they were, whose time has gone back with the entry under way: see touch. For the log
	// alone.
	setBack []*Group
	// sum is the digest of groups, headers and parts, which are the groups' shares of families. It must follow every change.
	sum digest
	// usage counts what is stored.
	usage usage
}

// A header is what a family name has once in an exposition, and how many groups hold the name.
type header struct {
	expo.Header
	groups int
	shared *expo.Header // what the part that came last says
	// helpOf and unitOf are what the parts said whose help text and unit stand here.
	helpOf, unitOf *expo.Header
}

// held is what the table of headers keeps in memory by the header.
func (h *header) held() [3]*expo.Header { return [...]*expo.Header{h.shared, h.helpOf, h.unitOf} }

func (h header) digest() digest {
	w := newHasher("header")
	w.strings(h.Name, h.Help, h.Unit)
	w.number(uint64(h.Type))
	return w.digest()
}

// digestOf is the digest of a group's share of a family.
func digestOf(key string, f *expo.Family) digest {
	h := newHasher("part")
	h.strings(key, f.Name, f.Help, f.Unit)
	h.number(uint64(f.Type))
	h.bytes(f.Metrics)
	return h.digest()
}

func newStore() *store {
	opts := btree.Options{NoLocks: true}
	return &store{
		groups:   btree.NewBTreeGOptions(lessByShape, opts),
		headers:  btree.NewBTreeGOptions(func(a, b header) bool { return a.Name < b.Name }, opts),
		keys:     map[string]*Group{},
		shapes:   map[string]*shape{},
		series:   map[expo.SeriesID]uint32{},
		requests: newRequests(),
		usage:    newUsage(),
	}
}

// wipe deletes every group, whatever their number, in O(1). What requests did is still remembered.
func (s *store) wipe() {
	fresh := newStore()
	fresh.requests, fresh.written, fresh.setBack = s.requests, s.written, s.setBack
	*s = *fresh
}

// digest is the state hash: equal on replicas that hold the same state.
func (s *store) digest() digest {
	d := s.sum
	d.add(s.requests.sum)
	h := newHasher("store")
	h.number(s.requests.forgotten)
	if s.written {
		h.number(1)
	}
	d.add(h.digest())
	return d
}

func (s *store) group(key string) *Group { return s.keys[key] }

func (s *store) header(name string) (header, bool) {
	return s.headers.Get(header{Header: expo.Header{Name: name}})
}

// putGroup replaces old, nil for a new group, by g, at the cost of the families in which they differ. The caller has
// checked that the result is consistent.
func (s *store) putGroup(old, g *Group) {
	var before []Stored
	if old != nil {
		before = old.Families
		g.number = old.number
		s.sum.remove(old.sum)
	} else {
		g.number = s.number()
	}
	// Both lists are sorted by name: one pass finds what goes and what comes.
	i, sameNames := 0, old != nil && len(before) == len(g.Families)
	for j := range g.Families {
		f := &g.Families[j]
		for ; i < len(before) && before[i].Name < f.Name; i++ {
			s.removePart(before[i].Family, before[i].sum)
		}
		if i < len(before) && before[i].Name == f.Name {
			if before[i].Family != f.Family {
				f.sum = s.putPart(g, before[i].Family, before[i].sum, f.Family)
			}
			i++
			continue
		}
		sameNames = false
		f.sum = s.putPart(g, nil, digest{}, f.Family)
	}
	for ; i < len(before); i++ {
		s.removePart(before[i].Family, before[i].sum)
	}
	var was Group
	if old != nil {
		was = *old
	}
	if was.pushTime != g.pushTime {
		g.pushTimeSum = s.putPart(g, was.pushTime, was.pushTimeSum, g.pushTime)
	}
	if was.failureTime != g.failureTime {
		g.failureTimeSum = s.putPart(g, was.failureTime, was.failureTimeSum, g.failureTime)
	}
	if sameNames {
		g.shape = old.shape
	} else {
		g.shape = s.enter(g.Families)
		if old != nil {
			s.leave(old)
		}
	}
	g.sum = g.digest()
	s.sum.add(g.sum)
	s.groups.Set(g)
	s.keys[g.Key] = g
	s.owners[g.number] = g
	s.usage.replaced(old, g)
}

func (s *store) deleteGroup(g *Group) {
	for _, f := range g.Families {
		s.removePart(f.Family, f.sum)
	}
	s.removePart(g.pushTime, g.pushTimeSum)
	s.removePart(g.failureTime, g.failureTimeSum)
	s.sum.remove(g.sum)
	s.leave(g)
	delete(s.keys, g.Key)
	s.owners[g.number] = nil
	s.free = append(s.free, g.number)
	s.usage.replaced(g, nil)
}

// number returns a number for a new group.
func (s *store) number() uint32 {
	if last := len(s.free) - 1; last >= 0 {
		n := s.free[last]
		s.free = s.free[:last]
		return n
	}
	s.owners = append(s.owners, nil)
	return uint32(len(s.owners) - 1)
}

// owner returns the group that has the series, nil for none.
func (s *store) owner(id expo.SeriesID) *Group {
	n, found := s.series[id]
	if !found {
		return nil
	}
	return s.owners[n]
}

// putPart sets a group's share of a family, in place of was, nil for none. It returns its digest.
func (s *store) putPart(g *Group, was *expo.Family, wasSum digest, f *expo.Family) digest {
	h, found := s.header(f.Name)
	before := h
	switch {
	case !found:
		h.Name, h.shared = f.Name, f.Header
	case f.Header == h.shared:
	case *f.Header == *h.shared:
		f.Header = h.shared // What ten thousand groups say is kept once.
	default:
		h.shared = f.Header
	}
	same := was != nil && sameSeries(was, f)
	if was == nil {
		h.groups++
	} else if !same {
		s.forgetSeries(was)
	}
	// Where groups disagree on the help text or the unit, the last one pushed that is not empty wins.
	h.Type = f.Type
	if f.Help != "" || h.groups == 1 {
		h.Help, h.helpOf = f.Help, f.Header
	}
	if f.Unit != "" || h.groups == 1 {
		h.Unit, h.unitOf = f.Unit, f.Header
	}
	if h != before {
		s.headers.Set(h)
		s.usage.headed(&before, &h)
	}
	if found && h.Header != before.Header {
		s.sum.remove(before.digest())
	}
	if !found || h.Header != before.Header {
		s.sum.add(h.digest())
	}

	sum := digestOf(g.Key, f)
	s.sum.remove(wasSum)
	s.sum.add(sum)
	if !same {
		for _, id := range f.Series {
			s.series[id] = g.number
		}
	}
	return sum
}

func (s *store) removePart(f *expo.Family, sum digest) {
	s.sum.remove(sum)
	s.forgetSeries(f)
	h, _ := s.header(f.Name)
	if h.groups--; h.groups > 0 {
		s.headers.Set(h)
		return
	}
	s.headers.Delete(h)
	s.usage.headed(&h, &header{})
	s.sum.remove(h.digest())
}

func (s *store) forgetSeries(f *expo.Family) {
	for _, id := range f.Series {
		delete(s.series, id)
	}
}

// merge returns the families that a group has after a push: with replace only those pushed, else the pushed ones over the
// ones it had. A pushed family without series removes the stored one.
func merge(had *Group, replace bool, pushed []*expo.Family, unixNano int64) []Stored {
	out := make([]Stored, 0, len(pushed))
	if had != nil && !replace {
		for _, f := range had.Families {
			if _, found := slices.BinarySearchFunc(pushed, f.Name, func(p *expo.Family, name string) int { return strings.Compare(p.Name, name) }); !found {
				out = append(out, f)
			}
		}
	}
	stay := len(out) > 0
	for _, f := range pushed {
		if len(f.Series) == 0 {
			continue
		}
		if stay {
			// Families that are pushed together are in memory together, as long as one of them is there. If they replaced each other
			// piece by piece, a group could hold the memory of many pushes.
			f = f.Clone()
		}
		out = append(out, Stored{Family: f, Time: unixNano})
	}
	slices.SortFunc(out, func(a, b Stored) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// sameSeries tells whether two families have the same series, in order.
func sameSeries(a, b *expo.Family) bool { return bytes.Equal(bytesOf(a.Series), bytesOf(b.Series)) }
