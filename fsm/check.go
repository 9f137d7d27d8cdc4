package fsm

import (
	"fmt"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"

	"pushquorum/expo"
)

// check returns nil, or what says why a push to a group must be refused. It is what depends on the rest of the store: a
// push that is inconsistent in itself has been refused by expo.Canonical before it came to the log. It looks at the
// pushed names alone, so that it costs O(push) whatever is stored; the words cost more, and are made only for who asks.
//
// after is what the group will hold; pushed is the part of it that comes with this push.
func (s *store) check(old, after *Group, pushed []*expo.Family) (reason func() string) {
	for place, f := range pushed {
		if f.Len() == 0 {
			continue
		}
		if _, clashes := s.clashOf(f, place, old, after); clashes {
			return func() string { return s.clashReason(pushed, old, after) }
		}
		if had, replaces := old.family(f.Name, place); replaces && sameSeries(had.Family, f) {
			continue
		}
		for i, id := range f.Series() {
			if owner := s.rival(after, f.Name, id); owner != nil {
				return duplicateReason(f, i, owner)
			}
		}
	}
	return nil
}

// A clash is between the names or types of a pushed family and of one that is held.
type clash struct {
	pushed *expo.Family
	held   expo.Header // without help
	// here is whether the held one is what the push itself leaves in its group.
	here bool
}

// clashOf returns the first clash of a pushed family, which has series.
func (s *store) clashOf(f *expo.Family, place int, old, after *Group) (clash, bool) {
	_, replaces := old.family(f.Name, place)
	if h, elsewhere := s.heldElsewhere(f.Name, replaces); elsewhere && h.Type != f.Type {
		return clash{f, expo.Header{Name: f.Name, Type: h.Type}, false}, true
	}
	// Names that the samples of a histogram or summary would take from another family: `h` with a series `h_count`, and
	// a family `h_count`.
	for _, suffix := range expo.SuffixesOf(f.Type) {
		if h, here, found := s.heldAfter(f.Name+suffix, old, after); found {
			return clash{f, h, here}, true
		}
	}
	for _, suffix := range expo.SuffixesOf(dto.MetricType_HISTOGRAM) { // those of a summary are among them
		base, ok := strings.CutSuffix(f.Name, suffix)
		if !ok {
			continue
		}
		if h, here, found := s.heldAfter(base, old, after); found && slices.Contains(expo.SuffixesOf(h.Type), suffix) {
			return clash{f, h, here}, true
		}
	}
	return clash{}, false
}

// heldElsewhere returns the header of a name that a group other than the pushed one holds, which itself holds it or
// not.
func (s *store) heldElsewhere(name string, held bool) (header, bool) {
	h, found := s.header(name)
	if !found {
		return header{}, false
	}
	others := h.groups
	if held {
		others--
	}
	return h, others > 0
}

// heldAfter returns name and type of a family that some group holds once the push is applied, and whether that is the
// pushed one.
func (s *store) heldAfter(name string, old, after *Group) (h expo.Header, here, found bool) {
	if f, found := after.family(name, 0); found {
		return expo.Header{Name: name, Type: f.Type}, true, true
	}
	_, held := old.family(name, 0)
	stored, found := s.heldElsewhere(name, held)
	return expo.Header{Name: name, Type: stored.Type}, false, found
}

// checkTimes returns why a new group cannot exist beside the stored ones, or "". The push-time series of {job="a"} and
// {job="a",instance=""} are the same, because a series without an instance label gets an empty one.
func (s *store) checkTimes(g *Group) string {
	twin, ok := twinOf(g.Labels())
	if !ok {
		return ""
	}
	owner := s.group(twin.Key())
	if owner == nil {
		return ""
	}
	return fmt.Sprintf(
		"group %.150s has the same %s series as the stored group %.150s; push to that group, or DELETE %.150s first",
		g.Labels(), expo.PushTimeName, owner.Labels(), owner.Labels().Path())
}

// twinOf returns the labels of the other group that has the same push-time series, if there can be one.
func twinOf(labels expo.Labels) (expo.Labels, bool) {
	i, found := slices.BinarySearchFunc(labels, model.InstanceLabel, func(l expo.Label, name string) int {
		return strings.Compare(l.Name, name)
	})
	switch {
	case !found:
		return slices.Insert(labels, i, expo.Label{Name: model.InstanceLabel}), true
	case labels[i].Value == "":
		return slices.Delete(labels, i, i+1), true
	}
	return nil, false
}
