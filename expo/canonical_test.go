package expo

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"pushquorum/expo/internal/expotest"
)

// pushed parses a text and returns what is stored of it in the group, as text.
func pushed(t *testing.T, group map[string]string, text string) (string, error) {
	t.Helper()
	mfs, err := Parse(strings.NewReader(text), FormatText, model.UTF8Validation)
	if err != nil {
		t.Fatalf("parsing %q: %v", text, err)
	}
	families, err := Canonical(NewLabels(group), mfs, model.LegacyValidation)
	if err != nil {
		return "", err
	}
	return written(t, expfmt.FmtText, families), nil
}

func TestWhatIsStoredOfAPush(t *testing.T) {
	job := map[string]string{"job": "j"}
	instance := map[string]string{"job": "j", "instance": "i"}
	table := []struct {
		name   string
		group  map[string]string
		text   string
		stored string
		err    string
	}{
		{name: "nothing", group: job},
		{
			name: "a series without instance gets an empty one", group: job,
			text:   "x 1\n",
			stored: "# TYPE x untyped\nx{instance=\"\",job=\"j\"} 1\n",
		},
		{
			name: "an instance of its own is kept", group: job,
			text:   "x{instance=\"i\"} 1\n",
			stored: "# TYPE x untyped\nx{instance=\"i\",job=\"j\"} 1\n",
		},
		{
			name: "the group's labels overwrite", group: map[string]string{"job": "j", "instance": "g", "zone": ""},
			text:   "x{zone=\"z\",instance=\"i\",job=\"other\",a=\"1\"} 1\n",
			stored: "# TYPE x untyped\nx{a=\"1\",instance=\"g\",job=\"j\",zone=\"\"} 1\n",
		},
		{
			name: "labels and series are sorted", group: job,
			text: "x{b=\"2\",a=\"9\"} 1\nx{a=\"10\"} 2\nx 3\nx{a=\"10\",b=\"\"} 4\n",
			stored: "# TYPE x untyped\nx{a=\"10\",b=\"\",instance=\"\",job=\"j\"} 4\n" +
				"x{a=\"10\",instance=\"\",job=\"j\"} 2\nx{a=\"9\",b=\"2\",instance=\"\",job=\"j\"} 1\n" +
				"x{instance=\"\",job=\"j\"} 3\n",
		},
		{
			name: "the push times are overridden", group: job,
			text:   "push_time_seconds 1\npush_failure_time_seconds 2\nx 1\n",
			stored: "# TYPE x untyped\nx{instance=\"\",job=\"j\"} 1\n",
		},
		{
			name: "push times of the wrong kind are overridden all the same", group: job,
			text: "# TYPE push_time_seconds histogram\npush_time_seconds_count 1\n" +
				"push_failure_time_seconds{__reserved=\"\"} 2\n",
		},
		{
			name: "a summary and a histogram", group: job,
			text: "# HELP s a\\nb\n# TYPE s summary\ns{quantile=\"0.5\"} 2\ns_sum 3\ns_count 4\n" +
				"# TYPE h histogram\nh_bucket{le=\"1\"} 2\nh_sum 3\nh_count 4\n",
			stored: "# TYPE h histogram\nh_bucket{instance=\"\",job=\"j\",le=\"1\"} 2\n" +
				"h_bucket{instance=\"\",job=\"j\",le=\"+Inf\"} 4\nh_sum{instance=\"\",job=\"j\"} 3\n" +
				"h_count{instance=\"\",job=\"j\"} 4\n# HELP s a\\nb\n# TYPE s summary\n" +
				"s{instance=\"\",job=\"j\",quantile=\"0.5\"} 2\ns_sum{instance=\"\",job=\"j\"} 3\n" +
				"s_count{instance=\"\",job=\"j\"} 4\n",
		},
		{
			name: "a timestamp", group: job, text: "x{a=\"b\"} 1 1234\n",
			err: `x{a="b"} has the timestamp 1234: pushed metrics must not have timestamps, leave it out`,
		},
		{
			name: "a timestamp of an overridden family", group: job, text: "push_time_seconds 1 1234\n",
			err: "must not have timestamps",
		},
		{
			name: "a series twice", group: job, text: "x{a=\"b\"} 1\nx{a=\"b\"} 2\n",
			err: `x{a="b",instance="",job="j"} is given twice`,
		},
		{
			name: "a series twice, its labels in another order", group: job,
			text: "x{a=\"b\",c=\"d\"} 1\nx{c=\"d\",a=\"b\"} 2\n",
			err:  `x{a="b",c="d",instance="",job="j"} is given twice: give each series once`,
		},
		{
			name: "a series twice, both with another job", group: job, text: "x{job=\"1\"} 1\nx{job=\"1\"} 2\n",
			err: `x{instance="",job="j"} is given twice: give`,
		},
		{
			name: "a series twice because of the job", group: job, text: "x{job=\"1\"} 1\nx{job=\"2\"} 2\n",
			err: `the grouping label "job" ("j") of the path replaced the values in the body ("1", "2"), which made ` +
				`2 series of "x" the same: push each to a group of its own, or give the label in the body another name`,
		},
		{
			name: "a series twice because of the group's instance", group: instance,
			text: "y 1\nx{l=\"v\",instance=\"a\"} 1\nx{l=\"w\",instance=\"a\"} 2\nx{instance=\"b\",l=\"v\"} 2\n",
			err: `the grouping label "instance" ("i") of the path replaced the values in the body ("a", "b"), which ` +
				`made 2 series of "x" the same: leave the label out of the path, or push each to a group of its own`,
		},
		{
			name: "a series twice because of the group, once without the label", group: instance,
			text: "x 1\nx{instance=\"b\"} 2\n", err: `in the body (none, "b"), which made 2 series`,
		},
		{
			name: "a histogram twice because of the group", group: instance,
			text: "# TYPE x histogram\nx_count{instance=\"a\"} 1\nx_count{instance=\"b\"} 2\n",
			err:  `the grouping label "instance" ("i") of the path replaced`,
		},
		{
			name: "many series twice because of the group", group: instance, text: seriesOfInstances(1000),
			err: `("0", "1", "2", "3", "4", "5", "6", "7" and 992 more), which made 1000 series`,
		},
		{
			name: "long values twice because of the group", group: instance,
			text: "x{instance=\"" + strings.Repeat("a", 100) + "\"} 1\n" +
				"x{instance=\"" + strings.Repeat("b", 100) + "\"} 1\n" +
				"x{instance=\"" + strings.Repeat("c", 100) + "\"} 1\n",
			err: `"… and 1 more), which made 3 series`,
		},
		{
			name: "a series twice because of the empty instance", group: job, text: "x 1\nx{instance=\"\"} 2\n",
			err: `x{instance="",job="j"} is given twice, with instance="" and without it, which is the same: give ` +
				`each series once`,
		},
		{
			name: "a quantile twice", group: job,
			text: "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns{quantile=\"0.50\"} 2\n",
			err:  "quantile 0.5 is given twice",
		},
		{
			name: "a bucket twice", group: job,
			text: "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_bucket{le=\"1.0\"} 2\n",
			err:  "upper bound 1 is given twice",
		},
		{name: "a reserved label", group: job, text: "x{__a=\"b\"} 1\n", err: `"__a" is reserved`},
		{
			name: "a name that only UTF-8 allows", group: job, text: "{\"a.b\"} 1\n",
			err: `the metric name "a.b" is not valid`,
		},
		{
			name: "a label name that only UTF-8 allows", group: job, text: "a{\"b.c\"=\"1\"} 1\n",
			err: `the label name "b.c" is not valid`,
		},
		{
			name: "a help that is not UTF-8", group: job, text: "# HELP x \xff\nx 1\n",
			err: "help of metric family \"x\" is not valid UTF-8",
		},
		{
			name: "a histogram and its count", group: job,
			text: "h_count 1\n# TYPE h histogram\nh_bucket{le=\"1\"} 1\n",
			err:  `"h_count" has a name under which the histogram "h" writes samples: rename one of them`,
		},
		{
			name: "a summary and its sum", group: job, text: "s_sum 1\n# TYPE s summary\ns{quantile=\"1\"} 1\n",
			err: `"s_sum" has a name under which the summary "s"`,
		},
		{
			name: "a summary and a bucket do not clash", group: job,
			text: "s_bucket 1\n# TYPE s summary\ns_count 1\n",
			stored: "# TYPE s summary\ns_sum{instance=\"\",job=\"j\"} 0\ns_count{instance=\"\",job=\"j\"} 1\n" +
				"# TYPE s_bucket untyped\ns_bucket{instance=\"\",job=\"j\"} 1\n",
		},
		{
			name: "a group with a quantile", group: map[string]string{"job": "j", "quantile": "1"},
			text: "# TYPE s summary\ns_sum 1\n", err: `a summary must not have a label "quantile"`,
		},
		{
			name: "a group with le", group: map[string]string{"job": "j", "le": "1"},
			text: "# TYPE h histogram\nh_sum 1\n", err: `a histogram must not have a label "le"`,
		},
		{
			name: "le on something else", group: map[string]string{"job": "j", "le": "1"}, text: "x 1\n",
			stored: "# TYPE x untyped\nx{instance=\"\",job=\"j\",le=\"1\"} 1\n",
		},
	}
	for _, row := range table {
		got, err := pushed(t, row.group, row.text)
		expotest.ExpectError(t, row.name, err, row.err)
		if got != row.stored {
			t.Errorf("%s: stored\n%s\nwant\n%s", row.name, got, row.stored)
		}
	}
}

func family(t dto.MetricType, metrics ...*dto.Metric) *dto.MetricFamily {
	return &dto.MetricFamily{Name: proto.String("x"), Type: t.Enum(), Metric: metrics}
}

// TestProtobufPushesThatTextCannotExpress holds those that the Pushgateway accepts and
// breaks on as well.
func TestProtobufPushesThatTextCannotExpress(t *testing.T) {
	gauge, counter := &dto.Gauge{Value: proto.Float64(1)}, &dto.Counter{Value: proto.Float64(1)}
	native := func(change func(*dto.Histogram)) *dto.MetricFamily {
		h := &dto.Histogram{
			SampleCount: proto.Uint64(3), SampleSum: proto.Float64(1), Schema: proto.Int32(0),
			ZeroThreshold: proto.Float64(1e-9),
			PositiveSpan:  []*dto.BucketSpan{{Offset: proto.Int32(0), Length: proto.Uint32(2)}},
			PositiveDelta: []int64{1, 1},
		}
		change(h)
		return family(dto.MetricType_HISTOGRAM, &dto.Metric{Histogram: h})
	}
	exemplar := func(name, value string) *dto.Exemplar { return &dto.Exemplar{Label: expotest.Pairs(name, value)} }
	manyLabels := &dto.Metric{Gauge: gauge}
	for i := range MaxLabels - 1 {
		manyLabels.Label = append(manyLabels.Label, expotest.Pairs(strings.Repeat("a", i+1), "")...)
	}
	table := []struct {
		name string
		mf   *dto.MetricFamily
		err  string
	}{
		{"a gauge", family(dto.MetricType_GAUGE, &dto.Metric{Gauge: gauge}), ""},
		{
			"no type is a counter",
			&dto.MetricFamily{Name: proto.String("x"), Metric: []*dto.Metric{{Counter: counter}}}, "",
		},
		{
			"no type, but a gauge", &dto.MetricFamily{Name: proto.String("x"), Metric: []*dto.Metric{{Gauge: gauge}}},
			"x{}: the family is of type counter, but the metric is a gauge",
		},
		{"an unknown type", family(17, &dto.Metric{Gauge: gauge}), "unknown type 17"},
		{"a negative type", family(-1, &dto.Metric{Gauge: gauge}), "unknown type -1"},
		{
			"no value", family(dto.MetricType_GAUGE, &dto.Metric{Label: expotest.Pairs("a", "b")}),
			`x{a="b"}: the family is of type gauge, but the metric has no value`,
		},
		{
			"a gauge in a histogram", family(dto.MetricType_HISTOGRAM, &dto.Metric{Gauge: gauge}),
			"type histogram, but the metric is a gauge",
		},
		{
			"a summary in a gauge histogram",
			family(dto.MetricType_GAUGE_HISTOGRAM, &dto.Metric{Summary: &dto.Summary{}}),
			"type gauge_histogram, but the metric is a summary",
		},
		{
			"a histogram in a summary", family(dto.MetricType_SUMMARY, &dto.Metric{Histogram: &dto.Histogram{}}),
			"type summary, but the metric is a histogram",
		},
		{
			"two values, the right one among them",
			family(dto.MetricType_GAUGE, &dto.Metric{Counter: counter, Gauge: gauge}), "",
		},
		{
			"no name", &dto.MetricFamily{Type: dto.MetricType_GAUGE.Enum(), Metric: []*dto.Metric{{Gauge: gauge}}},
			`the metric name "" is not valid`,
		},
		{"a name with a newline", expotest.Gauge("a\nb 1", 1), "is not valid"},
		{"a label name with a quote", expotest.Gauge("x", 1, `a="b",c`, "d"), "is not valid"},
		{"an empty label name", expotest.Gauge("x", 1, "", "d"), "is not valid"},
		{
			"a label without a name",
			family(dto.MetricType_GAUGE, &dto.Metric{Gauge: gauge, Label: []*dto.LabelPair{{}}}), "is not valid",
		},
		{
			"a label without a value",
			family(dto.MetricType_GAUGE, &dto.Metric{Gauge: gauge, Label: []*dto.LabelPair{{Name: proto.String("a")}}}),
			"",
		},
		{"a label value that is not UTF-8", expotest.Gauge("x", 1, "a", "\xff"), "not valid UTF-8"},
		{"a label twice", expotest.Gauge("x", 1, "a", "1", "b", "", "a", "1"), `label "a" is given twice`},
		{"a label of the group twice", expotest.Gauge("x", 1, "job", "1", "job", "2"), `label "job" is given twice`},
		{"the metric name's label", expotest.Gauge("x", 1, "__name__", "y"), "reserved"},
		{
			"a quantile label on a summary",
			family(
				dto.MetricType_SUMMARY, &dto.Metric{Label: expotest.Pairs("quantile", "1"), Summary: &dto.Summary{}},
			),
			"quantile",
		},
		{
			"an le label on a histogram",
			family(
				dto.MetricType_HISTOGRAM, &dto.Metric{Label: expotest.Pairs("le", "1"), Histogram: &dto.Histogram{}},
			),
			"le",
		},
		{
			"an le label on a gauge histogram",
			family(
				dto.MetricType_GAUGE_HISTOGRAM,
				&dto.Metric{Label: expotest.Pairs("le", "1"), Histogram: &dto.Histogram{}},
			),
			"le",
		},
		{
			"a help that is not UTF-8",
			&dto.MetricFamily{Name: proto.String("x"), Help: proto.String("\xff"), Type: dto.MetricType_GAUGE.Enum()},
			"help",
		},
		{
			"a unit that is not UTF-8",
			&dto.MetricFamily{Name: proto.String("x"), Unit: proto.String("\xff"), Type: dto.MetricType_GAUGE.Enum()},
			"unit",
		},
		{
			"a timestamp", family(dto.MetricType_GAUGE, &dto.Metric{Gauge: gauge, TimestampMs: proto.Int64(0)}),
			"must not have timestamps",
		},
		{
			"a counter's exemplar that is not UTF-8",
			family(dto.MetricType_COUNTER, &dto.Metric{Counter: &dto.Counter{Exemplar: exemplar("a", "\xff")}}),
			"exemplar",
		},
		{
			"a bucket's exemplar without label name",
			family(
				dto.MetricType_HISTOGRAM,
				&dto.Metric{Histogram: &dto.Histogram{Bucket: []*dto.Bucket{{Exemplar: exemplar("", "b")}}}},
			),
			"exemplar",
		},
		{
			"a native histogram's exemplar that is not UTF-8",
			native(func(h *dto.Histogram) { h.Exemplars = []*dto.Exemplar{exemplar("\xff", "")} }), "exemplar",
		},
		{
			"NaN quantiles twice",
			family(
				dto.MetricType_SUMMARY,
				&dto.Metric{
					Summary: &dto.Summary{
						Quantile: []*dto.Quantile{
							{Quantile: proto.Float64(math.NaN())}, {Quantile: proto.Float64(math.NaN())},
						},
					},
				},
			),
			"NaN is given twice",
		},
		{
			"zero and minus zero as bounds",
			family(
				dto.MetricType_HISTOGRAM,
				&dto.Metric{
					Histogram: &dto.Histogram{
						Bucket: []*dto.Bucket{
							{UpperBound: proto.Float64(0)}, {UpperBound: proto.Float64(math.Copysign(0, -1))},
						},
					},
				},
			),
			"given twice",
		},
		{
			"unsorted buckets",
			family(
				dto.MetricType_HISTOGRAM,
				&dto.Metric{
					Histogram: &dto.Histogram{
						Bucket: []*dto.Bucket{{UpperBound: proto.Float64(2)}, {UpperBound: proto.Float64(1)}},
					},
				},
			),
			"",
		},
		{"a native histogram", native(func(*dto.Histogram) {}), ""},
		{
			"an empty native histogram",
			family(
				dto.MetricType_HISTOGRAM, &dto.Metric{Histogram: &dto.Histogram{PositiveSpan: []*dto.BucketSpan{{}}}},
			),
			"",
		},
		{
			"fewer buckets than the spans say",
			native(func(h *dto.Histogram) { h.PositiveDelta = h.PositiveDelta[:1] }), "native histogram is not valid",
		},
		{
			"spans of billions of buckets",
			native(func(h *dto.Histogram) { h.PositiveSpan[0].Length = proto.Uint32(math.MaxUint32) }),
			"native histogram is not valid",
		},
		{
			"a count that is not the buckets'", native(func(h *dto.Histogram) { h.SampleCount = proto.Uint64(2) }),
			"native histogram is not valid",
		},
		{
			"a negative bucket", native(func(h *dto.Histogram) { h.PositiveDelta = []int64{-1, 5} }),
			"native histogram is not valid",
		},
		{
			"an impossible schema", native(func(h *dto.Histogram) { h.Schema = proto.Int32(100) }),
			"native histogram is not valid",
		},
		{"a span that goes back", native(func(h *dto.Histogram) {
			h.PositiveSpan = []*dto.BucketSpan{
				{Length: proto.Uint32(1)}, {Offset: proto.Int32(-3), Length: proto.Uint32(1)},
			}
		}), "native histogram is not valid"},
		{
			"integer and float buckets", native(func(h *dto.Histogram) { h.PositiveCount = []float64{1, 2} }),
			"both integer and float",
		},
		{
			"buckets without spans", native(func(h *dto.Histogram) { h.PositiveSpan = nil }),
			"native histogram is not valid",
		},
		{
			"too many labels with the group's", family(dto.MetricType_GAUGE, manyLabels),
			"129 labels with those of the group",
		},
		{
			"a megabyte of label value in an error",
			expotest.Gauge("x", 1, "a", strings.Repeat("v", 1<<20), "b", "\xff"), "not valid UTF-8",
		},
		{"a megabyte of name in an error", expotest.Gauge(strings.Repeat("é", 1<<20), 1), "is not valid"},
		{"a family without metrics", family(dto.MetricType_GAUGE), ""},
	}
	for _, row := range table {
		mfs, err := Parse(bytes.NewReader(expotest.Delimited(t, row.mf)), FormatProtobuf, model.LegacyValidation)
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		families, err := Canonical(NewLabels(map[string]string{"job": "j"}), mfs, model.LegacyValidation)
		expotest.ExpectError(t, row.name, err, row.err)
		if err == nil {
			for _, f := range []expfmt.Format{expfmt.FmtText, expfmt.FmtProtoDelim} {
				expotest.ReadBack(t, f, written(t, f, families))
			}
		}
	}
}

func TestAFamilyWithoutMetricsStaysAsAnEmptyOne(t *testing.T) {
	families := mustCanonical(t, nil, []*dto.MetricFamily{family(dto.MetricType_SUMMARY)})
	if len(families) != 1 || families[0].Name != "x" ||
		len(families[0].Series()) != 0 || len(families[0].Metrics()) != 0 {
		t.Errorf("got %v", families)
	}
}

func TestColonsInLabelNamesAreRefusedEvenWhereUTF8IsAllowed(t *testing.T) {
	for _, name := range []string{"a:b", ":", "k8s.io/a:b"} {
		_, err := Canonical(nil, []*dto.MetricFamily{expotest.Gauge("x", 1, name, "v")}, model.UTF8Validation)
		expotest.ExpectError(t, name, err, "contains a colon")
	}
}

func TestNamesWithANULByteAreRefusedEvenWhereUTF8IsAllowed(t *testing.T) {
	_, err := Canonical(nil, []*dto.MetricFamily{expotest.Gauge("x\x00", 1)}, model.UTF8Validation)
	expotest.ExpectError(t, "metric name", err, `the metric name "x\x00" contains a NUL byte`)
	_, err = Canonical(nil, []*dto.MetricFamily{expotest.Gauge("x", 1, "\x00", "")}, model.UTF8Validation)
	expotest.ExpectError(t, "label name", err, `the label name "\x00" contains a NUL byte`)
	for _, s := range []model.ValidationScheme{model.LegacyValidation, model.UTF8Validation} {
		if _, err := Canonical(nil, []*dto.MetricFamily{expotest.Gauge("x", 1, "a", "\x00")}, s); err != nil {
			t.Errorf("in a value: %v", err)
		}
	}
}

func TestTheSameFamilyTwiceIsRefused(t *testing.T) {
	_, err := Canonical(
		nil, []*dto.MetricFamily{expotest.Gauge("x", 1), expotest.Gauge("x", 1, "a", "b")}, model.UTF8Validation,
	)
	expotest.ExpectError(t, "twice", err, `metric family "x" is given twice: give it once, with all its series`)
	counter := &dto.MetricFamily{Name: proto.String("x"), Type: dto.MetricType_COUNTER.Enum()}
	_, err = Canonical(nil, []*dto.MetricFamily{expotest.Gauge("x", 1), counter}, model.UTF8Validation)
	expotest.ExpectError(
		t, "with two types", err,
		`metric family "x" is given twice, with the types gauge and counter: give it once, with one type`,
	)
}

func seriesOfInstances(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "x{instance=\"%d\"} 1\n", i)
	}
	return b.String()
}

// TestWhatTheProtocolDoesNotKnowIsDropped puts an unknown field into every message of
// every type.
func TestWhatTheProtocolDoesNotKnowIsDropped(t *testing.T) {
	unknown := protowire.AppendString(protowire.AppendTag(nil, 1000, protowire.BytesType), "future")
	var add func(m protoreflect.Message)
	add = func(m protoreflect.Message) {
		m.SetUnknown(unknown)
		m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
			switch {
			case field.IsList() && field.Message() != nil:
				for i := range v.List().Len() {
					add(v.List().Get(i).Message())
				}
			case field.Message() != nil:
				add(v.Message())
			}
			return true
		})
	}
	for seed := range uint64(20) {
		mfs := expotest.NewRandom(t, seed).Families(12, true)
		want := mustCanonical(t, nil, expotest.Clone(mfs))
		for _, mf := range mfs {
			add(mf.ProtoReflect())
		}
		parsed, err := Parse(bytes.NewReader(expotest.Delimited(t, mfs...)), FormatProtobuf, model.UTF8Validation)
		if err != nil {
			t.Fatal(err)
		}
		expectSame(t, "pushed", mustCanonical(t, nil, parsed), want)
		expectSame(t, "from elsewhere", mustCanonical(t, nil, mfs), want)
	}
}

func TestCanonicalOfWhatIsStoredChangesNothing(t *testing.T) {
	for seed := range uint64(20) {
		group := NewLabels(map[string]string{"job": "j", "a": "é"})
		stored := mustCanonical(t, group, expotest.NewRandom(t, seed).Families(12, true))
		var again []*dto.MetricFamily
		for _, f := range stored {
			mf, err := f.Decode()
			if err != nil {
				t.Fatal(err)
			}
			again = append(again, mf)
		}
		expectSame(t, "stored again", mustCanonical(t, group, again), stored)
	}
}

func TestSeriesIDsAreEqualExactlyWhenSeriesAre(t *testing.T) {
	type series struct {
		name   string
		labels []string
	}
	seen := map[SeriesID]series{}
	for _, s := range []series{
		{"x", nil},
		{"x", []string{"a", ""}},
		{"x", []string{"a", "b"}},
		{"x", []string{"ab", ""}},
		{"xa", nil},
		{"xa", []string{"b", ""}},
		{"x", []string{"a", "", "b", ""}},
		{"x", []string{"a", "b", "c", "d"}},
		{"x", []string{"a", "bcd"}},
	} {
		id, _ := SeriesIDOf(nil, s.name, expotest.Pairs(s.labels...))
		if other, ok := seen[id]; ok {
			t.Errorf("%v and %v have the same ID", s, other)
		}
		seen[id] = s
	}
	// The same series of two groups: what is found when a push is applied.
	a := mustCanonical(
		t, NewLabels(map[string]string{"job": "a"}), []*dto.MetricFamily{expotest.Gauge("x", 1, "instance", "i")},
	)
	b := mustCanonical(
		t, NewLabels(map[string]string{"job": "a", "instance": "i"}), []*dto.MetricFamily{expotest.Gauge("x", 2)},
	)
	if a[0].Series()[0] != b[0].Series()[0] {
		t.Error("the same series of two groups has two IDs")
	}
}

func TestGaugeIsWhatAPushOfItWouldStore(t *testing.T) {
	for _, group := range []map[string]string{{}, {"job": "j"}, {"job": "j", "instance": "i", "z": "é"}} {
		mf := expotest.Gauge(PushTimeName+"x", 1.5e9)
		mf.Help = proto.String("h")
		want := mustCanonical(t, NewLabels(group), []*dto.MetricFamily{mf})
		expectSame(t, "gauge", []*Family{gaugeOf(PushTimeName+"x", NewLabels(group), 1.5e9)}, want)
		other := gaugeOf(PushTimeName+"x", NewLabels(group), 0)
		expectSame(t, "gauge with another value", []*Family{other.WithValue(1.5e9)}, want)
		expectSame(
			t, "gauge that was another's", []*Family{other}, []*Family{gaugeOf(PushTimeName+"x", NewLabels(group), 0)},
		)
	}
}

// The layout is a shortcut: what it does not know is decoded, for each metric of each push on every replica.
func TestWhatCanonicalMakesIsOfTheLayout(t *testing.T) {
	seen := map[dto.MetricType]int{}
	for seed := range uint64(50) {
		for _, f := range mustCanonical(
			t, NewLabels(map[string]string{"job": "a"}), expotest.NewRandom(t, seed).Families(8, true),
		) {
			if n, err := CheckMetrics(f.Type, f.Metrics()); err != nil || n != len(f.Series()) {
				t.Fatalf("family %q of %d series: CheckMetrics says %d, %v", f.Name, len(f.Series()), n, err)
			}
			mf, err := f.Decode()
			if err != nil {
				t.Fatal(err)
			}
			rest := f.Metrics()
			for _, m := range mf.Metric {
				metric, after, _ := cutField(rest, fieldMetric)
				rest = after
				last, ok := metricLayout.lastField(metric)
				if own := len(m.GetHistogram().GetExemplars()) > 0; ok == own || ok && last != valueField(f.Type) {
					t.Errorf("family %q: the layout says %v and field %d of %v", f.Name, ok, last, m)
				}
				seen[f.Type]++
			}
		}
	}
	for kind, name := range dto.MetricType_name {
		if seen[dto.MetricType(kind)] == 0 {
			t.Errorf("no metric of type %s was looked at", name)
		}
	}
}
