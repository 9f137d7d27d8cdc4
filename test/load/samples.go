package main

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// sample is one request: when it was due, as the time since the run began, and how long it took from then.
type sample struct {
	at, took time.Duration
}

// samples are all requests of one run or of several; none is thrown away.
type samples []sample

func (s samples) sorted() []time.Duration {
	all := make([]time.Duration, len(s))
	for i, one := range s {
		all[i] = one.took
	}
	slices.Sort(all)
	return all
}

// quantile is the smallest time within which the fraction q of all requests was answered (nearest rank), 0 without any.
func (s samples) quantile(q float64) time.Duration { return quantile(s.sorted(), q) }

func quantile[T any](sorted []T, q float64) (v T) {
	if len(sorted) == 0 {
		return v
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// median is the middle one, or the lower of the two in the middle: a time that was measured.
func median[T cmp.Ordered](values []T) T { return quantile(slices.Sorted(slices.Values(values)), 0.5) }

// span is a stretch of a run.
type span struct{ from, to time.Duration }

// split takes the requests that were under way at some time of one of the spans from the others.
func (s samples) split(spans []span) (during, others samples) {
	for _, one := range s {
		if slices.ContainsFunc(spans, func(x span) bool { return one.at < x.to && x.from < one.at+one.took }) {
			during = append(during, one)
		} else {
			others = append(others, one)
		}
	}
	return during, others
}
