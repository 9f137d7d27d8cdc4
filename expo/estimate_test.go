package expo

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo/internal/expotest"
)

// allocated returns how much memory f allocates.
func allocated(f func()) int64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc)
}

// decode does what is done with a body that is not plain, whatever comes of it.
func decode(body []byte, format BodyFormat, group Labels) {
	mfs, err := Parse(bytes.NewReader(body), format, model.UTF8Validation)
	if err != nil {
		return
	}
	if families, err := Canonical(group, mfs, model.UTF8Validation); err == nil {
		encoding(families)
	}
}

// encoding makes what the log carries of families, roughly.
func encoding(families []*Family) {
	size := 0
	for _, f := range families {
		size += len(f.Metrics()) + len(f.Name) + len(f.Help) + 32
	}
	command := make([]byte, 0, size)
	for _, f := range families {
		command = append(append(append(command, f.Name...), f.Help...), f.Metrics()...)
	}
	runtime.KeepAlive(command)
}

const estimated = math.MaxInt64 // no end of counting

// checkEstimate fails unless the estimate is what decoding a body takes, or up to so many times that.
func checkEstimate(t *testing.T, body []byte, format BodyFormat, group Labels, above float64) {
	t.Helper()
	estimate := Estimate(body, format, group, estimated)
	decode(body, format, group) // what is made once for all is not this body's
	real := allocated(func() { decode(body, format, group) })
	times := float64(estimate) / float64(real)
	least := 1.0
	if underRace { // with it, strings that the compiler leaves on the stack otherwise are allocated
		least = 0.85
	}
	if times < least || times > above {
		t.Errorf("%d bytes: %d are allocated, and %d estimated, %.2f times as much", len(body), real, estimate, times)
	}
	if format != FormatText {
		return
	}
	estimate = EstimatePlain(body, group, estimated)
	real = allocated(func() {
		plainPool.Get() // it is not to be there for the next one
		if p := Plain(body, group); p != nil {
			encoding(p.Families())
		}
	})
	if estimate < real {
		t.Errorf("plain: %d bytes: %d are allocated, and %d estimated", len(body), real, estimate)
	}
}

// field appends a field that holds bytes.
func field(number protowire.Number, content ...byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), content)
}

// message is one message of a delimited body, with a metric that holds a histogram with that in it, or another value.
func message(value protowire.Number, content []byte) []byte {
	return protowire.AppendBytes(nil, append(field(fieldName, 'x'), field(fieldMetric, field(value, content...)...)...))
}

// lines is a text of so many bytes: line, with another name in the place of each ~.
func lines(head, line string, size int) []byte {
	var b bytes.Buffer
	b.WriteString(head)
	for i := 0; b.Len() < size; i++ {
		b.WriteString(strings.ReplaceAll(line, "~", string(digits(i))))
	}
	return b.Bytes()
}

// digits is a number in few letters.
func digits(i int) []byte {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
	b := []byte{letters[i%len(letters)]}
	for i /= len(letters); i > 0; i /= len(letters) {
		b = append(b, letters[i%len(letters)])
	}
	return b
}

func manyLabels(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `%s="",`, digits(i))
	}
	return b.String()
}

// worstTexts are the texts that become the most for their size.
func worstTexts(size int) map[string][]byte {
	return map[string][]byte{
		"blank lines":                lines("", "\n", size),
		"blanks":                     lines("", " \t\n", size),
		"short lines":                lines("", "a 1\n", size),
		"short lines that differ":    lines("", "~ 1\n", size),
		"families in turn":           lines("", "a 1\nb 1\n", size),
		"comments":                   lines("", "#\n", size),
		"help":                       lines("", "# HELP $ h\n", size),
		"help of many":               lines("", "# HELP ~ h\n", size),
		"types of many":              lines("", "#\n# TYPE ~ gauge\n", size),
		"long help":                  lines("", "# HELP ~ "+strings.Repeat("h", 1000)+"\n", size),
		"one label":                  lines("", "a{b=\"~\"} 1\n", size),
		"eight labels":               lines("", "a{"+manyLabels(8)+"x=\"~\"} 1\n", size),
		"nine labels":                lines("", "a{"+manyLabels(9)+"} 1\n", size),
		"20 labels":                  lines("", "a{"+manyLabels(20)+"xx=\"~\"} 1\n", size),
		"58 labels":                  lines("", "a{"+manyLabels(57)+"xxx=\"~\"} 1\n", size),
		"127 labels":                 lines("", "a{"+manyLabels(127)+"} 1\n", size),
		"128 labels":                 lines("", "a{"+manyLabels(128)+"} 1\n", size),
		"histograms":                 lines("# TYPE h histogram\n", "h{a=\"~\"} 1\n", size),
		"histograms with a count":    lines("# TYPE h histogram\n", "h_count{a=\"~\"} 1\n", size),
		"one histogram":              lines("# TYPE h histogram\n", "h_bucket{le=\"1\"} 1\n", size),
		"a histogram without bucket": lines("# TYPE h Histogram\n", "h 1\n", size),
		"gauge histograms":           lines("# TYPE h gaugehistogram\n", "h{a=\"~\"} 1\n", size),
		"summaries":                  lines("# TYPE s summary\n", "s{a=\"~\"} 1\n", size),
		"one summary":                lines("# TYPE s summary\n", "s{quantile=\"1\"} 1\n", size),
		"a summary of nothing":       lines("# TYPE s summary\n", "s 1\n", size),
		"a histogram of 120 labels":  lines("# TYPE h histogram\n", "h{"+manyLabels(120)+"xxx=\"~\"} 1\n", size),
		"names in braces":            lines("", "{\"~\"} 1\n", size),
		"one name in braces":         lines("", "{a} 1\n", size),
		"quoted labels":              lines("", "{\"~\",\"b\"=\"\"} 1\n", size),
		"long values":                lines("", "a{b=\"~"+strings.Repeat("v", 1000)+"\"} 1\n", size),
		"long escaped values":        lines("", "a{b=\"~"+strings.Repeat(`\"`, 1000)+"\"} 1\n", size),
		"long names":                 lines("", strings.Repeat("a", 1000)+"~ 1\n", size),
		"equals signs":               lines("", "a{b=\"~"+strings.Repeat("=,", 1000)+"\"} 1\n", size),
		"timestamps":                 lines("", "a 1 1\n", size),
		"a line without an end":      bytes.Repeat([]byte("a"), size),
		"not a text":                 bytes.Repeat([]byte{0xff}, size),
		"a value of controls":        append([]byte("a "), bytes.Repeat([]byte{1}, size)...),
		"a label that is not UTF-8":  append([]byte("a{b=\""), bytes.Repeat([]byte{0xff}, size)...),
		"a type of controls":         append([]byte("# TYPE a "), bytes.Repeat([]byte{1}, size)...),
	}
}

// worstMessages are the protobuf bodies that become the most for their size.
func worstMessages(size int) map[string][]byte {
	fill := func(part ...byte) []byte { return bytes.Repeat(part, size/len(part)) }
	histogram := func(content []byte) []byte { return message(fieldHistogram, content) }
	values := append(
		append(
			append(append(field(fieldGauge), field(fieldCounter)...), field(fieldSummary)...), field(fieldUntyped)...,
		),
		field(fieldHistogram)...,
	)
	exemplar := field(2, field(3, field(3)...)...)
	return map[string][]byte{
		"empty families": fill(0),
		"empty metrics": protowire.AppendBytes(
			nil, append(field(fieldName, 'x'), fill(field(fieldMetric)...)...),
		),
		"metrics of all": protowire.AppendBytes(
			nil, append(field(fieldName, 'x'), fill(field(fieldMetric, values...)...)...),
		),
		"gauges": protowire.AppendBytes(
			nil, append(append(field(fieldName, 'x'), 0x18, 1), fill(field(fieldMetric, field(fieldGauge)...)...)...),
		),
		"histograms": protowire.AppendBytes(
			nil,
			append(append(field(fieldName, 'x'), 0x18, 4), fill(field(fieldMetric, field(fieldHistogram)...)...)...),
		),
		"empty labels": protowire.AppendBytes(
			nil, append(field(fieldName, 'x'), field(fieldMetric, fill(field(fieldLabel)...)...)...),
		),
		"labels without more": protowire.AppendBytes(
			nil, append(field(fieldName, 'x'), fill(field(fieldMetric, field(fieldLabel)...)...)...),
		),
		"empty buckets":    histogram(fill(field(3)...)),
		"buckets":          histogram(fill(field(3, 0x08, 1, 0x11, 0, 0, 0, 0, 0, 0, 0, 0)...)),
		"bucket exemplars": histogram(fill(field(3, field(3)...)...)),
		"exemplars":        histogram(fill(field(16)...)),
		"exemplar labels":  histogram(field(16, fill(field(1)...)...)),
		"counter exemplars": protowire.AppendBytes(
			nil, append(field(fieldName, 'x'), fill(field(fieldMetric, field(fieldCounter, exemplar...)...)...)...),
		),
		"spans":            histogram(fill(field(9)...)),
		"one delta each":   histogram(fill(13<<3, 1)),
		"packed deltas":    histogram(field(13, fill(1)...)),
		"pieces of deltas": histogram(fill(field(13, 1)...)[:min(size, 4000)/4*3]),
		"counts":           histogram(field(14, fill(0)...)),
		"empty quantiles":  message(fieldSummary, fill(field(3)...)),
		"unknown fields":   histogram(fill(field(15+5, 1)...)),
		"names again":      protowire.AppendBytes(nil, fill(field(fieldName, 'x')...)),
		"a wrong length":   append(fill(0), 0xff, 0xff, 0xff, 0x7f),
		"noise":            binary.LittleEndian.AppendUint64(fill(7, 0xf3, 2, 0x7f, 0x12), 1),
	}
}

func TestTheEstimateIsNeverBelowWhatTheWorstBodiesTake(t *testing.T) {
	groups := map[string]Labels{"job": NewLabels(map[string]string{"job": "a"}), "many": {}}
	for i := range 100 {
		groups["many"] = append(groups["many"], Label{fmt.Sprintf("l%03d", i), ""})
	}
	for _, size := range []int{100, 20_000} {
		for of, group := range groups {
			for name, body := range worstTexts(size) {
				t.Run(fmt.Sprintf("text/%s/%d/%s", name, size, of), func(t *testing.T) {
					checkEstimate(t, body, FormatText, group, math.Inf(1))
				})
			}
			for name, body := range worstMessages(size) {
				t.Run(fmt.Sprintf("protobuf/%s/%d/%s", name, size, of), func(t *testing.T) {
					checkEstimate(t, body, FormatProtobuf, group, math.Inf(1))
				})
			}
		}
	}
}

// ordinary makes bodies as clients send them.
func ordinary(tb testing.TB, families []*dto.MetricFamily) map[BodyFormat][]byte {
	var text bytes.Buffer
	for _, mf := range families {
		if _, err := expfmt.MetricFamilyToText(&text, mf); err != nil {
			tb.Fatal(err)
		}
	}
	return map[BodyFormat][]byte{FormatText: text.Bytes(), FormatProtobuf: expotest.Delimited(tb, families...)}
}

func TestTheEstimateForOrdinaryBodiesIsNotFarAbove(t *testing.T) {
	group := NewLabels(map[string]string{"job": "batch", "instance": "host-00001"})
	var histograms []*dto.MetricFamily
	for i := range 20 {
		mf := &dto.MetricFamily{
			Name: proto.String(fmt.Sprintf("request_duration_%d_seconds", i)), Help: proto.String("How long it took."),
			Type: dto.MetricType_HISTOGRAM.Enum(),
		}
		for j := range 10 {
			h := &dto.Histogram{SampleCount: proto.Uint64(100), SampleSum: proto.Float64(12.5)}
			for k := range 10 {
				h.Bucket = append(
					h.Bucket,
					&dto.Bucket{
						CumulativeCount: proto.Uint64(uint64(10 * k)), UpperBound: proto.Float64(float64(k) / 8),
					},
				)
			}
			mf.Metric = append(mf.Metric, &dto.Metric{Histogram: h, Label: []*dto.LabelPair{
				{Name: proto.String("code"), Value: proto.String("200")},
				{Name: proto.String("handler"), Value: proto.String(fmt.Sprintf("/api/v1/%d", j))},
			}})
		}
		histograms = append(histograms, mf)
	}
	var many []*dto.MetricFamily
	for i := range 1000 {
		for _, mf := range expotest.Push() {
			mf.Name = proto.String(fmt.Sprintf("%s_%d", mf.GetName(), i))
			many = append(many, mf)
		}
	}
	for name, families := range map[string][]*dto.MetricFamily{
		"a push": expotest.Push(), "a large push": many, "histograms": histograms,
		"all types": expotest.NewRandom(t, 1).Families(600, false),
	} {
		for format, body := range ordinary(t, families) {
			t.Run(fmt.Sprintf("%s/%d", name, format), func(t *testing.T) { checkEstimate(t, body, format, group, 3) })
		}
	}
}

func TestCountingStopsWhenThereIsTooMuch(t *testing.T) {
	const most = 1 << 18
	for format, bodies := range map[BodyFormat]map[string][]byte{
		FormatText: worstTexts(1_000_000), FormatProtobuf: worstMessages(1_000_000),
	} {
		for name, body := range bodies {
			group := NewLabels(map[string]string{"job": "a"})
			whole := Estimate(body, format, group, estimated)
			// A line is counted as a whole: that is one look at it.
			if whole < 32*most || format == FormatText && bytes.Count(body, []byte("\n")) < 4 {
				continue
			}
			if n := Estimate(body, format, group, most); n <= most || n > whole*3/4 {
				t.Errorf("%s: want more than %d, and not all of %d, got %d", name, most, whole, n)
			}
		}
	}
}

func TestEstimatesAllocateNothing(t *testing.T) {
	group := NewLabels(map[string]string{"job": "a"})
	for format, bodies := range map[BodyFormat]map[string][]byte{
		FormatText: worstTexts(10_000), FormatProtobuf: worstMessages(10_000),
	} {
		for name, body := range bodies {
			if n := testing.AllocsPerRun(1, func() {
				Estimate(
					body, format, group, estimated,
				)
				EstimatePlain(body, group, estimated)
			}); n > 0 {
				t.Errorf("%s: %v allocations", name, n)
			}
		}
	}
}

// What a body is said to take is what it takes, or more.
func FuzzEstimate(f *testing.F) {
	for _, body := range worstTexts(300) {
		f.Add(false, uint8(1), body)
	}
	for _, body := range worstMessages(300) {
		f.Add(true, uint8(2), body)
	}
	for _, families := range [][]*dto.MetricFamily{expotest.Push(), expotest.NewRandom(f, 3).Families(12, true)} {
		for format, body := range ordinary(f, families) {
			f.Add(format == FormatProtobuf, uint8(100), body)
		}
	}
	f.Fuzz(func(t *testing.T, protobuf bool, labels uint8, body []byte) {
		group := Labels{{"job", "a"}}
		for i := range labels % 100 {
			group = append(group, Label{fmt.Sprintf("l%03d", i), ""})
		}
		format := FormatText
		if protobuf {
			format = FormatProtobuf
		}
		if Estimate(body, format, group, estimated) > 1<<28 {
			return // it would take that
		}
		decode(body, format, group)
		checkEstimate(t, body, format, group, math.Inf(1))
	})
}
