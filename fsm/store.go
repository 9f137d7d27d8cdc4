package fsm

import (
	"bytes"
	"iter"
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
	shapes  map[string]*shape     // those that groups have, by all their names. Never ranged over, like all maps here.
	// lastShape is the id of the shape that came up last.
	lastShape uint64
	// keys and series lead to the groups that have them.
	keys   index[string]
	series index[expo.SeriesID]
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
	// sum is the digest of groups, headers and parts, which are the groups' shares of families. It must follow every
	// change.
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
	var scratch [256]byte
	h.bytes(f.MetricsIn(scratch[:0]))
	return h.digest()
}

func newStore() *store {
	opts := btree.Options{NoLocks: true}
	return &store{
		groups:   btree.NewBTreeGOptions(lessByShape, opts),
		headers:  btree.NewBTreeGOptions(func(a, b header) bool { return a.Name < b.Name }, opts),
		shapes:   map[string]*shape{},
		keys:     newIndex[string](),
		series:   newIndex[expo.SeriesID](),
		requests: newRequests(),
		usage:    newUsage(),
	}
}

// wipe deletes every group, whatever their number, in O(1). What requests did is still remembered.
func (s *store) wipe() {
	fresh := newStore()
	fresh.requests, fresh.written, fresh.setBack = s.requests, s.written, s.setBack
	fresh.usage.tally.replaced = s.usage.tally.replaced + s.usage.Bytes
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

// group returns the group with that key, nil for none.
func (s *store) group(key string) *Group {
	if n, found, _ := s.keys.find(key); found && s.owners[n].Key == key {
		return s.owners[n]
	}
	return nil
}

func (s *store) header(name string) (header, bool) {
	return s.headers.Get(header{Header: expo.Header{Name: name}})
}

// putGroup replaces old, nil for a new group, by g, at the cost of the families in which they differ. The caller has
// checked that the result is consistent.
func (s *store) putGroup(old, g *Group) {
	var was Group
	if old != nil {
		was = *old
		g.number = old.number
	} else {
		g.number = s.number()
		s.keys.put(g.Key, g.number)
	}
	stay, sameNames := len(g.Families), len(was.Families) == len(g.Families) && old != nil
	sum := digest{}
	for goes, comes := range differences(was.Families, g.Families) {
		sameNames = sameNames && goes != nil && comes != nil
		if comes == nil {
			s.removePart(goes)
		} else {
			stay--
			s.putPart(goes, comes)
			sum.add(digestOf(g.Key, comes))
		}
		s.putSeries(g, goes, comes)
	}
	if was.pushTime != g.pushTime {
		s.putPart(was.pushTime, g.pushTime)
	}
	if was.failureTime != g.failureTime {
		s.putPart(was.failureTime, g.failureTime)
	}
	if sameNames {
		g.shape = old.shape
	} else {
		g.shape = s.enter(g.Families)
		if old != nil {
			s.leave(old)
		}
	}
	s.sum.remove(was.sum)
	g.sum = g.digest()
	g.sum.add(sum)
	if stay > 0 {
		g.sum.add(was.sumOfStaying(g))
	}
	s.sum.add(g.sum)
	s.groups.Set(g)
	s.owners[g.number] = g
	s.usage.replaced(old, g)
}

// sumOfStaying is the sum of the families that next, which replaces the group, has taken over: what is left of the
// group's sum without the others, because those are at most as large as the push.
func (g *Group) sumOfStaying(next *Group) digest {
	sum := g.sum
	sum.remove(g.digest())
	for goes := range differences(g.Families, next.Families) {
		if goes != nil {
			sum.remove(digestOf(g.Key, goes))
		}
	}
	return sum
}

// differences yields what differs in two lists that are sorted by name: the family that goes and the one of its name
// that comes, either of them nil where the other list has none of that name.
func differences(before, after []Stored) iter.Seq2[*expo.Family, *expo.Family] {
	return func(yield func(goes, comes *expo.Family) bool) {
		for len(before) > 0 || len(after) > 0 {
			var goes, comes *expo.Family
			order := 0
			switch {
			case len(before) == 0:
				order = 1
			case len(after) == 0:
				order = -1
			default:
				order = strings.Compare(before[0].Name, after[0].Name)
			}
			if order <= 0 {
				goes, before = before[0].Family, before[1:]
			}
			if order >= 0 {
				comes, after = after[0].Family, after[1:]
			}
			if goes != comes && !yield(goes, comes) {
				return
			}
		}
	}
}

func (s *store) deleteGroup(g *Group) {
	for _, f := range g.Families {
		s.removePart(f.Family)
		s.putSeries(g, f.Family, nil)
	}
	s.removePart(g.pushTime)
	s.removePart(g.failureTime)
	s.sum.remove(g.sum)
	s.leave(g)
	s.keys.remove(g.Key, g.number)
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

// rival returns the group other than g that has the series of a family of that name, nil for none.
func (s *store) rival(g *Group, name string, id expo.SeriesID) *Group {
	n, found, sure := s.series.find(id)
	if !found || s.owners[n].Key == g.Key {
		return nil
	}
	owner := s.owners[n]
	if f, _ := owner.family(name, 0); sure || f.Family != nil && slices.Contains(f.Series(), id) {
		return owner
	}
	return nil
}

// putPart counts a group's share of a family, in place of was, nil for none, in what the name has once.
func (s *store) putPart(was, f *expo.Family) {
	h, found := s.header(f.Name)
	before := h
	switch {
	case !found:
		h.Name, h.shared = f.Name, f.Header
	case f.Header == h.shared:
	case *f.Header == *h.shared:
		f.Header = h.shared // what all groups say is kept once
	default:
		h.shared = f.Header
	}
	if was == nil {
		h.groups++
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
}

// removePart is putPart for a share that goes.
func (s *store) removePart(f *expo.Family) {
	h, _ := s.header(f.Name)
	if h.groups--; h.groups > 0 {
		s.headers.Set(h)
		return
	}
	s.headers.Delete(h)
	s.usage.headed(&h, &header{})
	s.sum.remove(h.digest())
}

// putSeries makes the series of a group's family lead to the group, and no longer those that it replaces. Either is nil
// for none. Push-time series are not among them, because a group's key says whose they are, see twinOf.
func (s *store) putSeries(g *Group, was, f *expo.Family) {
	if was != nil && f != nil && sameSeries(was, f) {
		return
	}
	if was != nil {
		for _, id := range was.Series() {
			s.series.remove(id, g.number)
		}
	}
	if f != nil {
		for _, id := range f.Series() {
			s.series.put(id, g.number)
		}
	}
}

// merge returns the families that a group has after a push: with replace only those pushed, else the pushed ones over
// the ones it had. A pushed family without series removes the stored one.
func merge(had *Group, replace bool, pushed []*expo.Family, unixNano int64) []Stored {
	out := make([]Stored, 0, len(pushed))
	if had != nil && !replace {
		for _, f := range had.Families {
			if _, found := slices.BinarySearchFunc(pushed, f.Name,
				func(p *expo.Family, name string) int { return strings.Compare(p.Name, name) }); !found {
				out = append(out, f)
			}
		}
	}
	stay := len(out) > 0
	for _, f := range pushed {
		if f.Len() == 0 {
			continue
		}
		if stay {
			// Families that are pushed together are in memory together, as long as one of them is there. If they
			// replaced each other piece by piece, a group could hold the memory of many pushes.
			f = f.Clone()
		}
		out = append(out, Stored{Family: f, Time: unixNano})
	}
	slices.SortFunc(out, func(a, b Stored) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// sameSeries tells whether two families have the same series, in order.
func sameSeries(a, b *expo.Family) bool { return bytes.Equal(bytesOf(a.Series()), bytesOf(b.Series())) }
