package page

import (
	"cmp"
	"iter"
	"slices"

	dto "github.com/prometheus/client_model/go"

	"pushquorum/expo"
)

// Gathered returns the output of a Gatherer, such as a program's own metrics, as an
// Exposition. It is read at once; mfs is not kept and not changed. Unlike what Canonical
// gets, it is trusted to be valid. A metric that cannot be encoded is left out.
func Gathered(mfs []*dto.MetricFamily) expo.Exposition {
	families := make([]*expo.Family, 0, len(mfs))
	for _, mf := range mfs {
		families = append(families, expo.GatheredFamily(mf))
	}
	slices.SortStableFunc(families, func(a, b *expo.Family) int { return cmp.Compare(a.Name, b.Name) })
	return func(yield func(expo.Header, iter.Seq[*expo.Family]) bool) {
		for _, f := range families {
			if !yield(*f.Header, func(yield func(*expo.Family) bool) { yield(f) }) {
				return
			}
		}
	}
}

// Merge returns the families of both in order of name. Where both have a name, a's header
// is used and a's parts come first; Write leaves out parts of another type than the
// header's.
func Merge(a, b expo.Exposition) expo.Exposition {
	return func(yield func(expo.Header, iter.Seq[*expo.Family]) bool) {
		next, stop := iter.Pull2(iter.Seq2[expo.Header, iter.Seq[*expo.Family]](b))
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

func chain(a, b iter.Seq[*expo.Family]) iter.Seq[*expo.Family] {
	return func(yield func(*expo.Family) bool) {
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
