package expo

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/proto"
)

// The families that every group has; pushed ones of these names are overridden.
const (
	// PushTimeName is the family that holds when the group was last pushed to.
	PushTimeName = "push_time_seconds"
	// PushFailureTimeName is the family that holds when a push to the group last failed.
	PushFailureTimeName = "push_failure_time_seconds"
)

// Canonical returns the families of a push to the given group in the form in which they
// are stored, sorted by name: the group's labels overwrite those of the same name, a
// series without instance gets an empty one, labels and series are sorted, and what the
// protocol does not know is dropped. It takes mfs over: they must not be used afterwards.
//
// The error says why the push must be refused whatever else is stored: a timestamp, a
// name that is not valid under s (which must not be unset), text that is not UTF-8, a
// type that its metrics are not of, a native histogram that Prometheus would refuse, a
// series or one of its samples given twice, two families that clash, or more than maxText as text. The group's
// own labels are taken as valid; Labels.Validate tells.
func Canonical(group Labels, mfs []*dto.MetricFamily, s model.ValidationScheme) ([]*Family, error) {
	// As in the Pushgateway, a timestamp is refused before anything is overridden.
	for _, mf := range mfs {
		for _, m := range mf.GetMetric() {
			if m.TimestampMs != nil {
				return nil, fmt.Errorf("%s has the timestamp %d: pushed metrics must not have timestamps, leave it out",
					describe(mf.GetName(), m.GetLabel()), m.GetTimestampMs())
			}
		}
	}
	if err := checkText(group, mfs); err != nil {
		return nil, err
	}
	c := newCanonicaliser(group, s)
	families := make([]*Family, 0, len(mfs))
	for _, mf := range mfs {
		if name := mf.GetName(); name == PushTimeName || name == PushFailureTimeName {
			continue
		}
		f, err := c.family(mf)
		if err != nil {
			return nil, err
		}
		families = append(families, f)
	}
	slices.SortStableFunc(families, func(a, b *Family) int { return cmp.Compare(a.Name, b.Name) })
	if err := checkClashes(families); err != nil {
		return nil, err
	}
	return families, nil
}

// maxText bounds what a push makes of every later scrape, in bytes of its text: a name or a grouping label that stands
// once in a request stands in each line there.
const maxText = 64 << 20

func textTooLarge() error {
	return fmt.Errorf("the push takes more than %d MiB as text, with the name and the grouping labels in each line: "+
		"push less at once", maxText>>20)
}

// checkText adds up, roughly, what the families take as text in this group, before anything is made of them.
func checkText(group Labels, mfs []*dto.MetricFamily) error {
	total := 0
	for _, mf := range mfs {
		total += len(mf.GetName()) + len(mf.GetHelp())
		for _, m := range mf.GetMetric() {
			line := len(mf.GetName()) + group.textSize()
			for _, l := range m.GetLabel() {
				line += len(l.GetName()) + len(l.GetValue()) + labelMarks
			}
			total += line * (1 + len(m.GetHistogram().GetBucket()) + len(m.GetSummary().GetQuantile()))
			if total > maxText {
				return textTooLarge()
			}
		}
	}
	return nil
}

// labelMarks are the bytes around a label's name and value.
const labelMarks = len(`="",`)

func (ls Labels) textSize() int {
	n := 0
	for _, l := range ls {
		n += len(l.Name) + len(l.Value) + labelMarks
	}
	return n
}

// checkClashes looks for clashes between the families of one push, which are sorted by
// name. An empty family writes nothing, so it clashes with nothing but its own name.
func checkClashes(families []*Family) error {
	byName := make(map[string]*Family, len(families))
	for _, f := range families {
		if other := byName[f.Name]; other != nil {
			if other.Type != f.Type {
				return fmt.Errorf("metric family %s is given twice, with the types %s and %s: "+
					"give it once, with one type",
					Quote(f.Name), TypeWord(other.Type), TypeWord(f.Type))
			}
			return fmt.Errorf("metric family %s is given twice: give it once, with all its series", Quote(f.Name))
		}
		byName[f.Name] = f
	}
	for _, f := range families {
		for _, suffix := range SuffixesOf(f.Type) {
			other := byName[f.Name+suffix]
			if other == nil || f.Len() == 0 || other.Len() == 0 {
				continue
			}
			if err := Clash(*f.Header, *other.Header); err != nil {
				return fmt.Errorf("%w: rename one of them", err)
			}
		}
	}
	return nil
}

// canonicaliser holds what is the same for all series of a push.
type canonicaliser struct {
	scheme  model.ValidationScheme
	group   []*dto.LabelPair // sorted, shared by all series: never changed
	scratch []byte
}

func newCanonicaliser(group Labels, s model.ValidationScheme) *canonicaliser {
	c := &canonicaliser{scheme: s, group: make([]*dto.LabelPair, 0, len(group))}
	for _, l := range group {
		c.group = append(c.group, &dto.LabelPair{Name: proto.String(l.Name), Value: proto.String(l.Value)})
	}
	return c
}

func (c *canonicaliser) family(mf *dto.MetricFamily) (*Family, error) {
	h := Header{Name: mf.GetName(), Help: mf.GetHelp(), Unit: mf.GetUnit(), Type: mf.GetType()}
	if err := checkMetricName(h.Name, c.scheme); err != nil {
		return nil, err
	}
	if !utf8.ValidString(h.Help) {
		return nil, fmt.Errorf(
			"the help of metric family %s is not valid UTF-8: %s: encode it as UTF-8", Quote(h.Name), Quote(h.Help),
		)
	}
	if !utf8.ValidString(h.Unit) {
		return nil, fmt.Errorf(
			"the unit of metric family %s is not valid UTF-8: %s: encode it as UTF-8", Quote(h.Name), Quote(h.Unit),
		)
	}
	// No type at all is proto2's default, counter: encoders that follow proto3 leave it
	// out for counters, and the Pushgateway accepts that.
	if _, ok := dto.MetricType_name[int32(h.Type)]; !ok {
		return nil, fmt.Errorf(
			"metric family %s has the unknown type %d: use one of the protocol's types", Quote(h.Name), int32(h.Type),
		)
	}
	metrics := make([]*dto.Metric, 0, len(mf.GetMetric()))
	for _, m := range mf.GetMetric() {
		out, err := c.metric(h, m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", describe(h.Name, m.GetLabel()), err)
		}
		metrics = append(metrics, out)
	}
	f, err := c.encode(h, metrics)
	var duplicate *duplicateError
	if errors.As(err, &duplicate) {
		return nil, c.whyDuplicate(h, duplicate.labels, mf.GetMetric())
	}
	return f, err
}

// metric returns the canonical form of m, without an encoding.
func (c *canonicaliser) metric(h Header, m *dto.Metric) (*dto.Metric, error) {
	labels, err := c.labels(h.Type, m.GetLabel())
	if err != nil {
		return nil, err
	}
	out := &dto.Metric{Label: labels}
	if err := takeValue(out, m, h.Type); err != nil {
		return nil, err
	}
	return out, nil
}

// labels checks a series's labels as pushed and returns those it is stored with.
func (c *canonicaliser) labels(t dto.MetricType, pushed []*dto.LabelPair) ([]*dto.LabelPair, error) {
	own := slices.Clone(pushed)
	slices.SortStableFunc(own, comparePairNames)
	for i, l := range own {
		if i > 0 && own[i-1].GetName() == l.GetName() {
			return nil, fmt.Errorf("label %s is given twice: give it once", Quote(l.GetName()))
		}
		if err := checkLabelName(l.GetName(), c.scheme); err != nil {
			return nil, err
		}
		if !utf8.ValidString(l.GetValue()) {
			return nil, fmt.Errorf(
				"the value %s of label %s is not valid UTF-8: encode it as UTF-8", Quote(l.GetValue()),
				Quote(l.GetName()),
			)
		}
		if l.Name == nil || l.Value == nil || len(l.ProtoReflect().GetUnknown()) > 0 {
			own[i] = &dto.LabelPair{Name: proto.String(l.GetName()), Value: proto.String(l.GetValue())}
		}
	}
	labels := c.merge(own)
	if len(labels) > MaxLabels {
		return nil, fmt.Errorf(
			"%d labels with those of the group, but at most %d are possible: use fewer", len(labels), MaxLabels,
		)
	}
	for _, l := range labels {
		if name := l.GetName(); name == reservedFor(t) && name != "" {
			return nil, fmt.Errorf(
				"a %s must not have a label %q, which its samples have themselves: rename it", TypeWord(t), name,
			)
		}
	}
	return labels, nil
}

// reservedFor returns the label that the text format itself gives the samples of type t.
func reservedFor(t dto.MetricType) string {
	switch t {
	case dto.MetricType_SUMMARY:
		return model.QuantileLabel
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		return model.BucketLabel
	default:
		return ""
	}
}

// merge returns the group's labels and those of own that are not among them, sorted, with
// an empty instance if there is none. own is sorted.
func (c *canonicaliser) merge(own []*dto.LabelPair) []*dto.LabelPair {
	merged := make([]*dto.LabelPair, 0, len(own)+len(c.group)+1)
	group := c.group
	for _, l := range own {
		for len(group) > 0 && group[0].GetName() < l.GetName() {
			merged, group = append(merged, group[0]), group[1:]
		}
		if len(group) > 0 && group[0].GetName() == l.GetName() {
			continue
		}
		merged = append(merged, l)
	}
	merged = append(merged, group...)
	i, found := slices.BinarySearchFunc(merged, model.InstanceLabel, func(l *dto.LabelPair, name string) int {
		return cmp.Compare(l.GetName(), name)
	})
	if !found {
		merged = slices.Insert(
			merged, i, &dto.LabelPair{Name: proto.String(model.InstanceLabel), Value: proto.String("")},
		)
	}
	return merged
}

// encode sorts the metrics and encodes them.
func (c *canonicaliser) encode(h Header, metrics []*dto.Metric) (*Family, error) {
	slices.SortFunc(metrics, func(a, b *dto.Metric) int { return compareLabels(a.Label, b.Label) })
	f := new(Family)
	size := 0
	for _, m := range metrics {
		size += proto.Size(m) + 4 + len(SeriesID{})
	}
	memory := make([]byte, 0, size)
	for i, m := range metrics {
		if i > 0 && compareLabels(metrics[i-1].Label, m.Label) == 0 {
			return nil, &duplicateError{h.Name, m.Label}
		}
		var err error
		if memory, err = appendMetric(memory, m); err != nil {
			return nil, fmt.Errorf("%s cannot be encoded: %s", describe(h.Name, m.Label), oneLine(err.Error()))
		}
	}
	for _, m := range metrics {
		var id SeriesID
		id, c.scratch = SeriesIDOf(c.scratch, h.Name, m.Label)
		memory = append(memory, id[:]...)
	}
	f.Set(&h, memory, len(metrics))
	return f, nil
}

// takeValue moves the value that a family of type t has from m to out, without anything
// that the protocol does not know.
func takeValue(out, m *dto.Metric, t dto.MetricType) error {
	if !hasValue(m, t) {
		has := valuesOf(m)
		if has == "" {
			return fmt.Errorf(
				"the family is of type %s, but the metric has no value: give it one of that type", TypeWord(t),
			)
		}
		return errors.New(
			"the family is of type " + TypeWord(t) + ", but the metric is a " + has + ": give both one type",
		)
	}
	switch t {
	case dto.MetricType_COUNTER:
		out.Counter = m.Counter
		return checkCounter(m.Counter)
	case dto.MetricType_GAUGE:
		out.Gauge = m.Gauge
		dropUnknownFields(m.Gauge)
	case dto.MetricType_UNTYPED:
		out.Untyped = m.Untyped
		dropUnknownFields(m.Untyped)
	case dto.MetricType_SUMMARY:
		out.Summary = m.Summary
		return checkSummary(m.Summary)
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		out.Histogram = m.Histogram
		return checkHistogram(m.Histogram)
	}
	return nil
}

// valuesOf names the values that m has.
func valuesOf(m *dto.Metric) string {
	var names []string
	if m.Counter != nil {
		names = append(names, "counter")
	}
	if m.Gauge != nil {
		names = append(names, "gauge")
	}
	if m.Summary != nil {
		names = append(names, "summary")
	}
	if m.Untyped != nil {
		names = append(names, "untyped metric")
	}
	if m.Histogram != nil {
		names = append(names, "histogram")
	}
	return strings.Join(names, " and a ")
}

// describe names a series for a message, with bounded length.
func describe(name string, labels []*dto.LabelPair) string {
	ls := make(Labels, 0, min(len(labels), 16))
	for _, l := range labels[:min(len(labels), 16)] {
		ls = append(ls, Label{Name: l.GetName(), Value: l.GetValue()})
	}
	if model.LegacyValidation.IsValidMetricName(name) && len(name) <= maxQuoted {
		return name + ls.String()
	}
	return Quote(name) + ls.String()
}

func comparePairNames(a, b *dto.LabelPair) int {
	return cmp.Compare(a.GetName(), b.GetName())
}

// compareLabels orders series: by their first label that differs, name before value.
func compareLabels(a, b []*dto.LabelPair) int {
	return slices.CompareFunc(a, b, func(x, y *dto.LabelPair) int {
		if c := cmp.Compare(x.GetName(), y.GetName()); c != 0 {
			return c
		}
		return cmp.Compare(x.GetValue(), y.GetValue())
	})
}
