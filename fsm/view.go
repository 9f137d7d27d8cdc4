package fsm

import (
	"iter"
	"slices"
	"strings"

	"github.com/tidwall/btree"

	"pushquorum/expo"
)

// A View is the state at one index of the log. It does not change, and may be read by any number of goroutines for as
// long as they like: it holds back neither Apply nor other readers.
type View struct {
	index   uint64
	sum     digest
	written bool
	groups  *btree.BTreeG[*Group]
	headers *btree.BTreeG[header]
	usage   Usage
}

func newView(index uint64, s *store) *View {
	return &View{
		index: index, sum: s.digest(), written: s.written,
		groups: s.groups.Copy(), headers: s.headers.Copy(), usage: s.usage.Usage,
	}
}

// Index is the log index of the last entry that the state includes.
func (v *View) Index() uint64 { return v.index }

// Hash is the state hash in hex: the same on all replicas at the same index.
func (v *View) Hash() string { return v.sum.String() }

// Written reports whether a command has ever written to the store, even if nothing is left of it.
func (v *View) Written() bool { return v.written }

// Usage is what the state takes.
func (v *View) Usage() Usage { return v.usage }

// Survey is what only a look at all groups tells.
type Survey struct {
	// OldestPush is when the group was pushed, by a push that succeeded, for which that is the longest ago. Unix
	// nanoseconds, 0 if there is none.
	OldestPush int64
	// LargestGroup is how many series the largest group has.
	LargestGroup int
}

// Survey looks at all groups.
func (v *View) Survey() (s Survey) {
	v.groups.Scan(func(g *Group) bool {
		if g.PushTime != 0 && (s.OldestPush == 0 || g.PushTime < s.OldestPush) {
			s.OldestPush = g.PushTime
		}
		series := 0
		for _, f := range g.Families {
			series += f.Len()
		}
		s.LargestGroup = max(s.LargestGroup, series)
		return true
	})
	return s
}

// Len is the number of groups.
func (v *View) Len() int { return v.groups.Len() }

// Groups yields the groups in the order of their grouping keys.
func (v *View) Groups() iter.Seq[*Group] { return slices.Values(v.byKey()) }

// byKey returns the groups in the order of their grouping keys.
func (v *View) byKey() []*Group {
	shapes := v.byShape()
	all := slices.Concat(shapes...)
	if len(shapes) > 1 {
		slices.SortFunc(all, func(a, b *Group) int { return strings.Compare(a.Key, b.Key) })
	}
	return all
}

// Group returns the group with that grouping key (expo.Labels.Key). It looks at all of them.
func (v *View) Group(key string) (found *Group, ok bool) {
	v.groups.Scan(func(g *Group) bool {
		if g.Key == key {
			found, ok = g, true
		}
		return !ok
	})
	return found, ok
}

// Header returns what the exposition says once of a stored family name.
func (v *View) Header(name string) (expo.Header, bool) {
	h, found := v.headers.Get(header{Header: expo.Header{Name: name}})
	return h.Header, found
}

// Exposition yields the stored families in order of name, each with its parts in order of grouping key.
func (v *View) Exposition() expo.Exposition {
	return func(yield func(expo.Header, iter.Seq[*expo.Family]) bool) {
		columns := map[string][]column{}
		for _, groups := range v.byShape() {
			for _, c := range columnsOf(groups) {
				name := c.parts[0].Name
				columns[name] = append(columns[name], c)
			}
		}
		v.headers.Scan(func(h header) bool { return yield(h.Header, byKey(columns[h.Name])) })
	}
}
