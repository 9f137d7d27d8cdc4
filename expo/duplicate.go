package expo

import (
	"fmt"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
)

// duplicateError says that a series stands twice in a push.
type duplicateError struct {
	name   string
	labels []*dto.LabelPair // with those of the group
}

// Error implements error.
func (e *duplicateError) Error() string {
	return describe(e.name, e.labels) + " is given twice: give each series once"
}

// alikeShown is how many of the metrics that are one series are looked at closely: a body may hold millions of them.
const alikeShown = 8

// whyDuplicate returns an error that says how several pushed metrics came to be one series, the one with these labels:
// they have the same labels in the body, or the group's labels have made them the same.
func (c *canonicaliser) whyDuplicate(h Header, labels []*dto.LabelPair, pushed []*dto.Metric) error {
	n := 0
	alike := make([][]*dto.LabelPair, 0, alikeShown) // as they were pushed
	for _, m := range pushed {
		if !c.becomes(m.GetLabel(), labels) {
			continue
		}
		if n++; len(alike) == alikeShown {
			continue
		}
		if slices.ContainsFunc(alike, func(other []*dto.LabelPair) bool { return sameLabels(m.GetLabel(), other) }) {
			return &duplicateError{h.Name, labels}
		}
		alike = append(alike, m.GetLabel())
	}
	for _, l := range c.group {
		if values := valuesOfLabel(alike, l.GetName()); len(values) > 1 {
			return replacedError(h, l, values, n)
		}
	}
	return fmt.Errorf(`%s is given twice, with %s="" and without it, which is the same: give each series once`,
		describe(h.Name, labels), model.InstanceLabel)
}

// replacedError says that n series differ only in a label that the group has, too.
func replacedError(h Header, l *dto.LabelPair, values []string, n int) error {
	const room = 160 // bytes
	name := Quote(l.GetName())
	mend := "leave the label out of the path, or push each to a group of its own"
	if l.GetName() == model.JobLabel { // there is no group without
		mend = "push each to a group of its own, or give the label in the body another name"
	}
	return fmt.Errorf("the grouping label %s (%s) of the path replaced the values in the body (%s), "+
		"which made %d series of %s the same: %s",
		name, Quote(l.GetValue()), Some(values, n, room), n, Quote(h.Name), mend)
}

// becomes tells whether a series that is pushed with some labels is stored with others, which are sorted. Both are
// valid.
func (c *canonicaliser) becomes(pushed, stored []*dto.LabelPair) bool {
	n := len(c.group)
	_, hasInstance := valueOf(c.group, model.InstanceLabel)
	for _, l := range pushed {
		if _, replaced := valueOf(c.group, l.GetName()); replaced {
			continue
		}
		if value, found := valueOf(stored, l.GetName()); !found || value != l.GetValue() {
			return false
		}
		hasInstance = hasInstance || l.GetName() == model.InstanceLabel
		n++
	}
	if !hasInstance { // it gets an empty one
		value, _ := valueOf(stored, model.InstanceLabel)
		return value == "" && n+1 == len(stored)
	}
	return n == len(stored)
}

// valueOf returns the value of a label among others, which are sorted.
func valueOf(labels []*dto.LabelPair, name string) (string, bool) {
	i, found := slices.BinarySearchFunc(
		labels, name, func(l *dto.LabelPair, name string) int { return strings.Compare(l.GetName(), name) },
	)
	if !found {
		return "", false
	}
	return labels[i].GetValue(), true
}

// sameLabels tells whether two lists, each of which has a name once, hold the same labels in whatever order.
func sameLabels(a, b []*dto.LabelPair) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.SortFunc(a, comparePairNames)
	slices.SortFunc(b, comparePairNames)
	return compareLabels(a, b) == 0
}

// valuesOfLabel are the different values that a label has in series, as a message says them.
func valuesOfLabel(series [][]*dto.LabelPair, name string) []string {
	var values []string
	for _, labels := range series {
		value := "none"
		for _, l := range labels {
			if l.GetName() == name {
				value = Quote(l.GetValue())
			}
		}
		if !slices.Contains(values, value) {
			values = append(values, value)
		}
	}
	return values
}
