package expo

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/histogram"
	"google.golang.org/protobuf/proto"
)

// dropUnknownFields drops the fields of m that the protocol does not know. They would be kept by some
// versions of a parser and dropped by others.
func dropUnknownFields(m proto.Message) {
	if r := m.ProtoReflect(); r.IsValid() && len(r.GetUnknown()) > 0 {
		r.SetUnknown(nil)
	}
}

func checkCounter(c *dto.Counter) error {
	dropUnknownFields(c)
	dropUnknownFields(c.GetCreatedTimestamp())
	return checkExemplar(c.GetExemplar())
}

func checkSummary(s *dto.Summary) error {
	dropUnknownFields(s)
	dropUnknownFields(s.GetCreatedTimestamp())
	for _, q := range s.GetQuantile() {
		dropUnknownFields(q)
	}
	if q, ok := repeated(s.GetQuantile(), (*dto.Quantile).GetQuantile); ok {
		return fmt.Errorf("quantile %v is given twice: give each once", q)
	}
	return nil
}

func checkHistogram(h *dto.Histogram) error {
	dropUnknownFields(h)
	dropUnknownFields(h.GetCreatedTimestamp())
	for _, b := range h.GetBucket() {
		dropUnknownFields(b)
		if err := checkExemplar(b.GetExemplar()); err != nil {
			return err
		}
	}
	for _, spans := range [][]*dto.BucketSpan{h.GetPositiveSpan(), h.GetNegativeSpan()} {
		for _, span := range spans {
			dropUnknownFields(span)
		}
	}
	for _, e := range h.GetExemplars() {
		if err := checkExemplar(e); err != nil {
			return err
		}
	}
	if bound, ok := repeated(h.GetBucket(), (*dto.Bucket).GetUpperBound); ok {
		return fmt.Errorf("the bucket with upper bound %v is given twice: give each once", bound)
	}
	return checkNative(h)
}

// repeated returns the first key that occurs twice in items. Each key becomes the value of a
// label, so that a repeated one would be a repeated series; NaN counts as equal to NaN.
func repeated[T any](items []T, key func(T) float64) (float64, bool) {
	increasing := true
	for i := 1; i < len(items) && increasing; i++ {
		increasing = key(items[i-1]) < key(items[i])
	}
	if increasing {
		return 0, false
	}
	seen := make(map[float64]struct{}, len(items))
	nan := false
	for _, item := range items {
		k := key(item)
		if _, ok := seen[k]; ok || nan && math.IsNaN(k) {
			return k, true
		}
		nan = nan || math.IsNaN(k)
		seen[k] = struct{}{}
	}
	return 0, false
}

func checkExemplar(e *dto.Exemplar) error {
	if e == nil {
		return nil
	}
	dropUnknownFields(e)
	dropUnknownFields(e.GetTimestamp())
	for _, l := range e.GetLabel() {
		dropUnknownFields(l)
		if l.GetName() == "" || !utf8.ValidString(l.GetName()) {
			return fmt.Errorf(
				"the label name %s of an exemplar is not valid UTF-8 or is empty: give it a name in UTF-8",
				Quote(l.GetName()),
			)
		}
		if !utf8.ValidString(l.GetValue()) {
			return fmt.Errorf(
				"the value %s of an exemplar's label %s is not valid UTF-8: encode it as UTF-8", Quote(l.GetValue()),
				Quote(l.GetName()),
			)
		}
	}
	return nil
}

// Native returns the native histogram in h, either with integer or with float counts,
// or neither if h has only classic buckets or no observation can be told from none.
// The slices of the result are new. For an h that Canonical let through, the result is
// valid.
func Native(h *dto.Histogram) (*histogram.Histogram, *histogram.FloatHistogram) {
	if len(h.GetPositiveSpan()) == 0 && len(h.GetNegativeSpan()) == 0 &&
		len(h.GetPositiveDelta()) == 0 && len(h.GetNegativeDelta()) == 0 &&
		len(h.GetPositiveCount()) == 0 && len(h.GetNegativeCount()) == 0 &&
		h.GetZeroThreshold() == 0 && h.GetZeroCount() == 0 && h.GetZeroCountFloat() == 0 {
		return nil, nil
	}
	// The same rule as in Prometheus's parser: empty float buckets make it a float
	// histogram even when all counts are zero.
	if h.GetSampleCountFloat() > 0 || h.GetZeroCountFloat() > 0 ||
		len(h.GetPositiveCount()) > 0 || len(h.GetNegativeCount()) > 0 {
		return nil, &histogram.FloatHistogram{
			Schema: h.GetSchema(), ZeroThreshold: h.GetZeroThreshold(),
			Count: h.GetSampleCountFloat(), Sum: h.GetSampleSum(), ZeroCount: h.GetZeroCountFloat(),
			PositiveSpans: spans(h.GetPositiveSpan()), PositiveBuckets: append([]float64(nil), h.GetPositiveCount()...),
			NegativeSpans: spans(h.GetNegativeSpan()), NegativeBuckets: append([]float64(nil), h.GetNegativeCount()...),
		}
	}
	return &histogram.Histogram{
		Schema: h.GetSchema(), ZeroThreshold: h.GetZeroThreshold(),
		Count: h.GetSampleCount(), Sum: h.GetSampleSum(), ZeroCount: h.GetZeroCount(),
		PositiveSpans: spans(h.GetPositiveSpan()), PositiveBuckets: append([]int64(nil), h.GetPositiveDelta()...),
		NegativeSpans: spans(h.GetNegativeSpan()), NegativeBuckets: append([]int64(nil), h.GetNegativeDelta()...),
	}, nil
}

func spans(in []*dto.BucketSpan) []histogram.Span {
	out := make([]histogram.Span, len(in))
	for i, s := range in {
		out[i] = histogram.Span{Offset: s.GetOffset(), Length: s.GetLength()}
	}
	return out
}

// checkNative refuses a native histogram that Prometheus would refuse: it drops the whole
// scrape for one of these, so that one client would hide the metrics of all others.
func checkNative(h *dto.Histogram) error {
	counts := len(h.GetPositiveCount()) + len(h.GetNegativeCount())
	deltas := len(h.GetPositiveDelta()) + len(h.GetNegativeDelta())
	if counts > 0 && deltas > 0 {
		return errors.New("the native histogram has both integer and float buckets: give one kind")
	}
	integer, float := Native(h)
	var err error
	switch {
	case integer != nil:
		err = integer.Validate()
	case float != nil:
		err = float.Validate()
	}
	if err != nil {
		return fmt.Errorf("the native histogram is not valid: %s: push counts that fit together", oneLine(err.Error()))
	}
	return nil
}
