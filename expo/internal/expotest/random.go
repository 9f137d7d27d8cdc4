package expotest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Random makes families of every type, with values and names that are hard to write.
type Random struct{ *rand.Rand }

// NewRandom returns what makes the same families for the same seed.
func NewRandom(tb testing.TB, seed uint64) Random {
	tb.Helper()
	return Random{rand.New(rand.NewPCG(seed, 42))}
}

// Pick returns one of several.
func Pick[T any](r Random, from ...T) T { return from[r.IntN(len(from))] }

func (r Random) float() float64 {
	return Pick(r, 0, math.Copysign(0, -1), 1, -1, 1.5, math.NaN(), math.Inf(1), math.Inf(-1), 1<<53, 1<<53+2,
		math.MaxFloat64, math.SmallestNonzeroFloat64, 1e21, -123456789, r.NormFloat64())
}

func (r Random) value() string {
	return Pick(r, "", "a", "line\nbreak", `quo"te`, `back\slash`, "日本", "\x00", "tab\t", "a=b,c{d}", "\r\n", `\n`)
}

func (r Random) labels(names []string) []*dto.LabelPair {
	var labels []*dto.LabelPair
	for _, name := range names {
		if r.IntN(4) > 0 {
			labels = append(labels, &dto.LabelPair{Name: proto.String(name), Value: proto.String(r.value())})
		}
	}
	r.Shuffle(len(labels), func(i, j int) { labels[i], labels[j] = labels[j], labels[i] })
	return labels
}

func (r Random) exemplar() *dto.Exemplar {
	if r.IntN(2) == 0 {
		return nil
	}
	return &dto.Exemplar{
		Label: []*dto.LabelPair{{Name: proto.String("trace"), Value: proto.String(r.value())}},
		Value: proto.Float64(r.float()), Timestamp: timestamppb.New(time.Unix(r.Int64N(1e9), 7)),
	}
}

func (r Random) histogram() *dto.Histogram {
	h := &dto.Histogram{
		SampleSum: proto.Float64(r.float()), CreatedTimestamp: timestamppb.New(time.Unix(r.Int64N(1e9), 0)),
	}
	switch r.IntN(4) {
	case 0: // native, integer
		h.Schema, h.ZeroThreshold, h.ZeroCount = proto.Int32(3), proto.Float64(1e-128), proto.Uint64(2)
		h.PositiveSpan = []*dto.BucketSpan{
			{Offset: proto.Int32(-2), Length: proto.Uint32(2)}, {Offset: proto.Int32(3), Length: proto.Uint32(1)},
		}
		h.PositiveDelta = []int64{1, 2, -1} // 1, 3, 2
		h.SampleCount = proto.Uint64(8)
		h.Exemplars = []*dto.Exemplar{{Value: proto.Float64(1), Timestamp: timestamppb.New(time.Unix(5, 0))}}
	case 1: // native, float
		h.Schema, h.ZeroThreshold, h.ZeroCountFloat = proto.Int32(-1), proto.Float64(0.5), proto.Float64(0.25)
		h.NegativeSpan = []*dto.BucketSpan{{Offset: proto.Int32(1), Length: proto.Uint32(2)}}
		h.NegativeCount = []float64{0.5, 1.25}
		h.SampleCountFloat = proto.Float64(2)
	case 2: // classic, float
		h.SampleCountFloat = proto.Float64(7.5)
		h.Bucket = []*dto.Bucket{{UpperBound: proto.Float64(1), CumulativeCountFloat: proto.Float64(2.5)}}
	default:
		count := r.Uint64N(1 << 60)
		h.SampleCount = proto.Uint64(count)
		for _, bound := range []float64{math.Inf(-1), -1, 0, 0.1, 1e9, math.Inf(1)}[:r.IntN(7)] {
			h.Bucket = append(h.Bucket, &dto.Bucket{
				UpperBound: proto.Float64(bound), CumulativeCount: proto.Uint64(r.Uint64N(count + 1)),
				Exemplar: r.exemplar(),
			})
		}
	}
	return h
}

// Metric returns a metric of type t with these labels.
func (r Random) Metric(t dto.MetricType, labels []*dto.LabelPair) *dto.Metric {
	m := &dto.Metric{Label: labels}
	switch t {
	case dto.MetricType_COUNTER:
		m.Counter = &dto.Counter{Value: proto.Float64(r.float()), Exemplar: r.exemplar()}
	case dto.MetricType_GAUGE:
		m.Gauge = &dto.Gauge{Value: proto.Float64(r.float())}
	case dto.MetricType_UNTYPED:
		m.Untyped = &dto.Untyped{Value: proto.Float64(r.float())}
	case dto.MetricType_SUMMARY:
		m.Summary = &dto.Summary{SampleCount: proto.Uint64(r.Uint64()), SampleSum: proto.Float64(r.float())}
		for _, q := range []float64{0, 0.5, 0.99, 1}[:r.IntN(5)] {
			m.Summary.Quantile = append(
				m.Summary.Quantile, &dto.Quantile{Quantile: proto.Float64(q), Value: proto.Float64(r.float())},
			)
		}
	default:
		m.Histogram = r.histogram()
	}
	return m
}

// Families returns families whose names and label names stay different when they are
// escaped. With utf8, some of them need escaping.
func (r Random) Families(n int, utf8 bool) []*dto.MetricFamily {
	var mfs []*dto.MetricFamily
	labelNames := []string{"a", "b", "zz", "instance"}
	if utf8 {
		labelNames = append(labelNames, "k8s.pod", "größe", `q"u\o`)
	}
	for i := range n {
		name := fmt.Sprintf("m:%d_total", i)
		if utf8 && r.IntN(2) == 0 {
			name = Pick(r, "m.%d.", "7 leading digit %d", "日本%d", "new\nline\"%d\\")
			name = fmt.Sprintf(name, i)
		}
		t := dto.MetricType(i % 6)
		mf := &dto.MetricFamily{Name: proto.String(name), Type: t.Enum()}
		if r.IntN(3) > 0 {
			mf.Help = proto.String(Pick(r, "help", "two\nlines", `back\slash "quoted"`, "日本"))
		}
		if r.IntN(3) == 0 {
			mf.Unit = proto.String("seconds")
		}
		for j := range 1 + r.IntN(5) {
			labels := append(
				r.labels(labelNames), &dto.LabelPair{Name: proto.String("n"), Value: proto.String(fmt.Sprint(j))},
			)
			mf.Metric = append(mf.Metric, r.Metric(t, labels))
		}
		mfs = append(mfs, mf)
	}
	return mfs
}
