package fsm

import (
	"slices"
)

const (
	// holdersListed is how many groups a reason names at most.
	holdersListed = 3
	// shapesSearched bounds the search for the groups that hold a name: with more shapes than this there is none. A
	// push that is refused again and again must not cost more than one that is applied.
	shapesSearched = 256
)

// holders returns the keys of groups that hold a family of any of the names, except one group: the first by key, and
// how many there are in all, 0 if that is not looked for. No index leads from names to groups. But the groups of one
// shape hold the same names, so a look at one of each tells, and what it tells depends on what is stored alone: it is
// the same on every replica.
func (s *store) holders(names []string, except string) (keys []string, n int) {
	if len(s.shapes) > shapesSearched {
		return nil, 0
	}
	for g := s.firstFrom(0); g != nil; g = s.firstFrom(g.shape.id + 1) {
		if !slices.ContainsFunc(names, func(name string) bool { _, holds := g.family(name, 0); return holds }) {
			continue
		}
		n += g.shape.groups
		if other := s.group(except); other != nil && other.shape == g.shape {
			n--
		}
		listed := 0
		s.groups.Ascend(g, func(next *Group) bool {
			if next.shape != g.shape || listed == holdersListed {
				return false
			}
			if next.Key != except {
				keys = append(keys, next.Key)
				listed++
			}
			return true
		})
	}
	slices.Sort(keys)
	return keys[:min(len(keys), holdersListed)], n
}

// firstFrom returns the first group, by key, of the first shape with that id or a later one, nil for none. To look for
// what comes after a group would need a key that comes after all, and any key can be in the log.
func (s *store) firstFrom(id uint64) (first *Group) {
	s.groups.Ascend(&Group{shape: &shape{id: id}}, func(g *Group) bool { first = g; return false })
	return first
}
