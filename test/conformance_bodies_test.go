package test

import (
	"bytes"
	"compress/gzip"
	"io"
	"math"
	"testing"

	"github.com/golang/snappy"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
)

const delimited = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

// putProtobuf pushes the families in the one protobuf format there is for it.
func putProtobuf(t testing.TB, path string, families ...*dto.MetricFamily) step {
	t.Helper()
	return put(path, marshal(t, families...)).with("Content-Type", delimited)
}

func marshal(t testing.TB, families ...*dto.MetricFamily) string {
	t.Helper()
	var body bytes.Buffer
	for _, family := range families {
		if _, err := protodelim.MarshalTo(&body, family); err != nil {
			t.Fatal(err)
		}
	}
	return body.String()
}

func gaugeFamily(name string, value float64, labels ...string) *dto.MetricFamily {
	metric := &dto.Metric{Gauge: &dto.Gauge{Value: proto.Float64(value)}}
	for i := 0; i < len(labels); i += 2 {
		metric.Label = append(
			metric.Label, &dto.LabelPair{Name: proto.String(labels[i]), Value: proto.String(labels[i+1])})
	}
	return &dto.MetricFamily{
		Name: proto.String(name), Help: proto.String("A gauge."), Type: dto.MetricType_GAUGE.Enum(),
		Metric: []*dto.Metric{metric},
	}
}

func protobufRows(t testing.TB) []row {
	t.Helper()
	histogramOf := func(h *dto.Histogram) *dto.MetricFamily {
		return &dto.MetricFamily{
			Name: proto.String("h"), Help: proto.String("A histogram."), Type: dto.MetricType_HISTOGRAM.Enum(),
			Metric: []*dto.Metric{{Histogram: h}},
		}
	}
	classic := histogramOf(&dto.Histogram{
		SampleCount: proto.Uint64(4), SampleSum: proto.Float64(12.25),
		Bucket: []*dto.Bucket{
			{UpperBound: proto.Float64(0.1), CumulativeCount: proto.Uint64(1)},
			{UpperBound: proto.Float64(1), CumulativeCount: proto.Uint64(3), Exemplar: &dto.Exemplar{
				Label: []*dto.LabelPair{{Name: proto.String("trace_id"), Value: proto.String("abc")}},
				Value: proto.Float64(0.5),
			}},
			{UpperBound: proto.Float64(math.Inf(1)), CumulativeCount: proto.Uint64(4)},
		},
	})
	native := histogramOf(&dto.Histogram{
		SampleCount: proto.Uint64(6), SampleSum: proto.Float64(9.5), Schema: proto.Int32(0),
		ZeroThreshold: proto.Float64(1e-128), ZeroCount: proto.Uint64(1),
		PositiveSpan:  []*dto.BucketSpan{{Offset: proto.Int32(0), Length: proto.Uint32(2)}},
		PositiveDelta: []int64{2, 1},
	})
	stamped := gaugeFamily("m", 1)
	stamped.Metric[0].TimestampMs = proto.Int64(1700000000000)
	mistyped := gaugeFamily("m", 1)
	mistyped.Type = dto.MetricType_COUNTER.Enum()
	empty := &dto.MetricFamily{Name: proto.String("m"), Type: dto.MetricType_GAUGE.Enum()}
	twice := gaugeFamily("m", 1)
	twice.Metric = append(twice.Metric, gaugeFamily("m", 2).Metric...)
	whole := marshal(t, classic, gaugeFamily("m", 1))

	return []row{
		{name: "protobuf", steps: []step{putProtobuf(t, "/metrics/job/a",
			classic, gaugeFamily("m", 1, "z", "1", "b", "2"))}},
		{name: "protobuf of nothing", steps: []step{putProtobuf(t, "/metrics/job/a")}},
		{name: "protobuf cut off in a family", steps: []step{
			put("/metrics/job/a", whole[:len(whole)-3]).with("Content-Type", delimited),
		}},
		{
			name:    "protobuf cut off in a length",
			steps:   []step{put("/metrics/job/a", "\xff").with("Content-Type", delimited)},
			differs: "older ones took it for the end of the body", since: "1.8.0",
			statuses: []int{400},
			lines:    scraped(""),
		},
		{name: "text said to be protobuf", steps: []step{put("/metrics/job/a", gauge("m", 1)).with("Content-Type",
			delimited)}},
		{name: "protobuf said to be text", steps: []step{put("/metrics/job/a", whole)}},
		{name: "protobuf of another encoding", steps: []step{
			put("/metrics/job/a", whole).with("Content-Type",
				"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=text"),
		}},
		{name: "a family twice in protobuf", steps: []step{putProtobuf(t, "/metrics/job/a",
			gaugeFamily("m", 1, "x", "1"), gaugeFamily("m", 2, "x", "2"))}},
		{name: "a series twice in protobuf", steps: []step{putProtobuf(t, "/metrics/job/a", twice)}},
		{name: "a timestamp in protobuf", steps: []step{putProtobuf(t, "/metrics/job/a", stamped)}},
		{name: "type and sample disagree in protobuf", steps: []step{putProtobuf(t, "/metrics/job/a", mistyped)}},
		{
			name:     "a family without series in protobuf",
			steps:    []step{put("/metrics/job/a", gauge("m", 1)), putProtobuf(t, "/metrics/job/a", empty)},
			differs:  "a Pushgateway goes on telling of the family in /api/v1/metrics, with no series in it",
			statuses: []int{200, 200},
			lines:    scraped("", `instance="",job="a" <time> 0`),
		},
		{name: "a label twice in protobuf", steps: []step{putProtobuf(t, "/metrics/job/a",
			gaugeFamily("m", 1, "x", "1", "x", "2"))}},
		{name: "a label value that is not UTF-8 in protobuf", steps: []step{putProtobuf(t, "/metrics/job/a",
			gaugeFamily("m", 1, "x", "\xff"))}},
		{
			name: "a native histogram", steps: []step{putProtobuf(t, "/metrics/job/a", native)},
			differs: "/api/v1/metrics tells native buckets since 1.8", since: "1.8.0",
			statuses: []int{200},
			lines: scraped("# HELP h A histogram.\n# TYPE h histogram\n"+
				"h_bucket{instance=\"\",job=\"a\",le=\"+Inf\"} 6\nh_sum{instance=\"\",job=\"a\"} "+
				"9.5\nh_count{instance=\"\",job=\"a\"} 6\n",
				`instance="",job="a" <time> 0`),
		},
	}
}

func encodingRows(t testing.TB) []row {
	t.Helper()
	toGzip := func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }
	zipped, smallZipped := compressed(t, toGzip, everyType), compressed(t, toGzip, gauge("m", 1))
	snapped := compressed(t, func(w io.Writer) io.WriteCloser { return snappy.NewBufferedWriter(w) }, gauge("m", 1))
	oneGauge := scraped("# HELP m A gauge of the end-to-end tests.\n# TYPE m gauge\nm{instance=\"\",job=\"a\"} 1\n",
		`instance="",job="a" <time> 0`)
	return []row{
		{name: "gzip", steps: []step{put("/metrics/job/a", zipped).with("Content-Encoding", "gzip")}},
		{
			name:    "gzip in capitals",
			steps:   []step{put("/metrics/job/a", smallZipped).with("Content-Encoding", "GZIP")},
			differs: "the name of an encoding is read in any case since 1.6", since: "1.6.0",
			statuses: []int{200},
			lines:    oneGauge,
		},
		{
			name: "gzip cut off", steps: []step{put("/metrics/job/a", zipped[:len(zipped)-9]).with("Content-Encoding",
				"gzip")},
			differs: "older ones kept what they had read until then", since: "1.6.0",
			statuses: []int{400},
			lines:    scraped(""),
		},
		{name: "gzip without its header", steps: []step{put("/metrics/job/a", gauge("m", 1)).with("Content-Encoding",
			"gzip")}},
		{name: "gzip of nothing", steps: []step{put("/metrics/job/a", "").with("Content-Encoding", "gzip")}},
		{name: "gzip that is not said to be", steps: []step{put("/metrics/job/a", zipped)}},
		{name: "an encoding that there is not", steps: []step{
			put("/metrics/job/a", gauge("m", 1)).with("Content-Encoding", "rot13"),
		}},
		{name: "gzip and protobuf", steps: []step{
			put("/metrics/job/a", compressed(t, toGzip, marshal(t, gaugeFamily("m", 1)))).
				with("Content-Encoding", "gzip").with("Content-Type", delimited),
		}},
		{
			name: "snappy", steps: []step{put("/metrics/job/a", snapped).with("Content-Encoding", "snappy")},
			differs: "the Pushgateway reads snappy since 1.6", since: "1.6.0",
			statuses: []int{200},
			lines:    oneGauge,
		},
	}
}

// brokenRows are what breaks a Pushgateway, of every version so far.
func brokenRows(t testing.TB) []row {
	t.Helper()
	return []row{
		{
			name: "a label of the group that is not UTF-8", steps: []step{
				put("/metrics/job/bad/l@base64/__4", gauge("m", 1)), put("/metrics/job/good", gauge("m", 1)),
			},
			differs:  "a Pushgateway keeps the label, and from then on refuses every push and every scrape",
			statuses: []int{400, 200},
			lines: scraped(
				"# HELP m A gauge of the end-to-end tests.\n# TYPE m gauge\nm{instance=\"\",job=\"good\"} 1\n",
				`instance="",job="good" <time> 0`),
		},
		{
			name: "a job that is not UTF-8", steps: []step{
				put("/metrics/job@base64/__4", gauge("m", 1)), del("/metrics/job@base64/__4"),
				put("/metrics/job/good", gauge("m", 1)),
			},
			differs:  "as with any other label",
			statuses: []int{400, 400, 200},
			lines: scraped(
				"# HELP m A gauge of the end-to-end tests.\n# TYPE m gauge\nm{instance=\"\",job=\"good\"} 1\n",
				`instance="",job="good" <time> 0`),
		},
		{
			name: "a metric name that is none, in protobuf", steps: []step{
				putProtobuf(t, "/metrics/job/a", gaugeFamily("m-n", 1)),
				putProtobuf(t, "/metrics/job/a", gaugeFamily("m\nn 1", 1)),
			},
			differs:  "a Pushgateway takes the name, and its scrape cannot be read",
			statuses: []int{400, 400},
			lines:    scraped("", `instance="",job="a" 0 <time>`),
		},
		{
			name: "a label name that is none, in protobuf", steps: []step{
				putProtobuf(t, "/metrics/job/a", gaugeFamily("m", 1, "x-y", "1")),
				putProtobuf(t, "/metrics/job/a", gaugeFamily("m", 1, "x\"", "1")),
			},
			differs:  "a Pushgateway takes the name, and its scrape cannot be read",
			from:     "1.6.0", // 1.5.1 refuses it, 1.11.3 does not; none between was tried
			statuses: []int{400, 400},
			lines:    scraped("", `instance="",job="a" 0 <time>`),
		},
		{
			name: "two groups that differ in an empty instance alone", steps: []step{
				put("/metrics/job/a", gauge("m", 1)), put("/metrics/job/a/instance@base64/=", gauge("n", 1)),
				put("/metrics/job/a/instance@base64/=", ""), put("/metrics/job/b", gauge("m", 1)),
			},
			differs:  "their push times are one series; a Pushgateway keeps both, and its scrape is a 500 from then on",
			statuses: []int{200, 400, 400, 200},
			lines: scraped("# HELP m A gauge of the end-to-end tests.\n# TYPE m gauge\nm{instance=\"\",job=\"a\"} "+
				"1\nm{instance=\"\",job=\"b\"} 1\n",
				`instance="",job="a" <time> 0`, `instance="",job="b" <time> 0`),
		},
	}
}
