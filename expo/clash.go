package expo

import (
	"fmt"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// SuffixesOf returns the suffixes under which the text format writes the samples of a
// family of type t, beside its own name. A gauge histogram counts as a histogram.
func SuffixesOf(t dto.MetricType) []string {
	switch t {
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		return []string{"_bucket", "_sum", "_count"}
	case dto.MetricType_SUMMARY:
		return []string{"_sum", "_count"}
	default:
		return nil
	}
}

// ClashingNames returns the names that another family must have to clash with a family
// of this name and type: its own name, those it occupies with its suffixes, and those
// that occupy its name with theirs. Clash decides for each whether it does.
func ClashingNames(name string, t dto.MetricType) []string {
	names := []string{name}
	for _, suffix := range SuffixesOf(t) {
		names = append(names, name+suffix)
	}
	for _, suffix := range SuffixesOf(dto.MetricType_HISTOGRAM) {
		if base, ok := strings.CutSuffix(name, suffix); ok && base != "" {
			names = append(names, base)
		}
	}
	return names
}

// Clash returns nil, or why h and other cannot both be in one exposition: they have the
// same name and different types, or one has a name that the other writes samples under.
// What to do about it depends on whose they are, and is the caller's to say.
func Clash(h, other Header) error {
	if h.Name == other.Name {
		if h.Type == other.Type {
			return nil
		}
		return fmt.Errorf(
			"metric family %s has the type %s here and %s elsewhere", Quote(h.Name), TypeWord(h.Type),
			TypeWord(other.Type),
		)
	}
	if occupies(h, other.Name) {
		return suffixClash(h, other.Name)
	}
	if occupies(other, h.Name) {
		return suffixClash(other, h.Name)
	}
	return nil
}

func suffixClash(h Header, name string) error {
	return fmt.Errorf("metric family %s has a name under which the %s %s writes samples",
		Quote(name), TypeWord(h.Type), Quote(h.Name))
}

// occupies tells whether h writes samples under name, which is not its own.
func occupies(h Header, name string) bool {
	suffix, ok := strings.CutPrefix(name, h.Name)
	if !ok || suffix == "" {
		return false
	}
	for _, s := range SuffixesOf(h.Type) {
		if s == suffix {
			return true
		}
	}
	return false
}

// TypeWord returns t as it stands in a TYPE line, and in messages.
func TypeWord(t dto.MetricType) string { return strings.ToLower(t.String()) }
