package api

import (
	"fmt"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/histogram"

	"pushquorum/expo"
)

// metricObject has the keys of its type; all numbers are strings, because JSON has no NaN.
type metricObject map[string]any

// newMetricObject puts a metric into the form of the Pushgateway's query API.
func newMetricObject(m *dto.Metric, t dto.MetricType) metricObject {
	object := metricObject{"labels": labelMap(m)}
	switch t {
	case dto.MetricType_SUMMARY:
		s := m.GetSummary()
		quantiles := make(map[string]string, len(s.GetQuantile()))
		for _, q := range s.GetQuantile() {
			quantiles[fmt.Sprint(q.GetQuantile())] = fmt.Sprint(q.GetValue())
		}
		object["quantiles"], object["count"], object["sum"] = quantiles, fmt.Sprint(s.GetSampleCount()), fmt.Sprint(s.GetSampleSum())
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		h := m.GetHistogram()
		object["sum"] = fmt.Sprint(h.GetSampleSum())
		object["count"], object["buckets"] = histogramBuckets(h)
	default:
		object["value"] = fmt.Sprint(simpleValue(m))
	}
	return object
}

// histogramBuckets returns a count and either the classic buckets (upper bound → cumulative count) or, if there are any, the
// native ones, from the lowest to the highest.
func histogramBuckets(h *dto.Histogram) (count string, buckets any) {
	if integer, float := native(h); integer != nil {
		return fmt.Sprint(integer.Count), nativeBuckets(integer.NegativeBucketIterator(), integer.ZeroBucket(), integer.PositiveBucketIterator())
	} else if float != nil {
		return fmt.Sprint(float.Count), nativeBuckets(float.NegativeBucketIterator(), float.ZeroBucket(), float.PositiveBucketIterator())
	}
	classic := make(map[string]string, len(h.GetBucket()))
	for _, b := range h.GetBucket() {
		classic[fmt.Sprint(b.GetUpperBound())] = bucketCount(b)
	}
	if n := h.GetSampleCountFloat(); n > 0 {
		return fmt.Sprint(n), classic
	}
	return fmt.Sprint(h.GetSampleCount()), classic
}

func bucketCount(b *dto.Bucket) string {
	if n := b.GetCumulativeCountFloat(); n > 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprint(b.GetCumulativeCount())
}

// native returns the native histogram in h if it has buckets of that kind. Without any it is shown as a classic one.
func native(h *dto.Histogram) (*histogram.Histogram, *histogram.FloatHistogram) {
	if len(h.GetPositiveSpan())+len(h.GetNegativeSpan()) == 0 {
		return nil, nil
	}
	return expo.Native(h)
}

// nativeBuckets returns each bucket that is not empty as [boundaries, lower, upper, count].
func nativeBuckets[C histogram.BucketCount](negative histogram.BucketIterator[C], zero histogram.Bucket[C], positive histogram.BucketIterator[C]) [][4]any {
	buckets := [][4]any{}
	add := func(b histogram.Bucket[C]) {
		if b.Count != 0 {
			buckets = append(buckets, [4]any{boundaries(b.LowerInclusive, b.UpperInclusive), fmt.Sprint(b.Lower), fmt.Sprint(b.Upper), fmt.Sprint(b.Count)})
		}
	}
	var below []histogram.Bucket[C] // iterated from zero down
	for negative.Next() {
		below = append(below, negative.At())
	}
	for i := len(below) - 1; i >= 0; i-- {
		add(below[i])
	}
	add(zero)
	for positive.Next() {
		add(positive.At())
	}
	return buckets
}

// boundaries encodes which ends belong to a bucket, as Prometheus's HTTP API does.
func boundaries(lower, upper bool) int {
	switch {
	case lower && upper:
		return 3
	case lower:
		return 1
	case upper:
		return 0
	default:
		return 2
	}
}

// simpleValue is the value of a metric that has one number.
func simpleValue(m *dto.Metric) float64 {
	switch {
	case m.GetGauge() != nil:
		return m.GetGauge().GetValue()
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	default:
		return m.GetUntyped().GetValue()
	}
}
