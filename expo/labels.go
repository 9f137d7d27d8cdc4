package expo

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
)

// MaxLabels is how many labels a series may have, those of its group included. The
// text parser's time per label grows with the labels already read on the line, so
// without a bound one line of a few megabytes would keep a core busy for minutes.
const MaxLabels = 128

// separator ends each name and value in a grouping key and in what a SeriesID is
// hashed from. It never occurs in valid UTF-8, so no two label sets look alike.
const (
	separator     = 0xff
	separatorText = "\xff"
)

// Label is one name and its value.
type Label struct{ Name, Value string }

// Labels are sorted by name and hold each name once.
type Labels []Label

// NewLabels returns the labels of m.
func NewLabels(m map[string]string) Labels {
	ls := make(Labels, 0, len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		ls = append(ls, Label{Name: name, Value: m[name]})
	}
	return ls
}

// LabelsOf returns the labels in pairs, whose memory it takes. Of a name that stands there more than once, the last
// value counts.
func LabelsOf(pairs []Label) Labels {
	slices.SortStableFunc(pairs, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	ls := pairs[:0]
	for i, l := range pairs {
		if i+1 == len(pairs) || pairs[i+1].Name != l.Name {
			ls = append(ls, l)
		}
	}
	return ls
}

// Get returns the value of the label called name, and whether there is one.
func (ls Labels) Get(name string) (string, bool) {
	i, ok := ls.find(name)
	if !ok {
		return "", false
	}
	return ls[i].Value, true
}

// find returns where the label called name is, or would be, and whether it is there.
func (ls Labels) find(name string) (int, bool) {
	return slices.BinarySearchFunc(ls, name, func(l Label, name string) int {
		return cmp.Compare(l.Name, name)
	})
}

// Map returns the labels as a new map.
func (ls Labels) Map() map[string]string {
	m := make(map[string]string, len(ls))
	for _, l := range ls {
		m[l.Name] = l.Value
	}
	return m
}

// Key returns the grouping key: different for different labels as long as they are
// valid UTF-8. It is not meant to be printed.
func (ls Labels) Key() string {
	n := 0
	for _, l := range ls {
		n += len(l.Name) + len(l.Value) + 2
	}
	var key strings.Builder
	key.Grow(n)
	for _, l := range ls {
		key.WriteString(l.Name)
		key.WriteByte(separator)
		key.WriteString(l.Value)
		key.WriteByte(separator)
	}
	return key.String()
}

// AppendLabels appends the labels of which a string is the key, in its memory.
func AppendLabels(ls Labels, key string) Labels {
	for key != "" {
		var l Label
		l.Name, key, _ = strings.Cut(key, separatorText)
		l.Value, key, _ = strings.Cut(key, separatorText)
		ls = append(ls, l)
	}
	return ls
}

// String returns the labels for a message, as in {instance="y",job="x"}. Long names
// and values are cut, and so is the whole.
func (ls Labels) String() string {
	var b strings.Builder
	b.WriteByte('{')
	for i, l := range ls {
		if b.Len() > maxSeriesText {
			b.WriteString(",…")
			break
		}
		if i > 0 {
			b.WriteByte(',')
		}
		if model.LegacyValidation.IsValidLabelName(l.Name) && len(l.Name) <= maxQuoted {
			b.WriteString(l.Name)
		} else {
			b.WriteString(Quote(l.Name))
		}
		b.WriteByte('=')
		b.WriteString(Quote(l.Value))
	}
	b.WriteByte('}')
	return b.String()
}

// Validate tells whether the labels can be those of a group: the names are valid
// under s (which must not be unset), none is reserved, the values are UTF-8, and
// there are not too many.
func (ls Labels) Validate(s model.ValidationScheme) error {
	// One place is kept for the instance label that every series has.
	if len(ls) >= MaxLabels {
		return fmt.Errorf("there are %d grouping labels, but at most %d are possible: use fewer", len(ls), MaxLabels-1)
	}
	for i, l := range ls {
		if err := checkLabelName(l.Name, s); err != nil {
			return err
		}
		if !utf8.ValidString(l.Value) {
			return fmt.Errorf(
				"the value %s of label %s is not valid UTF-8: encode it as UTF-8", Quote(l.Value), Quote(l.Name),
			)
		}
		if i > 0 && ls[i-1].Name >= l.Name {
			return fmt.Errorf("label %s is given twice or out of order", Quote(l.Name))
		}
	}
	return nil
}

// checkLabelName tells whether name can be a label's name in every format a scrape
// may ask for.
func checkLabelName(name string, s model.ValidationScheme) error {
	switch {
	case !s.IsValidLabelName(name):
		return fmt.Errorf("the label name %s is not valid: %s", Quote(name), labelNameRule(s))
	case strings.HasPrefix(name, model.ReservedLabelPrefix):
		return fmt.Errorf(
			"the label name %s is reserved: names must not begin with %q", Quote(name), model.ReservedLabelPrefix,
		)
	case strings.Contains(name, ":"):
		// The UTF-8 rules allow a colon, but expfmt writes such a label name without
		// quotes, and Prometheus then refuses the whole scrape.
		return fmt.Errorf(
			"the label name %s contains a colon, which the text format cannot carry: use another character",
			Quote(name),
		)
	case strings.Contains(name, "\x00"):
		return fmt.Errorf(
			"the label name %s contains a NUL byte, which Prometheus cannot read: leave it out", Quote(name),
		)
	}
	return nil
}

// checkMetricName tells whether name can be a family's name in every format a scrape may
// ask for.
func checkMetricName(name string, s model.ValidationScheme) error {
	switch {
	case !s.IsValidMetricName(name):
		return fmt.Errorf("the metric name %s is not valid: %s", Quote(name), metricNameRule(s))
	case strings.Contains(name, "\x00"):
		// Prometheus's parser takes it for the end of the text and refuses the scrape. In a
		// label's value and in a help it reads it as any other character.
		return fmt.Errorf(
			"the metric name %s contains a NUL byte, which Prometheus cannot read: leave it out", Quote(name),
		)
	}
	return nil
}

func labelNameRule(s model.ValidationScheme) string {
	if s == model.UTF8Validation {
		return "it must be valid UTF-8 and not empty"
	}
	return "it must match [a-zA-Z_][a-zA-Z0-9_]*"
}

func metricNameRule(s model.ValidationScheme) string {
	if s == model.UTF8Validation {
		return "it must be valid UTF-8 and not empty"
	}
	return "it must match [a-zA-Z_:][a-zA-Z0-9_:]*"
}
