package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/prometheus/model/histogram"
	"google.golang.org/protobuf/proto"
)

// manyBuckets is a native histogram with one observation in each of as many buckets on each side of zero.
func manyBuckets(buckets int) *dto.Histogram {
	side := func() []int64 { return append([]int64{1}, make([]int64, buckets-1)...) }
	spans := []*dto.BucketSpan{span(int32(-buckets/2), uint32(buckets))}
	return &dto.Histogram{
		Schema: proto.Int32(8), SampleCount: proto.Uint64(uint64(2 * buckets)),
		PositiveSpan: spans, PositiveDelta: side(), NegativeSpan: spans, NegativeDelta: side(),
	}
}

// allocated returns how many bytes do allocates.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestNativeBucketsAreNotKeptAsText. What is left are the histogram as it is decoded, a copy of it and the buckets
// below zero.
func TestNativeBucketsAreNotKeptAsText(t *testing.T) {
	const buckets, most = 100_000, 80 // bytes of each
	g := start(t)
	body := delimited(t, histogramFamily("h", dto.MetricType_HISTOGRAM, manyBuckets(buckets)))
	g.must(http.StatusOK, "PUT", "/metrics/job/a", body, "Content-Type", protobufType)
	view := g.replica.View()
	taken := allocated(func() {
		if err := writeGroups(io.Discard, view); err != nil {
			t.Error(err)
		}
	})
	if per := taken / (2 * buckets); per > most {
		t.Errorf("want at most %d bytes allocated for each bucket, got %d", most, per)
	}
}

// randomNative is a native histogram of either kind, with buckets that are empty or far apart.
func randomNative(rng *rand.Rand) *dto.Histogram {
	h := &dto.Histogram{
		Schema: proto.Int32(int32(rng.IntN(13) - 4)), ZeroThreshold: proto.Float64(math.Ldexp(1, -rng.IntN(130))),
		SampleSum: proto.Float64(rng.NormFloat64()),
	}
	float := rng.IntN(2) == 0
	if float {
		h.SampleCountFloat = proto.Float64(math.Exp2(rng.Float64() * 80))
		h.ZeroCountFloat = proto.Float64(float64(rng.IntN(2)) / 3)
	} else {
		h.SampleCount, h.ZeroCount = proto.Uint64(rng.Uint64()), proto.Uint64(uint64(rng.IntN(2)))
	}
	side := func() (spans []*dto.BucketSpan, deltas []int64, counts []float64) {
		for i := range rng.IntN(4) {
			offset, length := int32(rng.IntN(9)), uint32(1+rng.IntN(4))
			if i == 0 {
				offset -= 5
			}
			spans = append(spans, span(offset, length))
			for range length {
				if float {
					counts = append(counts, float64(rng.IntN(3))*math.Exp2(rng.Float64()*80-20))
				} else {
					deltas = append(deltas, int64(rng.IntN(1<<rng.IntN(50))))
				}
			}
		}
		return spans, deltas, counts
	}
	h.PositiveSpan, h.PositiveDelta, h.PositiveCount = side()
	h.NegativeSpan, h.NegativeDelta, h.NegativeCount = side()
	return h
}

// wholeNative is what writeNative writes, made at once by encoding/json.
func wholeNative[C histogram.BucketCount](t *testing.T, m *dto.Metric, count C, h nativeBuckets[C]) string {
	t.Helper()
	buckets := [][4]any{}
	add := func(b histogram.Bucket[C]) {
		if b.Count != 0 {
			ends := boundaries(b.LowerInclusive, b.UpperInclusive)
			buckets = append(buckets, [4]any{ends, fmt.Sprint(b.Lower), fmt.Sprint(b.Upper), fmt.Sprint(b.Count)})
		}
	}
	var below []histogram.Bucket[C]
	for it := h.NegativeBucketIterator(); it.Next(); {
		below = append([]histogram.Bucket[C]{it.At()}, below...)
	}
	for _, b := range append(below, h.ZeroBucket()) {
		add(b)
	}
	for it := h.PositiveBucketIterator(); it.Next(); {
		add(it.At())
	}
	whole, err := json.Marshal(metricObject{
		"labels": labelMap(m), "buckets": buckets,
		"count": fmt.Sprint(count), "sum": fmt.Sprint(m.GetHistogram().GetSampleSum()),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(whole)
}

// TestNativeBucketsAreStreamedAsTheyWereEncodedAtOnce, to the byte.
func TestNativeBucketsAreStreamedAsTheyWereEncodedAtOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 8))
	kinds := [3]int{}
	for range 1000 {
		labels := []*dto.LabelPair{{Name: proto.String("l"), Value: proto.String("<&>")}}
		m := &dto.Metric{Label: labels, Histogram: randomNative(rng)}
		var want string
		switch integer, float := native(m.GetHistogram()); {
		case integer != nil:
			want = wholeNative(t, m, integer.Count, integer)
			kinds[0]++
		case float != nil:
			want = wholeNative(t, m, float.Count, float)
			kinds[1]++
		default:
			kinds[2]++
			continue
		}
		var got bytes.Buffer
		w := &jsonWriter{Writer: bufio.NewWriterSize(&got, 16)} // a bucket does not fit
		w.metric(m, dto.MetricType_HISTOGRAM)
		if err := w.Flush(); err != nil || w.err != nil {
			t.Fatal(err, w.err)
		}
		if got.String() != want {
			t.Fatalf("want\n%s\ngot\n%s", want, got.String())
		}
	}
	if min(kinds[0], kinds[1], kinds[2]) < 20 {
		t.Errorf("want integer, float and no native histograms, got %d of each", kinds)
	}
}

// TestCustomBucketsAreShown though they have no zero bucket.
func TestCustomBucketsAreShown(t *testing.T) {
	g := start(t)
	h := &dto.Histogram{
		Schema: proto.Int32(histogram.CustomBucketsSchema), SampleCount: proto.Uint64(2), SampleSum: proto.Float64(3),
		PositiveSpan: []*dto.BucketSpan{span(0, 1)}, PositiveDelta: []int64{2},
	}
	body := delimited(t, histogramFamily("h", dto.MetricType_HISTOGRAM, h))
	g.must(http.StatusOK, "PUT", "/metrics/job/a", body, "Content-Type", protobufType)
	const want = `"buckets":[[3,"-Inf","+Inf","2"]],"count":"2"`
	if got := g.must(http.StatusOK, "GET", "/api/v1/metrics", "").body; !strings.Contains(got, want) {
		t.Errorf("want %s in\n%s", want, got)
	}
	g.must(http.StatusOK, "GET", "/", "")
}
