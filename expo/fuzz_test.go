package expo

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func FuzzParseText(f *testing.F) {
	for _, seed := range []string{
		"", "\n", "a 1\n", "a{b=\"c\"} 1 2\n", "# HELP a h\\n\n# TYPE a gauge\na NaN\n", "a 1\r\n",
		"# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 1\n",
		"# TYPE h histogram\nh_bucket{le=\"1\"} 1.5\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\nh_count 2\n",
		"# TYPE h gauge_histogram\nh_count 18446744073709551616\n",
		"{\"a.b\",\"c d\"=\"e\\\"\\\\\\n\"} -Inf\n", "# TYPE \"a.b\" histogram\n{\"a.b_count\"} 1\n",
		"# TYPE h histogram\nx 1\n{\"h\",a=\"b\"} 1\n", "a{b=\"\xff\"} 1\n", "push_time_seconds 1\n", "a{a:b=\"1\"} 1\n",
		"{\"a:b\"} 1\n{\"x\",\"a:b\"=\"1\"} 1\n", "x{\"..name..\"=\"1\"} 1\n", "x{\"a.b\"=\"1\",a_b=\"2\"} 1\n{\"x.y\"} 1\nx_y 1\n",
		"# TYPE \"a\x00\" gauge\n{\"a\x00\",\"b\x00\"=\"\x00\"} 1\n",
		"# HELP a \xff\na 1\n", "a{__x=\"1\"} 1\n", "a{job=\"1\"} 1\na{job=\"2\"} 2\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) { fuzzBody(t, body, FormatText) })
}

func FuzzParseProtobuf(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(delimited(f, newRandom(f, seed).families(int(seed), seed%2 == 1)...))
	}
	f.Add(delimited(f, gaugeFamily("a", 1), gaugeFamily("a", 2)))
	f.Add(delimited(f, gaugeFamily("x", 1, "..name..", "\xff")))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, body []byte) { fuzzBody(t, body, FormatProtobuf) })
}

// fuzzBody checks what must hold for any body: nothing panics, what is accepted can be
// written and read again, and what is stored is canonical.
func fuzzBody(t *testing.T, body []byte, format BodyFormat) {
	for _, scheme := range []model.ValidationScheme{model.LegacyValidation, model.UTF8Validation} {
		mfs, err := Parse(bytes.NewReader(body), format, scheme)
		if err != nil {
			expectError(t, "Parse", err, err.Error())
			continue
		}
		group := NewLabels(map[string]string{"job": "fuzz"})
		families, err := Canonical(group, mfs, scheme)
		if err != nil {
			expectError(t, "Canonical", err, err.Error())
			continue
		}
		var decoded []*dto.MetricFamily
		for _, f := range families {
			mf, err := f.Decode()
			if err != nil {
				t.Fatal(err)
			}
			if len(mf.Metric) != len(f.Series) {
				t.Fatalf("family %q has %d metrics and %d series", f.Name, len(mf.Metric), len(f.Series))
			}
			decoded = append(decoded, mf)
		}
		expectSame(t, "stored again", mustCanonical(t, group, decoded), families)

		e := expositionOf(families)
		for _, kind := range []expfmt.FormatType{expfmt.TypeTextPlain, expfmt.TypeProtoDelim} {
			for _, escaping := range everyScheme() {
				f := expfmt.NewFormat(kind).WithEscapingScheme(escaping)
				readBack(t, f, written(t, f, e))
			}
		}
		text := written(t, expfmt.FmtText.WithEscapingScheme(model.NoEscaping), e)
		again, err := Parse(strings.NewReader(text), FormatText, model.UTF8Validation)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, text)
		}
		if got, want := seriesOf(mustCanonical(t, group, again)), seriesOf(families); !maps.Equal(got, want) {
			t.Fatalf("written %v, read %v:\n%s", want, got, text)
		}
		proto := written(t, expfmt.FmtProtoDelim.WithEscapingScheme(model.NoEscaping), e)
		if again, err = Parse(strings.NewReader(proto), FormatProtobuf, model.UTF8Validation); err != nil {
			t.Fatalf("what was written cannot be read: %v\n%q", err, proto)
		}
		families = slices.DeleteFunc(families, func(f *Family) bool { return len(f.Series) == 0 })
		expectSame(t, "through protobuf", mustCanonical(t, group, again), families)
	}
}

// seriesOf returns the series of each family.
func seriesOf(families []*Family) map[SeriesID]string {
	series := map[SeriesID]string{}
	for _, f := range families {
		for _, id := range f.Series {
			series[id] = f.Name
		}
	}
	return series
}
