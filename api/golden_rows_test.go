package api

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo"
	"pushquorum/fsm"
)

// refusals are all rows. A text that is added to the sources wants one here: see TestEveryRefusalIsInARow.
func refusals(t *testing.T) []refusal {
	t.Helper()
	return slices.Concat(pathRefusals, methodRefusals, bodyRefusals(t), textRefusals, familyRefusals,
		protobufRefusals(t), clashRefusals, roomRefusals, outcomeRefusals, readRefusals)
}

var pathRefusals = []refusal{
	{name: "no job", path: "/metrics/job", want: 404, mend: "push to /metrics/job/<JOB>"},
	{name: "no job and a slash", path: "/metrics/job/", want: 400, mend: "job name is required"},
	{name: "an empty job in base64", path: "/metrics/job@base64/=", want: 400, mend: "<label>@base64/="},
	{name: "an empty job and a label", path: "/metrics/job//instance/h", want: 400, mend: "<label>@base64/="},
	{
		name: "an empty value", path: "/metrics/job/a/instance//zone/z", want: 400, value: `"instance"`,
		mend: "instance@base64/=",
	},
	{name: "an empty name", path: "/metrics/job/a//instance/h", want: 400, value: `"a"`, mend: "<label>@base64/="},
	{name: "dots for a value", path: "/metrics/job/a/dir/..", want: 400, value: `".."`, mend: "<label>@base64/Li4"},
	{
		name: "base64 that goes on after its end", path: "/metrics/job/a/l@base64/YQ==YQ==", want: 400,
		value: `"YQ==YQ=="`, mend: "is followed by something else",
	},
	{
		name: "base64 that is cut off", path: "/metrics/job/a/l@base64/YWFhY", want: 400, value: `"YWFhY"`,
		mend: "write a value as it is without @base64",
	},
	{
		name: "a label without a value", path: "/metrics/job/a/instance", want: 400, value: `"/instance"`,
		mend: "<name>@base64/=",
	},
	{name: "a label name with a dash", path: "/metrics/job/a/x-y/1", want: 400, value: `"x-y"`, mend: "it must match"},
	{
		name: "a reserved label name", path: "/metrics/job/a/__name__/n", want: 400, value: `"__name__"`,
		mend: "not begin with __",
	},
	{
		name: "a value in base64 of the other alphabet", path: "/metrics/job/a/path@base64/ZHA+", want: 400,
		value: "ZHA+", mend: "write ZHA-",
	},
	{
		name: "a job that is no base64", path: "/metrics/job@base64/!!!", want: 400, value: `"!!!"`,
		mend: "write a value as it is without @base64",
	},
	{
		name: "a value that is not UTF-8", path: "/metrics/job/a/l@base64/__4", want: 400, value: `label "l"`,
		mend: "encode it as UTF-8",
	},
	{
		name: "a name with a colon", path: "/metrics/job/a/U__x_3a_y/1",
		options: withConfig(func(c *Config) { c.UTF8Names = true }), want: 400, value: `"x:y"`,
		mend: "use another character",
	},
	{
		name: "a name with a NUL", path: "/metrics/job/a/U__x_0_y/1",
		options: withConfig(func(c *Config) { c.UTF8Names = true }), want: 400, value: `"x\x00y"`,
		mend: "leave it out",
	},
	{
		name: "labels without end", path: "/metrics/job/a" + manyLabels(1100), want: 400,
		value: "there are 1101 grouping labels", mend: "use fewer",
	},
	{
		name: "a path without end", path: "/metrics/job/" + strings.Repeat("a", maxPath), want: 414,
		value: fmt.Sprint(maxPath), mend: "use at most",
	},
	{
		name: "a path that is a book, on one line of the log", path: "/metrics/job/a/" + strings.Repeat("b", 400),
		want: 400, value: "(401 bytes)", mend: "<name>@base64/=",
	},
	{name: "a path below another", path: "/metrics/jobs/a", want: 404, mend: "push to"},
	{name: "a push to the root", path: "/", want: 405, mend: "push to"},
	{name: "a push to the scrape", path: "/metrics", want: 405, mend: "push to"},
	{
		name: "DELETE of a path that is none", method: "DELETE", path: "/metrics/job/a/x", want: 400, value: `"/x"`,
		mend: "<name>@base64/=",
	},
	{name: "a file that there is not", method: "GET", path: "/static/none.js", want: 404, mend: "load the page again"},
	{
		name: "a page that there is not", method: "GET", path: "/api/v2/metrics", want: 404,
		mend: "metrics are at /metrics",
	},
}

// manyLabels is a path of so many short ones.
func manyLabels(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "/l%d/v", i)
	}
	return b.String()
}

var methodRefusals = []refusal{
	{name: "GET of a group", method: "GET", path: "/metrics/job/a", want: 405, mend: "metrics are at /metrics"},
	{name: "a wipe with POST", method: "POST", path: "/api/v1/admin/wipe", want: 405, mend: "wipe with PUT"},
	{
		name: "a wipe that is switched off", path: "/api/v1/admin/wipe",
		options: withConfig(func(c *Config) { c.EnableAdmin = false }), want: 404, mend: "--web.enable-admin-api",
	},
	{
		name: "quitting with GET", method: "GET", path: "/-/quit", want: 405,
		breaks: "is the Pushgateway's own text, which scripts may know",
	},
	{
		name: "quitting when that is switched off", path: "/-/quit", want: 403,
		breaks: "is the Pushgateway's own text, which scripts may know",
	},
	{
		name: "a key that is a book", header: []string{idempotencyKey, strings.Repeat("k", 300)}, body: "m 1\n",
		want: 400, value: "Idempotency-Key has 300 bytes", mend: "use at most 255",
	},
	{
		name: "a key of another push", header: []string{idempotencyKey, "k"}, body: "m 2\n",
		before: pushed("/metrics/job/a", "m 1\n", idempotencyKey, "k"), want: 422, value: idempotencyKey,
		mend: "use a new one",
	},
	{name: "DELETE with a key that is a book", method: "DELETE", header: []string{
		idempotencyKey,
		strings.Repeat("k", 300),
	}, want: 400, value: "Idempotency-Key has 300 bytes", mend: "use at most 255"},
}

func bodyRefusals(t *testing.T) []refusal {
	t.Helper()
	zipped := gzipped(t, "m 1\n")
	gzipType, snappyType := []string{"Content-Encoding", "gzip"}, []string{"Content-Encoding", "snappy"}
	return []refusal{
		{name: "gzip of plain text", header: gzipType, body: "m 1\n", want: 400, mend: "send it without the header"},
		{name: "gzip of nothing", header: gzipType, want: 400, mend: "leave the header out"},
		{
			name: "gzip that is cut off", header: gzipType, body: zipped[:len(zipped)-9], want: 400,
			mend: "send all of it",
		},
		{name: "gzip whose checksum is another", header: gzipType, body: zipped[:len(zipped)-8] + "\x00\x00\x00\x00" +
			zipped[len(zipped)-4:], want: 400, value: "28 bytes", mend: "have been changed since"},
		{
			name: "gzip with something behind it", header: gzipType, body: zipped + strings.Repeat("m 2\n", 10),
			want: 400, value: "68 bytes", mend: "send nothing after the end",
		},
		{
			name: "gzip with a hole", header: gzipType, body: zipped[:10] + "\xff\xff" + zipped[12:], want: 400,
			value: "28 bytes", mend: "send it as it was compressed",
		},
		{
			name: "gzip of JSON", header: gzipType, body: gzipped(t, `{"m": 1}`), want: 400,
			value: "gzip looks like JSON", mend: "push the text format",
		},
		{
			name: "gzip of gzip", header: gzipType, body: gzipped(t, zipped), want: 400, value: "gzip looks like gzip",
			mend: "compress it once",
		},
		{
			name: "snappy that is cut off", header: snappyType, body: snappyFramed(t, "m 1\n")[:15], want: 400,
			value: "15 bytes", mend: "send all of it",
		},
		{name: "snappy with a hole", header: snappyType, body: snappyFramed(t, "m 1\n")[:14] + "\xff" + snappyFramed(t,
			"m 1\n")[15:], want: 400, value: "bytes", mend: "send it as it was compressed"},
		{
			name: "snappy of plain text", header: snappyType, body: "m 1\n", want: 400,
			mend: "send it without the header",
		},
		{name: "gzip that is not said to be", body: zipped, want: 400, mend: "Content-Encoding: gzip"},
		{
			name: "brotli", header: []string{"Content-Encoding", "br"}, body: "\x0b\x02\x80m 1\n\x03", want: 415,
			mend: "gzip or snappy",
		},
		{
			name: "JSON", header: []string{"Content-Type", "application/json"}, body: `{"m": 1}`, want: 400,
			mend: "push the text format",
		},
		{name: "a page", body: "<!DOCTYPE html>\n<html></html>\n", want: 400, mend: "push the text format"},
		{
			name: "a form", header: []string{"Content-Type", "multipart/form-data; boundary=x"},
			body: "--x\r\nContent-Disposition: form-data; name=\"f\"\r\n\r\nm 1\n\r\n--x--\r\n", want: 400,
			mend: "curl --data-binary @file",
		},
		{
			name: "protobuf that is not said to be", body: delimited(t, gaugeFamily("m")), want: 400,
			mend: "Content-Type: application/vnd.google.protobuf",
		},
		{
			name: "a body larger than may be", options: withConfig(func(c *Config) { c.MaxBodyBytes = 100 }),
			body: strings.Repeat("m 1\n", 100), want: 413, value: "100 bytes", mend: "--push.max-body-size",
		},
		{
			name: "a body that expands to more", options: withConfig(func(c *Config) { c.MaxBodyBytes = 100 }),
			header: gzipType, body: gzipped(t, strings.Repeat("m 1\n", 100)), want: 413, value: "100 bytes",
			mend: "--push.max-body-size",
		},
		{
			name: "a body that does not come", options: quick, stalls: true, body: "m 1", want: 408, value: "20ms",
			mend: "--push.timeout",
		},
		{
			name:    "a push that never fits into memory",
			options: withConfig(func(c *Config) { c.MaxBytesInFlight = 1 << 20 }),
			body:    strings.Repeat("m 1\n", 1<<18), want: 413, value: "1048576", mend: "--push.max-bytes-in-flight",
		},
		{
			name:    "a push that takes more to decode than there is",
			options: withConfig(func(c *Config) { c.MaxBytesInFlight = 4 << 20 }),
			body:    strings.Repeat("{a=\"1\"} 1\n", 50000), want: 413, value: "to decode",
			mend: "--push.max-bytes-in-flight",
		},
		{
			name: "more pushes than may be", options: withConfig(func(c *Config) { c.MaxPushes = 1 }),
			before: exhausted(func(f *inFlight) *semaphore { return f.requests }), want: 503, value: "may be, 1",
			mend: "--push.max-requests",
		},
		{
			name: "no memory for a body", options: quick,
			before: exhausted(func(f *inFlight) *semaphore { return f.large }),
			body:   strings.Repeat("m 1\n", 1<<16), want: 503, value: "at a time", mend: "--push.max-bytes-in-flight",
		},
		{
			name: "no memory for a body of unknown length", options: quick,
			before: exhausted(func(f *inFlight) *semaphore { return f.large }), chunked: true,
			body: strings.Repeat("m 1\n", 1<<17), want: 503, value: "all is taken",
			mend: "--push.max-bytes-in-flight",
		},
		{
			name: "no turn to decode", options: quick,
			before: exhausted(func(f *inFlight) *semaphore { return f.smallSlots }),
			body:   "m 1\n", want: 503, value: "at a time", mend: "--push.max-bytes-in-flight",
		},
		{name: "no turn, and many who wait", options: quick, before: func(g *gateway) {
			exhausted(func(f *inFlight) *semaphore { return f.smallSlots })(g)
			g.api.inFlight.smallSlots.queue = make([]*waiter, maxWaiting)
		}, body: "m 1\n", want: 503, value: "too many are waiting", mend: "push again"},
	}
}

// textRefusals are bodies that the text format's parser does not take.
var textRefusals = []refusal{
	{name: "a dash in a name", body: "a-b 1\n", want: 400, value: "line 1", mend: "write a_b"},
	{
		name: "a second help", body: "# HELP m a\n# HELP m b\nm 1\n", want: 400, value: "line 2",
		mend: "keep one of them",
	},
	{
		name: "a second type", body: "# TYPE m gauge\n# TYPE m gauge\nm 1\n", want: 400, value: "line 2",
		mend: "keep one of them",
	},
	{
		name: "a type after a sample", body: "m 1\n# TYPE m gauge\n", want: 400, value: "line 2",
		mend: "write it before that",
	},
	{
		name: "a type that there is not", body: "# TYPE m count\nm 1\n", want: 400, value: `"count"`,
		mend: "write counter, gauge",
	},
	{name: "a value without quotes", body: "m{l=v} 1\n", want: 400, value: "line 1", mend: "write l="},
	{name: "a backslash in a value", body: `m{l="C:\dir"} 1` + "\n", want: 400, value: "line 1", mend: "write \\\\d"},
	{name: "a value that is no number", body: "m one\n", want: 400, value: `"one"`, mend: "write one"},
	{name: "a decimal comma", body: "m 1,5\n", want: 400, value: `"1,5"`, mend: "write 1.5"},
	{name: "nothing but a name", body: "m\n", want: 400, value: "line 1", mend: "write a number"},
	{name: "a label twice", body: `m{l="1",l="2"} 1` + "\n", want: 400, value: "line 1", mend: "keep one of them"},
	{name: "a text that is not UTF-8", body: "m{l=\"\xff\"} 1\n", want: 400, value: "line 1", mend: "send UTF-8"},
	{
		name: "more labels than may be",
		body: "m{" + strings.Repeat(`a="",`, 1100) + "} 1\n", want: 400, value: "line 1",
		mend: "use fewer",
	},
	{
		name: "a text at which the parser breaks", body: "# TYPE h histogram\nx 1\n{\"h\",a=\"b\"} 1\n", want: 400,
		value: "line", mend: "write it before them",
	},
}

// familyRefusals are bodies that can be read, and are recorded as failed pushes.
var familyRefusals = []refusal{
	{name: "a timestamp", body: "m 1 1700000000000\n", want: 400, value: "m", mend: "must not have timestamps"},
	{name: "a series twice", body: "m 1\nm 2\n", want: 400, value: "m{", mend: "give each series once"},
	{
		name: "a series with an empty instance and without one", body: "m{instance=\"\"} 1\nm 2\n", want: 400,
		value: `instance=""`, mend: "give each series once",
	},
	{
		name: "series that the grouping labels make one", path: "/metrics/job/j/instance/x",
		body: "m{instance=\"a\"} 1\nm{instance=\"b\"} 2\n", want: 400, value: `"m"`,
		mend: "leave the label out of the path",
	},
	{
		name: "a quantile as a label of a summary", path: "/metrics/job/a/quantile/1",
		body: "# TYPE s summary\ns_sum 1\ns_count 1\n", want: 400, value: `"quantile"`, mend: "rename it",
	},
	{
		name: "a quantile twice", body: "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns{quantile=\"0.5\"} 2\n", want: 400,
		value: "0.5", mend: "give each once",
	},
	{
		name: "a bucket twice", body: "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1\"} 2\n", want: 400,
		value: "bound 1 ", mend: "give each once",
	},
	{
		name: "a name under which a histogram writes",
		body: "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n# TYPE h_max gauge\nh_max 1\n# TYPE " +
			"x_count gauge\nx_count 1\n# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_sum 1\n", want: 400,
		value: `"x_count"`, mend: "rename one of them",
	},
	{
		name: "more labels with those of the group", path: "/metrics/job/a" + manyLabels(100),
		body: "m{" + numbered(100) + "} 1\n", want: 400, value: "labels with those of the group", mend: "use fewer",
	},
	{
		name: "more text than may be", path: "/metrics/job/" + strings.Repeat("a", maxPath-100),
		options: withConfig(func(c *Config) { c.MaxBytesInFlight = 1 << 30 }), body: manySeries(5000), want: 400,
		value: "MiB", mend: "push less at once",
	},
}

func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "n%d=\"v\",", i)
	}
	return b.String()
}

func manySeries(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "m%d 1\n", i)
	}
	return b.String()
}

func protobufRefusals(t *testing.T) []refusal {
	t.Helper()
	header := []string{"Content-Type", protobufType}
	row := func(name, value, mend string, families ...*dto.MetricFamily) refusal {
		return refusal{name: name, header: header, body: delimited(t, families...), want: 400, value: value, mend: mend}
	}
	family := func(kind dto.MetricType, m *dto.Metric) *dto.MetricFamily {
		return &dto.MetricFamily{Name: proto.String("m"), Type: kind.Enum(), Metric: []*dto.Metric{m}}
	}
	gauge := func(change func(*dto.MetricFamily)) *dto.MetricFamily {
		f := gaugeFamily("m")
		change(f)
		return f
	}
	counter := func(e *dto.Exemplar) *dto.MetricFamily {
		return family(dto.MetricType_COUNTER, &dto.Metric{Counter: &dto.Counter{Value: proto.Float64(1), Exemplar: e}})
	}
	pair := func(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }
	labelled := func(labels ...*dto.LabelPair) *dto.MetricFamily { return gaugeFamily("m", labels...) }
	histogram := func(h *dto.Histogram) *dto.MetricFamily {
		return family(dto.MetricType_HISTOGRAM, &dto.Metric{Histogram: h})
	}
	whole := delimited(t, gaugeFamily("m"))
	return []refusal{
		{
			name: "protobuf that is cut off", header: header, body: whole[:len(whole)-3], want: 400, value: "message 1",
			mend: "send each message whole",
		},
		{
			name: "text that is said to be protobuf", header: header, body: "m 1\n", want: 400, value: "message 1",
			mend: "send it without that header",
		},
		{
			name: "a message that is none", header: header, body: "\x02\xff\xff", want: 400, value: "message 1",
			mend: "send io.prometheus.client.MetricFamily",
		},
		row("a help that is not UTF-8", `"m"`, "encode it",
			gauge(func(f *dto.MetricFamily) { f.Help = proto.String("\xff") })),
		row("a unit that is not UTF-8", `"m"`, "encode it",
			gauge(func(f *dto.MetricFamily) { f.Unit = proto.String("\xff") })),
		row("a type of the future", "type 9", "use one of the protocol's types",
			gauge(func(f *dto.MetricFamily) { f.Type = dto.MetricType(9).Enum() })),
		row("a label name twice", `"x"`, "give it once", labelled(pair("x", "1"), pair("x", "2"))),
		row("a label value that is not UTF-8", `"x"`, "encode it as UTF-8", labelled(pair("x", "\xff"))),
		row("a label name that is none", `"x-y"`, "it must match", labelled(pair("x-y", "1"))),
		row("a reserved name of a label", `"__x"`, "must not begin with", labelled(pair("__x", "1"))),
		row("a metric name that is none", `"m-n"`, "it must match",
			gauge(func(f *dto.MetricFamily) { f.Name = proto.String("m-n") })),
		row("no value", "gauge", "give it one", family(dto.MetricType_GAUGE, &dto.Metric{})),
		row("a value of another type", "counter", "give both one type",
			family(dto.MetricType_COUNTER, &dto.Metric{Gauge: &dto.Gauge{Value: proto.Float64(1)}})),
		row("an exemplar's label without a name", `""`, "give it a name",
			counter(&dto.Exemplar{Label: []*dto.LabelPair{pair("", "v")}, Value: proto.Float64(1)})),
		row("an exemplar's value that is not UTF-8", `"x"`, "encode it",
			counter(&dto.Exemplar{Label: []*dto.LabelPair{pair("x", "\xff")}, Value: proto.Float64(1)})),
		row("integer and float buckets", "native histogram", "give one kind", histogram(&dto.Histogram{
			SampleCount: proto.Uint64(1), SampleSum: proto.Float64(1), Schema: proto.Int32(0),
			ZeroThreshold: proto.Float64(0.1),
			PositiveSpan:  []*dto.BucketSpan{{Offset: proto.Int32(0), Length: proto.Uint32(1)}},
			PositiveDelta: []int64{1}, PositiveCount: []float64{1},
		})),
		row("a native histogram that does not add up", "native histogram", "fit together", histogram(&dto.Histogram{
			SampleCount: proto.Uint64(7), SampleSum: proto.Float64(1), Schema: proto.Int32(0),
			ZeroThreshold: proto.Float64(0.1),
			PositiveSpan:  []*dto.BucketSpan{{Offset: proto.Int32(0), Length: proto.Uint32(1)}},
			PositiveDelta: []int64{1},
		})),
		withNames(row("a metric name with a NUL", `"m\x00"`, "leave it out",
			gauge(func(f *dto.MetricFamily) { f.Name = proto.String("m\x00") }))),
		row("a bucket that is no number twice", "NaN", "give each once", histogram(&dto.Histogram{
			SampleCount: proto.Uint64(1), SampleSum: proto.Float64(1),
			Bucket: []*dto.Bucket{
				{UpperBound: proto.Float64(math.NaN()), CumulativeCount: proto.Uint64(1)},
				{UpperBound: proto.Float64(math.NaN()), CumulativeCount: proto.Uint64(1)},
			},
		})),
	}
}

func withNames(r refusal) refusal {
	r.options = withConfig(func(c *Config) { c.UTF8Names = true })
	return r
}

var clashRefusals = []refusal{
	{name: "another type than elsewhere", body: "# TYPE m gauge\nm 1\n", before: pushed("/metrics/job/other",
		"# TYPE m counter\nm 1\n"), want: 400, value: `"m"`, mend: "DELETE those groups first"},
	{
		name: "a sample's name of a histogram that stays", method: "POST", body: "h_count 1\n",
		before: pushed("/metrics/job/a", "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n"),
		want:   400, value: `"h_count"`, mend: "PUT to replace the whole group",
	},
	{
		name: "another type than this process's own", body: "# TYPE go_goroutines counter\ngo_goroutines 1\n",
		options: withConfig(ownGoroutines), want: 400, value: `"go_goroutines"`, mend: "push with that type",
	},
	{
		name: "a name under which another group's histogram writes", body: "h_count 1\n",
		before: pushed("/metrics/job/other", "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n"),
		want:   400, value: `"h_count"`, mend: "push under another name",
	},
	{
		name: "a histogram that writes under another group's name",
		body: "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n", before: pushed("/metrics/job/other",
			"h_count 1\n"), want: 400, value: `"h_count"`, mend: "push under another name",
	},
	{
		name: "a group that differs in an empty instance alone",
		path: "/metrics/job/a/instance@base64/=", body: "n 1\n",
		before: pushed("/metrics/job/a", "m 1\n"), want: 400, value: `job="a"`, mend: "DELETE /metrics/job/a first",
	},
	{
		name: "a series of another group", path: "/metrics/job/a", body: "m{instance=\"i\"} 1\n",
		before: pushed("/metrics/job/a/instance/i", "m 1\n"), want: 400, value: "m{", mend: "DELETE that group first",
	},
}

var roomRefusals = []refusal{
	{
		name: "no room for a group", body: "m 1\n", before: noRoom(fsm.Limits{Groups: 1}), want: 429,
		value: "--limit.groups=1", mend: "delete groups",
	},
	{
		name: "no room for a series", body: "m 1\n", before: noRoom(fsm.Limits{Series: 2}), want: 429,
		value: "--limit.series=2", mend: "delete groups",
	},
	{
		name: "no room in the group", body: "m 1\nn 1\no 1\n", before: noRoom(fsm.Limits{SeriesPerGroup: 2}), want: 429,
		value: "--limit.series-per-group=2", mend: "push fewer series",
	},
	{
		name: "no room in memory", body: "m 1\n", before: noRoom(fsm.Limits{StateBytes: 1}), want: 429,
		value: "--limit.state-bytes=1", mend: "delete groups",
	},
	{
		name: "no room on the disk", body: "m 1\n", before: answering(fsm.NoSpace, shortOfRoom), want: 507,
		value: "--storage.min-free", mend: "make room",
	},
}

// shortOfRoom is what cluster says, whose own test holds it to the rule.
const shortOfRoom = "the disk is nearly full and nothing more is stored: /data of r1 has 10.0MB free, and should " +
	"have --storage.min-free=200.0MB; " +
	"make room on its file system or delete groups, which is possible"

var outcomeRefusals = []refusal{
	{
		name: "no leader", body: "m 1\n", before: applyFails(errNoLeader), want: 503, value: "no leader",
		mend: "pushing the same again is safe",
	},
	{
		name:   "DELETE without a leader",
		method: "DELETE", before: applyFails(errNoLeader), want: 503, value: "no leader",
		mend: "deleting again is safe",
	},
	{
		name: "a wipe without a leader", path: "/api/v1/admin/wipe", before: applyFails(errNoLeader), want: 503,
		value: "no leader", mend: "wiping again is safe",
	},
	{
		name: "a push with a key that is in no log", header: []string{idempotencyKey, "k"}, body: "m 1\n",
		before: applyFails(&fsm.NotAppliedError{Err: errNoLeader}), want: 503, value: "no leader",
		mend: "push again with the same Idempotency-Key",
	},
	{
		name: "a request that is too old to be told", body: "m 1\n", before: forgetful, want: 503, value: "older",
		mend: "pushing the same again is safe",
	},
}

// forgetful makes the next request one of which it is not known whether it was applied.
func forgetful(g *gateway) {
	for i := range 1<<16 + 10 {
		commit(g.replica.FSM, fsm.EncodeDelete(fsm.Request{ID: fsm.NewRequestID(), Seen: uint64(i)},
			expo.LabelsOf([]expo.Label{{Name: "job", Value: "x"}})), time.Unix(int64(i), 0))
	}
	g.api.cfg.Store = ancient{g.replica}
}

// ancient says that nothing has been applied yet.
type ancient struct{ *replica }

func (ancient) Applied() uint64 { return 1 }

var readRefusals = []refusal{
	{
		name: "a scrape that must be current", method: "GET", path: "/metrics",
		options: withConfig(func(c *Config) { c.Read.Consistency = Linearizable }), before: behind(errNoLeader, true,
			0), want: 503, value: "1s", mend: "--read.consistency=available",
	},
	{
		name: "a scrape of one that was never current", method: "GET", path: "/metrics",
		before: behind(errNoLeader, false, 0), want: 503, value: "not caught up", mend: "scrape another one or wait",
	},
	{name: "a scrape of what is too old", method: "GET", path: "/metrics", before: behind(errNoLeader, true,
		time.Hour), want: 503, value: "1h0m0s", mend: "--read.max-staleness"},
	{name: "a query of what is too old", method: "GET", path: "/api/v1/metrics", before: behind(errNoLeader, true,
		time.Hour), want: 503, value: "1h0m0s", breaks: "is JSON, with the same text in it"},
	{
		name: "not healthy", method: "GET", path: "/-/healthy",
		before: func(g *gateway) { g.replica.healthy = errors.New("the disk has failed: replace it") }, want: 500,
		value: "the disk", mend: "replace it",
	},
	{
		name: "not ready", method: "GET", path: "/-/ready",
		before: func(g *gateway) { g.replica.ready = errors.New("catching up with the leader: wait") }, want: 503,
		value: "catching up", mend: "wait",
	},
	{
		name: "a scrape in one form of many", method: "GET", path: "/metrics",
		made: func(*gateway) *problem { return &problem{http.StatusServiceUnavailable, errNotItsTurn.Error()} },
		want: 503, value: "forms", mend: "try again",
	},
	{
		name: "a scrape for which there is no room", method: "GET", path: "/metrics",
		made: func(g *gateway) *problem { return g.api.streams.full() }, want: 503, value: "--web.max-page-bytes",
		mend: "try again",
	},
	{
		name: "a query among many", method: "GET", path: "/api/v1/metrics",
		made: func(g *gateway) *problem { return g.api.queries.full() }, want: 503, value: "may be, 2",
		mend: "try again",
	},
}

func behind(barrier error, ok bool, age time.Duration) func(*gateway) {
	return func(g *gateway) { g.replica.barrier, g.replica.behind, g.replica.age = barrier, !ok, age }
}
