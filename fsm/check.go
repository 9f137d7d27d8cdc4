package fsm

import (
	"fmt"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"

	"pushquorum/expo"
)

// check returns why a push to a group must be refused, or "". It is what depends on the rest of the store: a push that is
// inconsistent in itself has been refused by expo.Canonical before it came to the log. It looks at the pushed names alone, so
// that it costs O(push) whatever is stored.
//
// after is what the group will hold; pushed is the part of it that comes with this push.
func (s *store) check(old, after *Group, pushed []*expo.Family) string {
	for place, f := range pushed {
		if f.Len() == 0 {
			continue
		}
		had, replaces := old.family(f.Name, place)
		if h, elsewhere := s.heldElsewhere(f.Name, replaces); elsewhere && h.Type != f.Type {
			return fmt.Sprintf("%.200q is pushed as a %s, but another group holds it as a %s; push it under another name or with that type",
				f.Name, typeName(f.Type), typeName(h.Type))
		}
		if reason := s.checkSuffixes(f, old, after); reason != "" {
			return reason
		}
		if replaces && sameSeries(had.Family, f) {
			continue
		}
		for i, id := range f.Series() {
			if owner := s.rival(after, f.Name, id); owner != nil {
				return fmt.Sprintf("series %s was pushed before with the same name and labels to group %.200s; delete it there or push to that group",
					seriesString(f, i), owner.Labels())
			}
		}
	}
	return ""
}

// checkSuffixes finds names that the samples of a histogram or summary would take from another family: `h` with a series
// `h_count`, and a family `h_count`.
func (s *store) checkSuffixes(f *expo.Family, old, after *Group) string {
	for _, suffix := range expo.SuffixesOf(f.Type) {
		if h, found := s.heldAfter(f.Name+suffix, old, after); found {
			return fmt.Sprintf("the samples of %s %.200q collide with the stored %s %.200q; rename one of them",
				typeName(f.Type), f.Name, typeName(h.Type), h.Name)
		}
	}
	for _, suffix := range expo.SuffixesOf(dto.MetricType_HISTOGRAM) { // those of a summary are among them
		base, ok := strings.CutSuffix(f.Name, suffix)
		if !ok {
			continue
		}
		if h, found := s.heldAfter(base, old, after); found && slices.Contains(expo.SuffixesOf(h.Type), suffix) {
			return fmt.Sprintf("%s %.200q collides with the samples of the stored %s %.200q; rename one of them",
				typeName(f.Type), f.Name, typeName(h.Type), h.Name)
		}
	}
	return ""
}

// heldElsewhere returns the header of a name that a group other than the pushed one holds, which itself holds it or not.
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

// heldAfter returns the header of a name that some group holds once the push is applied.
func (s *store) heldAfter(name string, old, after *Group) (header, bool) {
	if f, found := after.family(name, 0); found {
		return header{Header: expo.Header{Name: name, Type: f.Type}}, true
	}
	_, held := old.family(name, 0)
	return s.heldElsewhere(name, held)
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
	return fmt.Sprintf("group %.200s has the same %s series as the stored group %.200s; push to that group or delete it",
		g.Labels(), expo.PushTimeName, owner.Labels())
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

// seriesString writes the i-th series of a family as a user knows it.
func seriesString(f *expo.Family, i int) string {
	m, err := f.Decode()
	if err != nil || i >= len(m.GetMetric()) {
		return f.Name
	}
	labels := map[string]string{}
	for _, l := range m.GetMetric()[i].GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	return fmt.Sprintf("%.100s%.200s", f.Name, expo.NewLabels(labels))
}

func typeName(t dto.MetricType) string { return strings.ToLower(t.String()) }
