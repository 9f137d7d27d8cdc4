// Package expotest makes what the tests of expo and of expo/page push. It does not import expo, so that the tests
// inside of that package can use it.
package expotest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
)

// Push returns the families of a usual push: 4 of 5 series.
func Push() []*dto.MetricFamily {
	var mfs []*dto.MetricFamily
	for f := range 4 {
		mf := &dto.MetricFamily{
			Name: proto.String(fmt.Sprintf("batch_job_family_%d_total", f)),
			Help: proto.String("What the job counted."), Type: dto.MetricType_COUNTER.Enum(),
		}
		for s := range 5 {
			mf.Metric = append(mf.Metric, &dto.Metric{
				Label: []*dto.LabelPair{
					{Name: proto.String("code"), Value: proto.String(fmt.Sprint(200 + s))},
					{Name: proto.String("method"), Value: proto.String("PUT")},
				},
				Counter: &dto.Counter{Value: proto.Float64(12345.5 + float64(s))},
			})
		}
		mfs = append(mfs, mf)
	}
	return mfs
}

// Gauge returns a family of one gauge with these labels, in pairs of a name and a value.
func Gauge(name string, value float64, labels ...string) *dto.MetricFamily {
	m := &dto.Metric{Gauge: &dto.Gauge{Value: proto.Float64(value)}}
	for i := 0; i < len(labels); i += 2 {
		m.Label = append(m.Label, &dto.LabelPair{Name: proto.String(labels[i]), Value: proto.String(labels[i+1])})
	}
	return &dto.MetricFamily{Name: proto.String(name), Type: dto.MetricType_GAUGE.Enum(), Metric: []*dto.Metric{m}}
}

// Pairs returns the labels that are given in pairs of a name and a value.
func Pairs(labels ...string) []*dto.LabelPair {
	var out []*dto.LabelPair
	for i := 0; i < len(labels); i += 2 {
		out = append(out, &dto.LabelPair{Name: proto.String(labels[i]), Value: proto.String(labels[i+1])})
	}
	return out
}

// Clone returns the families in memory of their own.
func Clone(mfs []*dto.MetricFamily) []*dto.MetricFamily {
	out := make([]*dto.MetricFamily, len(mfs))
	for i, mf := range mfs {
		out[i] = proto.Clone(mf).(*dto.MetricFamily)
	}
	return out
}

// Delimited returns a body of protobuf messages.
func Delimited(tb testing.TB, mfs ...*dto.MetricFamily) []byte {
	tb.Helper()
	var b bytes.Buffer
	for _, mf := range mfs {
		if _, err := protodelim.MarshalTo(&b, mf); err != nil {
			tb.Fatal(err)
		}
	}
	return b.Bytes()
}

// ExpectError fails the test unless err is nil for want == "", or else one bounded line that
// contains want.
func ExpectError(tb testing.TB, name string, err error, want string) {
	tb.Helper()
	switch {
	case want == "" && err != nil:
		tb.Errorf("%s: unexpected error: %v", name, err)
	case want != "" && err == nil:
		tb.Errorf("%s: no error, want one with %q", name, want)
	case want != "" && !strings.Contains(err.Error(), want):
		tb.Errorf("%s: error %q, want one with %q", name, err, want)
	case err != nil && (strings.ContainsAny(err.Error(), "\n\r") || len(err.Error()) > 1500):
		tb.Errorf("%s: error is not one bounded line: %d bytes, %q", name, len(err.Error()), err)
	}
}
