package fsm

import (
	"fmt"

	"pushquorum/expo"
)

// What a reason lists at most: metrics, and bytes of them and of the paths of groups. It must fit into maxReason with
// all that is said around it.
const (
	clashesListed    = 5
	roomForClashes   = 180
	roomForHolders   = 140
	longestNameShown = 64
)

// clashReason says which of the pushed families clash with what is held, by whom it is held, and what to do. One of
// them does.
func (s *store) clashReason(pushed []*expo.Family, old, after *Group) string {
	var items, names []string
	var first clash
	n, here, typed := 0, false, true
	for place, f := range pushed {
		if f.Len() == 0 {
			continue
		}
		c, clashes := s.clashOf(f, place, old, after)
		if !clashes {
			continue
		}
		if n++; n == 1 {
			first = c
		}
		typed = typed && c.held.Name == f.Name
		if n > clashesListed {
			continue
		}
		items = append(items, c.String())
		if c.here {
			here = true
		} else {
			names = append(names, c.held.Name)
		}
	}
	reason := expo.Some(items, n, roomForClashes)
	advice := "push under another name"
	switch {
	case typed && len(first.held.Name) <= longestNameShown/2:
		advice = fmt.Sprintf(`push what is stored, as by "# TYPE %s %s"`,
			first.held.Name, expo.TypeWord(first.held.Type))
	case typed:
		advice = "push the type that is stored"
	}
	switch {
	case len(names) > 0:
		return fmt.Sprintf("%s; %s: %s, or DELETE those groups first", reason, s.heldBy(names, after.Key), advice)
	case here:
		return fmt.Sprintf("%s; held by this group itself: %s, or PUT to replace the whole group", reason, advice)
	}
	return reason
}

// String says what clashes with what.
func (c clash) String() string {
	const n = longestNameShown
	word := expo.TypeWord
	switch f := c.pushed; {
	case c.held.Name == f.Name:
		return fmt.Sprintf("%.*q is pushed as %s, but stored as %s", n, f.Name, word(f.Type), word(c.held.Type))
	case len(c.held.Name) > len(f.Name):
		return fmt.Sprintf("the samples of the %s %.*q collide with the stored %s %.*q",
			word(f.Type), n, f.Name, word(c.held.Type), n, c.held.Name)
	default:
		return fmt.Sprintf("the %s %.*q collides with the samples of the stored %s %.*q",
			word(f.Type), n, f.Name, word(c.held.Type), n, c.held.Name)
	}
}

// heldBy says which groups hold the names, except one.
func (s *store) heldBy(names []string, except string) string {
	keys, n := s.holders(names, except)
	if n == 0 {
		return "too many kinds of groups are stored to say which hold it, GET /api/v1/metrics shows them"
	}
	paths := make([]string, len(keys))
	for i, key := range keys {
		paths[i] = pathOf(key)
	}
	return "held by " + expo.Some(paths, n, roomForHolders)
}

// duplicateReason says, to who asks, that another group has the i-th series of a family.
func duplicateReason(f *expo.Family, i int, owner *Group) func() string {
	return func() string {
		return fmt.Sprintf("series %.240s was pushed before with the same name and labels to %s: "+
			"push it there, give it a label that tells the two apart, or DELETE that group first",
			seriesString(f, i), pathOf(owner.Key))
	}
}

// pathOf is the path of the group with that key, cut if it is too long for a reason.
func pathOf(key string) string {
	path := expo.AppendLabels(nil, key).Path()
	if len(path) > roomForHolders {
		return path[:roomForHolders] + "…" // it is ASCII
	}
	return path
}

// seriesString writes the i-th series of a family as a user knows it. The others are passed over: all of them decoded
// are many times larger than the push, on every replica at once.
func seriesString(f *expo.Family, i int) string {
	at := 0
	for encoded, err := range f.Encoded() {
		if err != nil {
			break
		}
		if at++; at <= i {
			continue
		}
		m, err := encoded.Decode()
		if err != nil {
			break
		}
		labels := make(map[string]string, len(m.GetLabel()))
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		return fmt.Sprintf("%.100s%.200s", f.Name, expo.NewLabels(labels))
	}
	return f.Name
}
