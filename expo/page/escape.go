package page

import (
	"iter"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo"
)

// nameEscaper gives each family the name it has in one scrape. Escaping can make two names
// one (x.y and x_y), and a name written twice, or samples under a name that a histogram
// writes its own under, would spoil the scrape. So a name is escaped as asked for only
// where that is free; where it is not, it takes the `values` escaping (U__x_2e_y), and
// where even that is taken, the family is left out. Names that need no escaping always
// keep theirs.
type nameEscaper struct {
	scheme model.EscapingScheme
	all    expo.Exposition
	names  map[string]string // of the families that need escaping; "" for one to leave out
}

// name returns the name to write for h, and whether to write the family at all.
func (e *nameEscaper) name(h expo.Header) (string, bool) {
	if e.scheme == model.NoEscaping || model.LegacyValidation.IsValidMetricName(h.Name) {
		return h.Name, true
	}
	if e.names == nil {
		// Only now that a name needs it are all names looked through; families written so
		// far have kept theirs, so nothing has to be taken back.
		e.names = e.assign()
	}
	name := e.names[h.Name]
	return name, name != ""
}

func (e *nameEscaper) assign() map[string]string {
	taken := map[string]struct{}{}
	var others []expo.Header
	for h := range e.all {
		if model.LegacyValidation.IsValidMetricName(h.Name) {
			occupy(taken, h.Name, h.Type)
		} else {
			others = append(others, h)
		}
	}
	names := make(map[string]string, len(others))
	for _, h := range others {
		for _, scheme := range []model.EscapingScheme{e.scheme, model.ValueEncodingEscaping} {
			if name := model.EscapeName(h.Name, scheme); isFree(taken, name, h.Type) {
				occupy(taken, name, h.Type)
				names[h.Name] = name
				break
			}
		}
	}
	return names
}

func occupy(taken map[string]struct{}, name string, t dto.MetricType) {
	taken[name] = struct{}{}
	for _, suffix := range expo.SuffixesOf(t) {
		taken[name+suffix] = struct{}{}
	}
}

func isFree(taken map[string]struct{}, name string, t dto.MetricType) bool {
	if _, ok := taken[name]; ok {
		return false
	}
	for _, suffix := range expo.SuffixesOf(t) {
		if _, ok := taken[name+suffix]; ok {
			return false
		}
	}
	return true
}

// labelEscaper does the same for the label names within one family. There, a name is taken
// if another label of the series has it, if it is reserved (…name.. would become
// __name__), or if the series would become one that the family already has.
type labelEscaper struct {
	scheme  model.EscapingScheme
	name    string // of the family as stored; the series IDs are made with it
	parts   iter.Seq[*expo.Family]
	taken   map[expo.SeriesID]struct{} // series written or to be written; nil until needed
	scratch []byte
}

// escape changes the label names of mf, which is a part of the family, and takes out the
// series for which no names are left. Parts must be given in order.
func (e *labelEscaper) escape(mf *dto.MetricFamily) {
	if e.taken == nil {
		e.collect()
	}
	mf.Metric = slices.DeleteFunc(mf.Metric, func(m *dto.Metric) bool {
		if !needsEscaping(m) {
			return false
		}
		for _, scheme := range []model.EscapingScheme{e.scheme, model.ValueEncodingEscaping} {
			labels, ok := escapeLabels(m.Label, scheme)
			if !ok {
				continue
			}
			sorted := slices.Clone(labels)
			slices.SortStableFunc(
				sorted, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) },
			)
			var id expo.SeriesID
			id, e.scratch = expo.SeriesIDOf(e.scratch, e.name, sorted)
			if _, ok := e.taken[id]; !ok {
				e.taken[id] = struct{}{}
				m.Label = labels
				return false
			}
		}
		return true
	})
}

// collect puts the series that need no escaping, and so keep their labels, into taken.
// A part that cannot be decoded is not written either.
func (e *labelEscaper) collect() {
	e.taken = map[expo.SeriesID]struct{}{}
	for f := range e.parts {
		switch f.LabelNames() {
		case expo.LegacyNames:
			for _, id := range f.Series() {
				e.taken[id] = struct{}{}
			}
		case expo.UTF8Names:
			for piece := range f.Pieces() {
				mf, err := piece.Decode()
				if err != nil {
					break
				}
				for _, m := range mf.Metric {
					if !needsEscaping(m) {
						var id expo.SeriesID
						id, e.scratch = expo.SeriesIDOf(e.scratch, e.name, m.Label)
						e.taken[id] = struct{}{}
					}
				}
			}
		}
	}
}

func needsEscaping(m *dto.Metric) bool {
	return slices.ContainsFunc(m.Label, func(l *dto.LabelPair) bool {
		return !model.LegacyValidation.IsValidLabelName(l.GetName())
	})
}

// escapeLabels returns the labels with their names escaped, in the same order, and whether
// the names are still valid and different.
func escapeLabels(labels []*dto.LabelPair, scheme model.EscapingScheme) ([]*dto.LabelPair, bool) {
	escaped := slices.Clone(labels)
	for i, l := range labels {
		if name := l.GetName(); !model.LegacyValidation.IsValidLabelName(name) {
			name = model.EscapeName(name, scheme)
			if strings.HasPrefix(name, model.ReservedLabelPrefix) {
				return nil, false
			}
			escaped[i] = &dto.LabelPair{Name: proto.String(name), Value: l.Value}
		}
	}
	seen := make(map[string]struct{}, len(escaped))
	for _, l := range escaped {
		if _, ok := seen[l.GetName()]; ok {
			return nil, false
		}
		seen[l.GetName()] = struct{}{}
	}
	return escaped, true
}
