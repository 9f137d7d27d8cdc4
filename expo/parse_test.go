package expo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protowire"

	"pushquorum/expo/internal/expotest"
)

func TestTheContentTypeChoosesTheBodyFormat(t *testing.T) {
	table := map[string]BodyFormat{
		"":           FormatText,
		"text/plain": FormatText,
		"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited": FormatProtobuf,
		"Application/Vnd.Google.Protobuf;encoding=delimited;Proto=io.prometheus.client.MetricFamily":   FormatProtobuf,
		"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=text":      FormatText,
		"application/vnd.google.protobuf; proto=other; encoding=delimited":                             FormatText,
		"application/vnd.google.protobuf":        FormatText,
		"application/vnd.google.protobuf; proto": FormatText,
		"application/x-www-form-urlencoded":      FormatText,
	}
	for contentType, want := range table {
		if got := BodyFormatOf(contentType); got != want {
			t.Errorf("%q: got %d, want %d", contentType, got, want)
		}
	}
}

func TestTextBodies(t *testing.T) {
	manyLabels := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `l%d="a,b\",",`, i)
		}
		return "x{" + b.String() + "} 1\n"
	}
	table := []struct {
		name, body  string
		families    string // names in order
		legacy, all string // part of the error under LegacyValidation, and under both
	}{
		{name: "nothing"},
		{name: "only blank lines and comments", body: "\n# hello\n  \n"},
		{name: "families are sorted by name", body: "b 1\na 2\nb{x=\"y\"} 3\n", families: "a b"},
		{name: "a type without samples is nothing", body: "# TYPE a gauge\nb 1\n", families: "b"},
		{name: "no newline at the end", body: "a 1\nb 2", families: "a b"},
		{name: "a line that is cut", body: "a 1\nb{c=", all: "expected '\"' at start of label value"},
		{name: "carriage return and newline, which Tidy has not seen", body: "a 1\r\n", all: "expected float as value"},
		{name: "no value", body: "a\n", all: "expected float as value"},
		{name: "a value that is no number", body: "a x\n", all: `got "x"`},
		{name: "a second type", body: "# TYPE a gauge\n# TYPE a gauge\n", all: "second TYPE line"},
		{name: "an unknown type", body: "# TYPE a thing\n", all: "unknown metric type"},
		{name: "a label twice", body: "a{b=\"1\",b=\"2\"} 1\n", all: "duplicate label names"},
		{name: "a label value that is not UTF-8", body: "a{b=\"\xff\"} 1\n", all: "invalid label value"},
		{name: "the metric name's label", body: "a{__name__=\"b\"} 1\n", all: "reserved"},
		{name: "a UTF-8 name", body: "{\"a.b\"} 1\n", families: "a.b", legacy: "invalid metric name"},
		{name: "a UTF-8 label name", body: "a{\"b.c\"=\"1\"} 1\n", families: "a", legacy: "invalid label name"},
		{name: "NUL bytes", body: "\x00\x00\n", all: "parsing error"},
		{name: "JSON", body: "{\"a\": 1}\n", all: "parsing error"},
		{name: "a protobuf body", body: "\x10\n\x01x\x12\x01h", all: "parsing error"},
		// prometheus/common 0.73.1 writes to a nil map here.
		{
			name: "a histogram with its name in braces after another metric",
			body: "# TYPE h histogram\nx 1\n{\"h\",a=\"b\"} 1\n", all: "line 3: the parser fails",
		},
		{name: "as many labels as a series may have", body: manyLabels(MaxLabels), families: "x"},
		{name: "one label more, left to Canonical", body: manyLabels(MaxLabels + 1), families: "x"},
		{name: "far too many labels", body: manyLabels(MaxLabels + 2), all: "line 1: more than 128 labels"},
		{
			name:     "commas in comments",
			body:     "# HELP x " + strings.Repeat(",\"", 1000) + "\n  #" + strings.Repeat(",", 1000) + "\nx 1\n",
			families: "x",
		},
		{name: "commas in a label value", body: "x{a=\"" + strings.Repeat(`,\",`, 1000) + "\"} 1\n", families: "x"},
		{
			name: "a quote before a comment sign", body: "\"x\"#" + strings.Repeat(",", 1000) + "\n",
			all: "parsing error",
		},
		{name: "an error that quotes a megabyte", body: strings.Repeat("x", 1<<20) + " y\n", all: "expected float"},
		{
			name: "an error that quotes a megabyte of a value", body: "a{b=\"" + strings.Repeat("\xff\n", 1<<19),
			all: "parsing error",
		},
		{name: "an error that quotes a line break", body: "a{b=\"\\\n\"} 1\n", all: "invalid escape sequence"},
	}
	for _, row := range table {
		for _, scheme := range []model.ValidationScheme{model.LegacyValidation, model.UTF8Validation} {
			want := row.all
			if scheme == model.LegacyValidation && row.legacy != "" {
				want = row.legacy
			}
			mfs, err := Parse(strings.NewReader(row.body), FormatText, scheme)
			expotest.ExpectError(t, row.name+" "+scheme.String(), err, want)
			if err == nil && names(mfs) != row.families {
				t.Errorf("%s: got families %q, want %q", row.name, names(mfs), row.families)
			}
		}
	}
}

func names(mfs []*dto.MetricFamily) string {
	var all []string
	for _, mf := range mfs {
		all = append(all, mf.GetName())
	}
	return strings.Join(all, " ")
}

func TestProtobufBodies(t *testing.T) {
	good := expotest.Delimited(t, expotest.Gauge("b", 1), expotest.Gauge("a", 2))
	table := []struct {
		name     string
		body     []byte
		families string
		err      string
	}{
		{name: "nothing"},
		{name: "families are sorted by name", body: good, families: "a b"},
		{name: "cut off within a message", body: good[:len(good)-1], err: "message 2 is cut off"},
		{name: "cut off within a length", body: []byte{0x80}, err: "message 1 is cut off"},
		{name: "a length that never ends", body: bytes.Repeat([]byte{0xff}, 100), err: "message 1"},
		{name: "a length of an exabyte", body: protowire.AppendVarint(nil, 1<<60), err: "message 1 is cut off"},
		{name: "a message that is no protobuf", body: []byte{2, 0xff, 0xff}, err: "message 1 is not a MetricFamily"},
		{name: "text", body: []byte("some_metric 1\n"), err: "message 1"},
		{name: "an empty message has no name", body: []byte{0}, families: ""},
	}
	for _, row := range table {
		mfs, err := Parse(bytes.NewReader(row.body), FormatProtobuf, model.LegacyValidation)
		expotest.ExpectError(t, row.name, err, row.err)
		if err == nil && names(mfs) != row.families {
			t.Errorf("%s: got families %q, want %q", row.name, names(mfs), row.families)
		}
	}
}

func TestOfTwoProtobufFamiliesOfOneNameTheLaterWins(t *testing.T) {
	mfs, err := Parse(
		bytes.NewReader(expotest.Delimited(t, expotest.Gauge("a", 1), expotest.Gauge("a", 2))), FormatProtobuf,
		model.LegacyValidation,
	)
	if err != nil || len(mfs) != 1 || mfs[0].Metric[0].GetGauge().GetValue() != 2 {
		t.Errorf("got %v, %v", mfs, err)
	}
}

func TestAnAnnouncedLengthIsNotAllocated(t *testing.T) {
	body := protowire.AppendVarint(nil, 1<<32)
	body = append(body, "short"...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Parse(bytes.NewReader(body), FormatProtobuf, model.LegacyValidation)
	runtime.ReadMemStats(&after)
	if err == nil || after.TotalAlloc-before.TotalAlloc > 1<<20 {
		t.Errorf("allocated %d bytes, error %v", after.TotalAlloc-before.TotalAlloc, err)
	}
}

type limitError struct{}

func (limitError) Error() string { return "limit" }

func TestTheReadersErrorIsKept(t *testing.T) {
	atEnd := fmt.Errorf("disguised: %w", io.EOF)
	for _, f := range []BodyFormat{FormatText, FormatProtobuf} {
		for _, body := range []string{"", "a", "a 1", "a 1\n", "a{b=", "# HELP a ", "# TYPE a gauge\n", "\x20\n"} {
			for _, readError := range []error{limitError{}, &http.MaxBytesError{Limit: 7}, io.ErrUnexpectedEOF, atEnd} {
				r := io.MultiReader(strings.NewReader(body), iotest.ErrReader(readError))
				if _, err := Parse(r, f, model.LegacyValidation); !errors.Is(err, readError) {
					t.Errorf("format %d, body %q: got error %v, want %v", f, body, err, readError)
				}
			}
		}
	}
	var tooLarge *http.MaxBytesError
	body := http.MaxBytesReader(nil, io.NopCloser(strings.NewReader(strings.Repeat("a 1\n", 100))), 50)
	if _, err := Parse(body, FormatText, model.LegacyValidation); !errors.As(err, &tooLarge) {
		t.Errorf("got error %v, want a MaxBytesError", err)
	}
}

func TestABodyMayComeByteByByte(t *testing.T) {
	mfs, err := Parse(
		iotest.OneByteReader(strings.NewReader("# HELP a x\n# TYPE a gauge\na{b=\"c\"} 1\n")), FormatText,
		model.LegacyValidation,
	)
	if err != nil || names(mfs) != "a" {
		t.Errorf("got %v, %v", mfs, err)
	}
	mfs, err = Parse(
		iotest.DataErrReader(bytes.NewReader(expotest.Delimited(t, expotest.Gauge("a", 1)))), FormatProtobuf,
		model.LegacyValidation,
	)
	if err != nil || names(mfs) != "a" {
		t.Errorf("got %v, %v", mfs, err)
	}
}
