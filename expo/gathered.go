package expo

import (
	"slices"

	dto "github.com/prometheus/client_model/go"
)

// GatheredFamily returns one family of the output of a Gatherer, such as a program's own metrics. mf is not kept and
// not changed. Unlike what Canonical gets, it is trusted to be valid. A metric that cannot be encoded is left out.
func GatheredFamily(mf *dto.MetricFamily) *Family {
	h := &Header{Name: mf.GetName(), Help: mf.GetHelp(), Unit: mf.GetUnit(), Type: mf.GetType()}
	var (
		metrics, scratch []byte
		series           []SeriesID
		id               SeriesID
	)
	for _, m := range mf.GetMetric() {
		encoded, err := appendMetric(metrics, m)
		if err != nil {
			continue
		}
		labels := slices.Clone(m.GetLabel())
		slices.SortStableFunc(labels, comparePairNames)
		id, scratch = SeriesIDOf(scratch, h.Name, labels)
		metrics, series = encoded, append(series, id)
	}
	f := NewFamily(h, metrics, series)
	f.state.Store(isGathered)
	return f
}

// IsGathered tells whether GatheredFamily has made the family: then the next scrape has another one in its place.
func (f *Family) IsGathered() bool { return f.is(isGathered) }
