package api

import (
	"fmt"
	"slices"
	"strconv"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/histogram"

	"pushquorum/expo"
)

// metricObject has the keys of its type; all numbers are strings, because JSON has no NaN.
type metricObject map[string]any

// metric writes a metric in the form of the Pushgateway's query API.
func (w *jsonWriter) metric(m *dto.Metric, t dto.MetricType) {
	switch integer, float := native(m.GetHistogram()); {
	case integer != nil:
		writeNative(w, m, integer.Count, integer, len(integer.NegativeBuckets))
	case float != nil:
		writeNative(w, m, float.Count, float, len(float.NegativeBuckets))
	default:
		w.value(newMetricObject(m, t))
	}
}

// newMetricObject returns a metric that is no native histogram.
func newMetricObject(m *dto.Metric, t dto.MetricType) metricObject {
	object := metricObject{"labels": labelMap(m)}
	switch t {
	case dto.MetricType_SUMMARY:
		s := m.GetSummary()
		quantiles := make(map[string]string, len(s.GetQuantile()))
		for _, q := range s.GetQuantile() {
			quantiles[fmt.Sprint(q.GetQuantile())] = fmt.Sprint(q.GetValue())
		}
		object["quantiles"] = quantiles
		object["count"], object["sum"] = fmt.Sprint(s.GetSampleCount()), fmt.Sprint(s.GetSampleSum())
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		h := m.GetHistogram()
		object["buckets"] = classicBuckets(h)
		object["count"], object["sum"] = classicCount(h), fmt.Sprint(h.GetSampleSum())
	default:
		object["value"] = fmt.Sprint(simpleValue(m))
	}
	return object
}

// classicCount is how many observations a histogram that is not native has.
func classicCount(h *dto.Histogram) string {
	if n := h.GetSampleCountFloat(); n > 0 {
		return fmt.Sprint(n)
	}
	return fmt.Sprint(h.GetSampleCount())
}

// classicBuckets maps upper bounds to cumulative counts.
func classicBuckets(h *dto.Histogram) map[string]string {
	buckets := make(map[string]string, len(h.GetBucket()))
	for _, b := range h.GetBucket() {
		buckets[fmt.Sprint(b.GetUpperBound())] = bucketCount(b)
	}
	return buckets
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

// nativeBuckets are those of either kind of native histogram.
type nativeBuckets[C histogram.BucketCount] interface {
	NegativeBucketIterator() histogram.BucketIterator[C]
	ZeroBucket() histogram.Bucket[C]
	PositiveBucketIterator() histogram.BucketIterator[C]
	UsesCustomBuckets() bool
}

// writeNative writes a native histogram, its buckets one by one, because there may be many.
func writeNative[C histogram.BucketCount](
	w *jsonWriter, m *dto.Metric, count C, buckets nativeBuckets[C], negative int,
) {
	w.raw(`{"buckets":`)
	writeBuckets(w, buckets, negative)
	w.raw(`,"count":`)
	w.value(fmt.Sprint(count))
	w.raw(`,"labels":`)
	w.value(labelMap(m))
	w.raw(`,"sum":`)
	w.value(fmt.Sprint(m.GetHistogram().GetSampleSum()))
	w.raw("}")
}

// writeBuckets writes each bucket that is not empty as [boundaries, lower, upper, count], from the lowest to the
// highest. negative is how many at most are negative.
func writeBuckets[C histogram.BucketCount](w *jsonWriter, h nativeBuckets[C], negative int) {
	separator := ""
	write := func(b histogram.Bucket[C]) {
		if b.Count != 0 {
			w.raw(separator)
			writeBucket(w, b)
			separator = ","
		}
	}
	below := make([]histogram.Bucket[C], 0, negative) // iterated from zero down
	for it := h.NegativeBucketIterator(); it.Next(); {
		below = append(below, it.At())
	}
	w.raw("[")
	for _, b := range slices.Backward(below) {
		write(b)
	}
	if !h.UsesCustomBuckets() { // because these have none, and panic
		write(h.ZeroBucket())
	}
	for it := h.PositiveBucketIterator(); it.Next() && w.err == nil; {
		write(it.At())
	}
	w.raw("]")
}

// writeBucket makes no strings, because a push of 400 kB may have 400,000 buckets.
func writeBucket[C histogram.BucketCount](w *jsonWriter, b histogram.Bucket[C]) {
	if w.err != nil {
		return
	}
	out := append(w.AvailableBuffer(), '[')
	out = strconv.AppendInt(out, int64(boundaries(b.LowerInclusive, b.UpperInclusive)), 10)
	for _, bound := range [...]float64{b.Lower, b.Upper} {
		out = append(out, `,"`...)
		out = strconv.AppendFloat(out, bound, 'g', -1, 64)
		out = append(out, '"')
	}
	out = append(out, `,"`...)
	switch n := any(b.Count).(type) {
	case uint64:
		out = strconv.AppendUint(out, n, 10)
	case float64:
		out = strconv.AppendFloat(out, n, 'g', -1, 64)
	}
	_, w.err = w.Write(append(out, `"]`...))
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
