package expo

import (
	"cmp"
	"iter"
	"slices"

	dto "github.com/prometheus/client_model/go"
)

// Gathered returns the output of a Gatherer, such as a program's own metrics, as an
// Exposition. It is read at once; mfs is not kept and not changed. Unlike what Canonical
// gets, it is trusted to be valid. A metric that cannot be encoded is left out.
func Gathered(mfs []*dto.MetricFamily) Exposition {
	families := make([]*Family, 0, len(mfs))
	for _, mf := range mfs {
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
			id, scratch = seriesID(scratch, h.Name, labels)
			metrics, series = encoded, append(series, id)
		}
		f := NewFamily(h, metrics, series)
		f.state.Store(isGathered)
		families = append(families, f)
	}
	slices.SortStableFunc(families, func(a, b *Family) int { return cmp.Compare(a.Name, b.Name) })
	return func(yield func(Header, iter.Seq[*Family]) bool) {
		for _, f := range families {
			if !yield(*f.Header, func(yield func(*Family) bool) { yield(f) }) {
				return
			}
		}
	}
}

// Merge returns the families of both in order of name. Where both have a name, a's header
// is used and a's parts come first; Write leaves out parts of another type than the
// header's.
func Merge(a, b Exposition) Exposition {
	return func(yield func(Header, iter.Seq[*Family]) bool) {
		next, stop := iter.Pull2(iter.Seq2[Header, iter.Seq[*Family]](b))
		defer stop()
		hb, partsB, ok := next()
		for ha, partsA := range a {
			for ok && hb.Name < ha.Name {
				if !yield(hb, partsB) {
					return
				}
				hb, partsB, ok = next()
			}
			if ok && hb.Name == ha.Name {
				partsA = chain(partsA, partsB)
				hb, partsB, ok = next()
			}
			if !yield(ha, partsA) {
				return
			}
		}
		for ok {
			if !yield(hb, partsB) {
				return
			}
			hb, partsB, ok = next()
		}
	}
}

func chain(a, b iter.Seq[*Family]) iter.Seq[*Family] {
	return func(yield func(*Family) bool) {
		for f := range a {
			if !yield(f) {
				return
			}
		}
		for f := range b {
			if !yield(f) {
				return
			}
		}
	}
}
