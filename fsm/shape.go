package fsm

import (
	"container/heap"
	"iter"
	"strings"

	"pushquorum/expo"
)

// A shape is what groups have in common that hold families of the same names. Jobs of one kind push the same names, so
// there are few shapes, and the groups of one are a table whose columns are its families: the exposition is read off
// column by column, and a push changes one row.
type shape struct {
	id     uint64 // this process's own, in the order in which they came up
	groups int
	names  string // of the families, each followed by a byte that is in no name
}

// lessByShape orders groups by (shape, key). Where the shape is the same one, its id is not looked at, because that is
// in no cache.
func lessByShape(a, b *Group) bool {
	if a.shape != b.shape && a.shape.id != b.shape.id {
		return a.shape.id < b.shape.id
	}
	return a.Key < b.Key
}

// enter counts one group more with those families, and returns its shape.
func (s *store) enter(families []Stored) *shape {
	names := namesOf(families)
	sh := s.shapes[names]
	if sh == nil {
		s.lastShape++
		sh = &shape{id: s.lastShape, names: names}
		s.shapes[names] = sh
	}
	sh.groups++
	return sh
}

// namesOf are the names of families, each followed by a byte that is in no name.
func namesOf(families []Stored) string {
	var names strings.Builder
	for _, f := range families {
		names.WriteString(f.Name)
		names.WriteByte(0xff) // names are UTF-8
	}
	return names.String()
}

// leave takes a group away from the others of its shape.
func (s *store) leave(g *Group) {
	s.groups.Delete(g)
	if g.shape.groups--; g.shape.groups == 0 {
		delete(s.shapes, g.shape.names)
	}
}

// byShape returns the groups in order of key, those of each shape apart.
func (v *View) byShape() [][]*Group {
	all := make([]*Group, 0, v.groups.Len())
	var shapes [][]*Group
	begin := 0
	v.groups.Scan(func(g *Group) bool {
		if len(all) > 0 && all[len(all)-1].shape != g.shape {
			shapes = append(shapes, all[begin:])
			begin = len(all)
		}
		all = append(all, g)
		return true
	})
	if begin < len(all) {
		shapes = append(shapes, all[begin:])
	}
	return shapes
}

// columnsOf returns the families of the groups, which have one shape, by column; the last two are the push-time
// families. It walks the groups once: each is spread over memory, and to come back for every family would cost more.
func columnsOf(groups []*Group) []column {
	n := len(groups[0].Families)
	columns := make([]column, n+2)
	for i := range columns {
		columns[i] = column{groups, make([]*expo.Family, len(groups))}
	}
	for at, g := range groups {
		for i := range g.Families {
			columns[i].parts[at] = g.Families[i].Family
		}
		columns[n].parts[at], columns[n+1].parts[at] = g.pushTime, g.failureTime
	}
	return columns
}

// column is one family in the groups of one shape.
type column struct {
	groups []*Group
	parts  []*expo.Family
}

// byKey yields the parts of all columns in order of the groups' keys.
func byKey(columns []column) iter.Seq[*expo.Family] {
	return func(yield func(*expo.Family) bool) {
		if len(columns) == 1 {
			for _, f := range columns[0].parts {
				if !yield(f) {
					return
				}
			}
			return
		}
		rest := append(byFirstKey(nil), columns...)
		heap.Init(&rest)
		for len(rest) > 0 {
			first := &rest[0]
			if !yield(first.parts[0]) {
				return
			}
			first.groups, first.parts = first.groups[1:], first.parts[1:]
			if len(first.parts) > 0 {
				heap.Fix(&rest, 0)
			} else {
				heap.Pop(&rest)
			}
		}
	}
}

// byFirstKey is a heap of columns that are not empty.
type byFirstKey []column

// Len implements heap.Interface.
func (h byFirstKey) Len() int { return len(h) }

// Less implements heap.Interface.
func (h byFirstKey) Less(i, j int) bool { return h[i].groups[0].Key < h[j].groups[0].Key }

// Swap implements heap.Interface.
func (h byFirstKey) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *byFirstKey) Push(c any) { *h = append(*h, c.(column)) }

// Pop implements heap.Interface.
func (h *byFirstKey) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
