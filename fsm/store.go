package fsm

import (
	"slices"
	"strings"

	"github.com/tidwall/btree"

	"pushquorum/expo"
)

// A store is the state that commands make: groups, and the same families once more in the order of the exposition. Whoever
// applies commands owns it; readers get a View. It has no lock.
//
// Its trees are copy-on-write: a copy costs O(1), and after one the next writes copy the few nodes on their paths.
type store struct {
	groups  *btree.BTreeG[*Group] // by key
	headers *btree.BTreeG[header] // by name
	// parts are the families of all groups, the two push-time families included, by (name, grouping key): walking them in
	// order is the exposition.
	parts *btree.BTreeG[*part]
	// series holds every stored series with the number of the group that owns it. Never ranged over.
	series map[expo.SeriesID]uint32
	// owners are the keys of the groups by number, and free the numbers that no group has. A number is this process's own way
	// of saying a key in four bytes: it is in no snapshot, and another one on another replica.
	owners []string
	free   []uint32
	// requests remembers what became of recent requests.
	requests *requests
	// written is whether a command has ever changed the store: an import is only for one that has not been.
	written bool
	// sum is the digest of groups, headers and parts. It must follow every change of them.
	sum digest
}

// A header is what a family name has once in an exposition, and how many groups hold the name.
type header struct {
	expo.Header
	groups int
}

func (h header) digest() digest {
	w := newHasher("header")
	w.strings(h.Name, h.Help, h.Unit)
	w.number(uint64(h.Type))
	return w.digest()
}

// A part is one group's share of a family.
type part struct {
	name, key string
	family    *expo.Family
	sum       digest // kept, because the family's bytes are costly to hash again when it goes
}

func newPart(key string, f *expo.Family) *part {
	h := newHasher("part")
	h.strings(key, f.Name, f.Help, f.Unit)
	h.number(uint64(f.Type))
	h.bytes(f.Metrics)
	return &part{name: f.Name, key: key, family: f, sum: h.digest()}
}

func newStore() *store {
	opts := btree.Options{NoLocks: true}
	return &store{
		groups:  btree.NewBTreeGOptions(func(a, b *Group) bool { return a.Key < b.Key }, opts),
		headers: btree.NewBTreeGOptions(func(a, b header) bool { return a.Name < b.Name }, opts),
		parts: btree.NewBTreeGOptions(func(a, b *part) bool {
			if c := strings.Compare(a.name, b.name); c != 0 {
				return c < 0
			}
			return a.key < b.key
		}, opts),
		series:   map[expo.SeriesID]uint32{},
		requests: newRequests(),
	}
}

// wipe deletes every group, whatever their number, in O(1). What requests did is still remembered.
func (s *store) wipe() {
	fresh := newStore()
	fresh.requests, fresh.written = s.requests, s.written
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

func (s *store) group(key string) *Group {
	g, _ := s.groups.Get(&Group{Key: key})
	return g
}

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
		s.sum.remove(old.digest())
	} else {
		g.number = s.number(g.Key)
	}
	// Both lists are sorted by name: one pass finds what goes and what comes.
	i := 0
	for j := range g.Families {
		f := &g.Families[j]
		for ; i < len(before) && before[i].Name < f.Name; i++ {
			s.removePart(g.Key, before[i].Family)
		}
		var was *expo.Family
		if i < len(before) && before[i].Name == f.Name {
			was = before[i].Family
			i++
		}
		if was != f.Family {
			s.putPart(g, was, f.Family)
		}
	}
	for ; i < len(before); i++ {
		s.removePart(g.Key, before[i].Family)
	}
	var pushTime, failureTime *expo.Family
	if old != nil {
		pushTime, failureTime = old.pushTime, old.failureTime
	}
	s.putTime(g, pushTime, g.pushTime)
	s.putTime(g, failureTime, g.failureTime)
	s.groups.Set(g)
	s.sum.add(g.digest())
}

func (s *store) putTime(g *Group, was, f *expo.Family) {
	if was != f {
		s.putPart(g, was, f)
	}
}

func (s *store) deleteGroup(g *Group) {
	for _, f := range g.Families {
		s.removePart(g.Key, f.Family)
	}
	s.removePart(g.Key, g.pushTime)
	s.removePart(g.Key, g.failureTime)
	s.groups.Delete(g)
	s.sum.remove(g.digest())
	s.owners[g.number] = ""
	s.free = append(s.free, g.number)
}

// number returns a number for a new group.
func (s *store) number(key string) uint32 {
	if last := len(s.free) - 1; last >= 0 {
		n := s.free[last]
		s.free = s.free[:last]
		s.owners[n] = key
		return n
	}
	s.owners = append(s.owners, key)
	return uint32(len(s.owners) - 1)
}

// owner returns the key of the group that has the series.
func (s *store) owner(id expo.SeriesID) (key string, found bool) {
	n, found := s.series[id]
	if !found {
		return "", false
	}
	return s.owners[n], true
}

// putPart sets a group's share of a family, in place of was, nil for none.
func (s *store) putPart(g *Group, was, f *expo.Family) {
	h, found := s.header(f.Name)
	before := h
	if found {
		// The same strings in ten thousand groups are kept once.
		f.Name = h.Name
		if f.Help == h.Help {
			f.Help = h.Help
		}
	} else {
		h.Name = f.Name
	}
	sameSeries := was != nil && slices.Equal(was.Series, f.Series) // mostly only the values are new
	if was == nil {
		h.groups++
	} else if !sameSeries {
		s.forgetSeries(was)
	}
	// Where groups disagree on the help text or the unit, the last one pushed that is not empty wins.
	h.Type = f.Type
	if f.Help != "" || h.groups == 1 {
		h.Help = f.Help
	}
	if f.Unit != "" || h.groups == 1 {
		h.Unit = f.Unit
	}
	if h != before {
		s.headers.Set(h)
	}
	if found && h.Header != before.Header {
		s.sum.remove(before.digest())
	}
	if !found || h.Header != before.Header {
		s.sum.add(h.digest())
	}

	p := newPart(g.Key, f)
	if prev, replaced := s.parts.Set(p); replaced {
		s.sum.remove(prev.sum)
	}
	s.sum.add(p.sum)
	if !sameSeries {
		for _, id := range f.Series {
			s.series[id] = g.number
		}
	}
}

func (s *store) removePart(key string, f *expo.Family) {
	if prev, found := s.parts.Delete(&part{name: f.Name, key: key}); found {
		s.sum.remove(prev.sum)
	}
	s.forgetSeries(f)
	h, _ := s.header(f.Name)
	if h.groups--; h.groups > 0 {
		s.headers.Set(h)
		return
	}
	s.headers.Delete(h)
	s.sum.remove(h.digest())
}

func (s *store) forgetSeries(f *expo.Family) {
	for _, id := range f.Series {
		delete(s.series, id)
	}
}

// merge returns the families that a group has after a push: with replace only those pushed, else the pushed ones over the
// ones it had. A pushed family without series removes the stored one.
func merge(old *Group, replace bool, pushed []*expo.Family, unixNano int64) []Stored {
	var out []Stored
	if old != nil && !replace {
		out = slices.DeleteFunc(slices.Clone(old.Families), func(f Stored) bool {
			_, found := slices.BinarySearchFunc(pushed, f.Name, func(p *expo.Family, name string) int { return strings.Compare(p.Name, name) })
			return found
		})
	}
	for _, f := range pushed {
		if len(f.Series) > 0 {
			out = append(out, Stored{Family: f, Time: unixNano})
		}
	}
	slices.SortFunc(out, func(a, b Stored) int { return strings.Compare(a.Name, b.Name) })
	return out
}
