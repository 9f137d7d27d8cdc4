package page

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo"
	"pushquorum/expo/internal/expotest"
)

func everyScheme() []model.EscapingScheme {
	return []model.EscapingScheme{
		model.NoEscaping, model.UnderscoreEscaping, model.DotsEscaping, model.ValueEncodingEscaping,
	}
}

func written(tb testing.TB, f expfmt.Format, e expo.Exposition) string {
	tb.Helper()
	var b bytes.Buffer
	if err := Write(&b, f, e); err != nil {
		tb.Fatalf("Write(%s): %v", f, err)
	}
	return b.String()
}

// TestWhatIsWrittenIsWhatExpfmtWritesForTheMergedFamilies also shows that Canonical stores
// what it should: the expected families are made from what was pushed, by other means.
func TestWhatIsWrittenIsWhatExpfmtWritesForTheMergedFamilies(t *testing.T) {
	groups := []expo.Labels{
		expo.NewLabels(map[string]string{"job": "x"}),
		expo.NewLabels(map[string]string{"job": "x", "instance": "i\n\"1\"", "b": ""}),
		expo.NewLabels(map[string]string{"job": "日本"}),
	}
	for seed := range uint64(30) {
		r := expotest.NewRandom(t, seed)
		pushed := r.Families(12, seed%2 == 1)
		var stored [][]*expo.Family
		merged := expotest.Clone(pushed)
		for i, mf := range merged {
			mf.Metric = nil
			for g, group := range groups {
				mf.Metric = append(mf.Metric, storedNaively(group, pushed[i])...)
				if g == 0 && seed%3 == 0 {
					break // Some families are in one group only.
				}
			}
		}
		for g, group := range groups {
			if g > 0 && seed%3 == 0 {
				break
			}
			stored = append(stored, mustCanonical(t, group, expotest.Clone(pushed)))
		}
		slices.SortFunc(merged, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
		for _, kind := range []expfmt.FormatType{
			expfmt.TypeTextPlain, expfmt.TypeProtoDelim, expfmt.TypeProtoText, expfmt.TypeProtoCompact,
		} {
			for _, scheme := range everyScheme() {
				f := expfmt.NewFormat(kind).WithEscapingScheme(scheme)
				var want bytes.Buffer
				encoder := expfmt.NewEncoder(&want, f)
				for _, mf := range merged {
					if err := encoder.Encode(mf); err != nil {
						t.Fatal(err)
					}
				}
				for range 2 { // and again, with the same buffers
					if got := written(t, f, expositionOf(stored...)); got != want.String() {
						t.Fatalf("seed %d, %s: %s", seed, f, firstDifference(got, want.String()))
					}
				}
				if kind == expfmt.TypeTextPlain || kind == expfmt.TypeProtoDelim {
					expotest.ReadBack(t, f, want.String())
				}
			}
		}
	}
}

func firstDifference(got, want string) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	around := func(s string) string { return s[min(max(0, i-80), len(s)):min(i+80, len(s))] }
	return fmt.Sprintf("from byte %d on\n got …%q\nwant …%q", i, around(got), around(want))
}

func TestDelimitedProtobufDecodesToTheMergedFamily(t *testing.T) {
	gauge := func(group, value string) *expo.Family {
		return gaugeOf("x", "h", expo.NewLabels(map[string]string{"job": group}), float64(len(value)))
	}
	a, b := gauge("a", "1"), gauge("b", "22")
	a.Unit = "bytes"
	body := written(t, expfmt.FmtProtoDelim, expositionOf([]*expo.Family{a}, []*expo.Family{b}))
	mf := &dto.MetricFamily{}
	if err := protodelim.UnmarshalFrom(bufio.NewReader(strings.NewReader(body)), mf); err != nil {
		t.Fatal(err)
	}
	if mf.GetName() != "x" || mf.GetHelp() != "h" || mf.GetUnit() != "bytes" || mf.GetType() != dto.MetricType_GAUGE ||
		len(mf.Metric) != 2 {
		t.Errorf("decoded %v", mf)
	}
}

func TestFamiliesWithoutSeriesAreNotWritten(t *testing.T) {
	empty := &expo.Family{Header: &expo.Header{Name: "x", Help: "h", Type: dto.MetricType_GAUGE}}
	for _, f := range []expfmt.Format{
		expfmt.FmtText, expfmt.FmtProtoDelim, expfmt.FmtProtoText, expfmt.FmtProtoCompact,
	} {
		if got := written(t, f, expositionOf([]*expo.Family{empty})); got != "" {
			t.Errorf("%s: wrote %q", f, got)
		}
		full := gaugeOf("x", "h", nil, 1)
		got := written(t, f, expositionOf([]*expo.Family{empty}, []*expo.Family{full}))
		if want := written(t, f, expositionOf([]*expo.Family{full})); got != want && f == expfmt.FmtText {
			t.Errorf("%s: with an empty part %q, without %q", f, got, want)
		}
	}
}

func TestAnEmptyHelpIsLeftOut(t *testing.T) {
	got := written(t, expfmt.FmtText, expositionOf([]*expo.Family{gaugeOf("x", "", nil, 1)}))
	if want := "# TYPE x gauge\nx{instance=\"\"} 1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPartsThatCannotBeWrittenAreLeftOutAndReported(t *testing.T) {
	good := func() *expo.Family { return gaugeOf("x", "h", expo.NewLabels(map[string]string{"job": "good"}), 1) }
	utf8Label := mustCanonical(t, expo.NewLabels(map[string]string{"job": "u"}), []*dto.MetricFamily{{
		Name: proto.String("x"), Help: proto.String("h"), Type: dto.MetricType_GAUGE.Enum(),
		Metric: []*dto.Metric{
			{Label: []*dto.LabelPair{{Name: proto.String("a.b"), Value: proto.String("1")}}, Gauge: &dto.Gauge{}},
		},
	}})
	table := []struct {
		name string
		bad  *expo.Family
	}{
		{
			"bytes that are no protobuf",
			expo.NewFamily(&expo.Header{Name: "x", Type: dto.MetricType_GAUGE}, []byte{0xff, 0xff}, nil),
		},
		{
			"a metric that is cut off",
			expo.NewFamily(&expo.Header{Name: "x", Type: dto.MetricType_GAUGE}, good().Metrics()[:20], nil),
		},
		{
			"another type than the header's",
			expo.NewFamily(&expo.Header{Name: "x", Type: dto.MetricType_COUNTER}, good().Metrics(), nil),
		},
	}
	for _, row := range table {
		for _, f := range []expfmt.Format{expfmt.FmtText, expfmt.FmtProtoDelim, expfmt.FmtProtoText} {
			for _, rest := range [][]*expo.Family{{}, utf8Label} {
				want := written(t, f, expositionOf([]*expo.Family{good()}, rest))
				var b bytes.Buffer
				err := Write(&b, f, expositionOf([]*expo.Family{good()}, []*expo.Family{row.bad}, rest))
				var leftOut *LeftOutError
				if !errors.As(err, &leftOut) || leftOut.Parts != 1 {
					t.Errorf("%s, %s: error %v", row.name, f, err)
				}
				if b.String() != want {
					t.Errorf("%s, %s: wrote %q, want %q", row.name, f, b.String(), want)
				}
			}
		}
	}
}

type failingWriter struct{ calls int }

func (w *failingWriter) Write([]byte) (int, error) { w.calls++; return 0, io.ErrClosedPipe }

func TestTheWritersErrorEndsTheWriting(t *testing.T) {
	for _, f := range []expfmt.Format{expfmt.FmtText, expfmt.FmtProtoDelim, expfmt.FmtProtoText} {
		w := &failingWriter{}
		if err := Write(w, f, storeOf(t, 1000)); !errors.Is(err, io.ErrClosedPipe) || w.calls != 1 {
			t.Errorf("%s: error %v after %d calls", f, err, w.calls)
		}
	}
}

func TestAFormatThatIsNotOursIsRefused(t *testing.T) {
	for _, f := range []expfmt.Format{expfmt.FmtOpenMetrics_1_0_0, expfmt.FmtUnknown, "image/png"} {
		if err := Write(io.Discard, f, expositionOf()); err == nil || !strings.Contains(err.Error(), "text format") {
			t.Errorf("%s: error %v", f, err)
		}
	}
}

type countingWriter struct{ calls, bytes int }

func (w *countingWriter) Write(p []byte) (int, error) {
	w.calls++
	w.bytes += len(p)
	return len(p), nil
}

func TestAScrapeIsWrittenInFewLargeChunks(t *testing.T) {
	for _, f := range []expfmt.Format{expfmt.FmtText, expfmt.FmtProtoDelim} {
		w := &countingWriter{}
		if err := Write(w, f, storeOf(t, 2000)); err != nil {
			t.Fatal(err)
		}
		if w.calls > w.bytes/60_000+1 {
			t.Errorf("%s: %d bytes in %d writes", f, w.bytes, w.calls)
		}
	}
}

func TestWritingAllocatesTheSameForManyPartsAsForFew(t *testing.T) {
	for _, f := range []expfmt.Format{expfmt.FmtText, expfmt.FmtProtoDelim} {
		few, many := allocationsOf(t, f, 10), allocationsOf(t, f, 1000)
		if many > few+2 {
			t.Errorf("%s: %v allocations for 10 groups, %v for 1000", f, few, many)
		}
	}
}

func allocationsOf(t *testing.T, f expfmt.Format, groups int) float64 {
	t.Helper()
	e := storeOf(t, groups)
	runtime.GC() // So that no collection empties the pool in between.
	return testing.AllocsPerRun(5, func() {
		if err := Write(io.Discard, f, e); err != nil {
			t.Fatal(err)
		}
	})
}

// storeOf returns the exposition of a store with that many groups, each with four
// families of five series.
func storeOf(tb testing.TB, groups int) expo.Exposition {
	tb.Helper()
	stored := make([][]*expo.Family, groups)
	for i := range stored {
		group := expo.NewLabels(map[string]string{"job": "batch", "instance": fmt.Sprintf("host-%05d", i)})
		stored[i] = mustCanonical(tb, group, expotest.Push())
	}
	return expositionOf(stored...)
}

// gaugeOf is Gauge with a header of its own.
func gaugeOf(name, help string, group expo.Labels, value float64) *expo.Family {
	return expo.Gauge(&expo.Header{Name: name, Help: help, Type: dto.MetricType_GAUGE}, group.Key(), value)
}

// expositionOf returns the exposition of a store that holds these groups, in this order.
func expositionOf(groups ...[]*expo.Family) expo.Exposition {
	parts := map[string][]*expo.Family{}
	for _, families := range groups {
		for _, f := range families {
			parts[f.Name] = append(parts[f.Name], f)
		}
	}
	names := make([]string, 0, len(parts))
	for name := range parts {
		names = append(names, name)
	}
	slices.Sort(names)
	return func(yield func(expo.Header, iter.Seq[*expo.Family]) bool) {
		for _, name := range names {
			if !yield(*parts[name][0].Header, slices.Values(parts[name])) {
				return
			}
		}
	}
}

// storedNaively says with maps and clones what Canonical has to make of the metrics of mf.
func storedNaively(group expo.Labels, mf *dto.MetricFamily) []*dto.Metric {
	var metrics []*dto.Metric
	for _, m := range mf.Metric {
		m = proto.Clone(m).(*dto.Metric)
		labels := map[string]string{"instance": ""}
		for _, l := range m.Label {
			labels[l.GetName()] = l.GetValue()
		}
		for _, l := range group {
			labels[l.Name] = l.Value
		}
		m.Label = nil
		for _, l := range expo.NewLabels(labels) {
			m.Label = append(m.Label, &dto.LabelPair{Name: proto.String(l.Name), Value: proto.String(l.Value)})
		}
		metrics = append(metrics, m)
	}
	slices.SortFunc(metrics, func(a, b *dto.Metric) int {
		for i := range min(len(a.Label), len(b.Label)) {
			if c := cmp.Or(
				cmp.Compare(a.Label[i].GetName(), b.Label[i].GetName()),
				cmp.Compare(a.Label[i].GetValue(), b.Label[i].GetValue()),
			); c != 0 {
				return c
			}
		}
		return cmp.Compare(len(a.Label), len(b.Label))
	})
	return metrics
}

func mustCanonical(tb testing.TB, group expo.Labels, mfs []*dto.MetricFamily) []*expo.Family {
	tb.Helper()
	families, err := expo.Canonical(group, mfs, model.UTF8Validation)
	if err != nil {
		tb.Fatalf("Canonical refused: %v", err)
	}
	return families
}

func expectSame(tb testing.TB, name string, got, want []*expo.Family) {
	tb.Helper()
	same := func(a, b *expo.Family) bool {
		return *a.Header == *b.Header && bytes.Equal(a.Metrics(), b.Metrics()) && slices.Equal(a.Series(), b.Series())
	}
	if !slices.EqualFunc(got, want, same) {
		tb.Fatalf("%s: the families are\n%v\nwant\n%v", name, got, want)
	}
}
