package page

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"pushquorum/expo"
	"pushquorum/expo/internal/expotest"
)

func FuzzScrapeOfText(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "a 1\n", "a{b=\"c\"} 1 2\n", "# HELP a h\\n\n# TYPE a gauge\na NaN\n", "a 1\r\n",
		"# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 1\n",
		"# TYPE h histogram\nh_bucket{le=\"1\"} 1.5\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\nh_count 2\n",
		"# TYPE h gauge_histogram\nh_count 18446744073709551616\n",
		"{\"a.b\",\"c d\"=\"e\\\"\\\\\\n\"} -Inf\n", "# TYPE \"a.b\" histogram\n{\"a.b_count\"} 1\n",
		"# TYPE h histogram\nx 1\n{\"h\",a=\"b\"} 1\n", "a{b=\"\xff\"} 1\n", "push_time_seconds 1\n",
		"a{a:b=\"1\"} 1\n",
		"{\"a:b\"} 1\n{\"x\",\"a:b\"=\"1\"} 1\n", "x{\"..name..\"=\"1\"} 1\n",
		"x{\"a.b\"=\"1\",a_b=\"2\"} 1\n{\"x.y\"} 1\nx_y 1\n",
		"# TYPE \"a\x00\" gauge\n{\"a\x00\",\"b\x00\"=\"\x00\"} 1\n",
		"# HELP a \xff\na 1\n", "a{__x=\"1\"} 1\n", "a{job=\"1\"} 1\na{job=\"2\"} 2\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) { fuzzBody(t, body, expo.FormatText) })
}

func FuzzScrapeOfProtobuf(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(expotest.Delimited(f, expotest.NewRandom(f, seed).Families(int(seed), seed%2 == 1)...))
	}
	f.Add(expotest.Delimited(f, expotest.Gauge("a", 1), expotest.Gauge("a", 2)))
	f.Add(expotest.Delimited(f, expotest.Gauge("x", 1, "..name..", "\xff")))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, body []byte) { fuzzBody(t, body, expo.FormatProtobuf) })
}

// fuzzBody checks what must hold for any body: nothing panics, what is accepted can be
// written and read again, and what is stored is canonical.
func fuzzBody(t *testing.T, body []byte, format expo.BodyFormat) {
	for _, scheme := range []model.ValidationScheme{model.LegacyValidation, model.UTF8Validation} {
		mfs, err := expo.Parse(bytes.NewReader(body), format, scheme)
		if err != nil {
			expotest.ExpectError(t, "Parse", err, err.Error())
			continue
		}
		group := expo.NewLabels(map[string]string{"job": "fuzz"})
		families, err := expo.Canonical(group, mfs, scheme)
		if err != nil {
			expotest.ExpectError(t, "Canonical", err, err.Error())
			continue
		}
		var decoded []*dto.MetricFamily
		for _, f := range families {
			mf, err := f.Decode()
			if err != nil {
				t.Fatal(err)
			}
			if len(mf.Metric) != len(f.Series()) {
				t.Fatalf("family %q has %d metrics and %d series", f.Name, len(mf.Metric), len(f.Series()))
			}
			decoded = append(decoded, mf)
		}
		expectSame(t, "stored again", mustCanonical(t, group, decoded), families)

		e := expositionOf(families)
		for _, kind := range []expfmt.FormatType{expfmt.TypeTextPlain, expfmt.TypeProtoDelim} {
			for _, escaping := range everyScheme() {
				f := expfmt.NewFormat(kind).WithEscapingScheme(escaping)
				expotest.ReadBack(t, f, written(t, f, e))
			}
		}
		text := written(t, expfmt.FmtText.WithEscapingScheme(model.NoEscaping), e)
		again, err := expo.Parse(strings.NewReader(text), expo.FormatText, model.UTF8Validation)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, text)
		}
		if got, want := seriesOf(mustCanonical(t, group, again)), seriesOf(families); !maps.Equal(got, want) {
			t.Fatalf("written %v, read %v:\n%s", want, got, text)
		}
		proto := written(t, expfmt.FmtProtoDelim.WithEscapingScheme(model.NoEscaping), e)
		if again, err = expo.Parse(strings.NewReader(proto), expo.FormatProtobuf, model.UTF8Validation); err != nil {
			t.Fatalf("what was written cannot be read: %v\n%q", err, proto)
		}
		families = slices.DeleteFunc(families, func(f *expo.Family) bool { return len(f.Series()) == 0 })
		expectSame(t, "through protobuf", mustCanonical(t, group, again), families)
	}
}

// What CheckMetrics lets through can be decoded, and nothing of it is left out of any exposition.
func FuzzScrapeOfCheckedMetrics(f *testing.F) {
	group := expo.NewLabels(map[string]string{"job": "fuzz"})
	for seed := range uint64(8) {
		for _, family := range mustCanonical(f, group, expotest.NewRandom(f, seed).Families(6, seed%2 == 1)) {
			for kind := range dto.MetricType_name {
				f.Add(kind, family.Metrics())
			}
		}
	}
	f.Add(int32(dto.MetricType_GAUGE), []byte{})
	// a name among the metrics
	f.Add(int32(dto.MetricType_GAUGE), []byte{0x0a, 1, 'x'})
	// a timestamp alone
	f.Add(int32(dto.MetricType_COUNTER), []byte{0x22, 2, 0x30, 48})
	// a label that is longer than the metric
	f.Add(int32(dto.MetricType_UNTYPED), []byte{0x22, 4, 0x0a, 9, 0x2a, 0})
	// an exemplar, too
	f.Add(int32(dto.MetricType_COUNTER), append([]byte{0x22, 13, 0x1a, 11, 0x09, 0, 0, 0, 0, 0, 0, 0, 0}, 0x12, 9))
	f.Fuzz(func(t *testing.T, kind int32, metrics []byte) {
		if _, ok := dto.MetricType_name[kind]; !ok {
			return
		}
		family := expo.NewFamily(&expo.Header{Name: "x", Type: dto.MetricType(kind)}, metrics, nil)
		n, err := expo.CheckMetrics(family.Type, metrics)
		if err != nil {
			expotest.ExpectError(t, "CheckMetrics", err, expo.ErrDamaged.Error())
			return
		}
		mf, err := family.Decode()
		if err != nil || n != len(mf.Metric) {
			t.Fatalf("%d metrics were let through, and decoded as %v, %v", n, mf, err)
		}
		for _, format := range []expfmt.FormatType{expfmt.TypeTextPlain, expfmt.TypeProtoDelim, expfmt.TypeProtoText} {
			for _, escaping := range everyScheme() {
				written(t, expfmt.NewFormat(format).WithEscapingScheme(escaping), expositionOf([]*expo.Family{family}))
			}
		}
	})
}

// seriesOf returns the series of each family.
func seriesOf(families []*expo.Family) map[expo.SeriesID]string {
	series := map[expo.SeriesID]string{}
	for _, f := range families {
		for _, id := range f.Series() {
			series[id] = f.Name
		}
	}
	return series
}
