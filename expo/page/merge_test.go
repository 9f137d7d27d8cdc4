package page

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo"
	"pushquorum/expo/internal/expotest"
)

// outline lists the families of e, each with its help and the values of its parts.
func outline(tb testing.TB, e expo.Exposition) string {
	tb.Helper()
	var b strings.Builder
	for h, parts := range e {
		fmt.Fprintf(&b, "%s(%s)", h.Name, h.Help)
		for range 2 { // Parts can be walked more than once.
			for f := range parts {
				mf, err := f.Decode()
				if err != nil {
					tb.Fatal(err)
				}
				for _, m := range mf.Metric {
					fmt.Fprintf(&b, " %v", m.GetGauge().GetValue())
				}
			}
			b.WriteString(";")
		}
	}
	return b.String()
}

func TestMergeInterleavesByName(t *testing.T) {
	gauges := func(help string, value float64, names ...string) expo.Exposition {
		var families []*expo.Family
		for _, name := range names {
			families = append(families, gaugeOf(name, help, nil, value))
		}
		return expositionOf(families)
	}
	table := []struct {
		name string
		a, b expo.Exposition
		want string
	}{
		{"both empty", gauges("", 0), gauges("", 0), ""},
		{"one empty", gauges("A", 1, "x"), gauges("", 0), "x(A) 1; 1;"},
		{"the other empty", gauges("", 0), gauges("B", 2, "x"), "x(B) 2; 2;"},
		{
			"between each other", gauges("A", 1, "b", "d"), gauges("B", 2, "a", "c", "e"),
			"a(B) 2; 2;b(A) 1; 1;c(B) 2; 2;d(A) 1; 1;e(B) 2; 2;",
		},
		{"the same names", gauges("A", 1, "a", "b"), gauges("B", 2, "b", "c"), "a(A) 1; 1;b(A) 1 2; 1 2;c(B) 2; 2;"},
	}
	for _, row := range table {
		merged := Merge(row.a, row.b)
		for range 2 { // So can the whole.
			if got := outline(t, merged); got != row.want {
				t.Errorf("%s: got %s, want %s", row.name, got, row.want)
			}
		}
	}
}

func TestMergeStopsWhenItsUserDoes(t *testing.T) {
	a := expositionOf([]*expo.Family{gaugeOf("a", "", nil, 1), gaugeOf("c", "", nil, 1), gaugeOf("e", "", nil, 1)})
	b := expositionOf(
		[]*expo.Family{
			gaugeOf("b", "", nil, 1), gaugeOf("c", "", nil, 1), gaugeOf("f", "", nil, 1), gaugeOf("g", "", nil, 1),
		},
	)
	for stop := range 7 {
		n := 0
		for _, parts := range Merge(a, b) {
			for range parts {
				break
			}
			if n++; n > stop {
				break
			}
		}
		if n != min(stop+1, 6) {
			t.Errorf("stopping after %d: saw %d", stop, n)
		}
	}
}

func TestAGatherersOutputIsWrittenAsPromhttpWouldWriteIt(t *testing.T) {
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "b_total", Help: "b\n"}, []string{"code"})
	counter.WithLabelValues("200").Add(2)
	counter.WithLabelValues("404")
	histogram := prometheus.NewHistogram(
		prometheus.HistogramOpts{Name: "a_seconds", Help: "a", NativeHistogramBucketFactor: 1.1},
	)
	histogram.Observe(0.3)
	registry.MustRegister(counter, histogram)
	mfs, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []expfmt.Format{expfmt.FmtText, expfmt.FmtProtoDelim} {
		var want strings.Builder
		encoder := expfmt.NewEncoder(&want, f)
		for _, mf := range mfs {
			if err := encoder.Encode(mf); err != nil {
				t.Fatal(err)
			}
		}
		backwards := slices.Clone(mfs)
		slices.Reverse(backwards)
		if got := written(t, f, Gathered(backwards)); got != want.String() {
			t.Errorf("%s: got %q, want %q", f, got, want.String())
		}
	}
}

func TestAStoredFamilyOfAnotherTypeThanOurOwnIsLeftOut(t *testing.T) {
	own := Gathered([]*dto.MetricFamily{expotest.Gauge("up", 1)})
	stored := &dto.MetricFamily{
		Name: proto.String("up"), Type: dto.MetricType_COUNTER.Enum(), Metric: []*dto.Metric{{Counter: &dto.Counter{}}},
	}
	var b strings.Builder
	err := Write(&b, expfmt.FmtText, Merge(own, expositionOf(mustCanonical(t, nil, []*dto.MetricFamily{stored}))))
	if got, want := b.String(), "# TYPE up gauge\nup 1\n"; got != want || err == nil {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}
