package expo

import (
	"bytes"
	"slices"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func mustCanonical(tb testing.TB, group Labels, mfs []*dto.MetricFamily) []*Family {
	tb.Helper()
	families, err := Canonical(group, mfs, model.UTF8Validation)
	if err != nil {
		tb.Fatalf("Canonical refused: %v", err)
	}
	return families
}

func expectSame(tb testing.TB, name string, got, want []*Family) {
	tb.Helper()
	if len(got) != len(want) {
		tb.Fatalf("%s: %d families, want %d", name, len(got), len(want))
	}
	for i, f := range got {
		w := want[i]
		if f.MetricsSize() != len(f.Metrics()) || f.Len() != len(f.Series()) {
			tb.Fatalf("%s: family %q says that it has %d bytes of metrics and %d series, not %d and %d",
				name, f.Name, f.MetricsSize(), f.Len(), len(f.Metrics()), len(f.Series()))
		}
		if *f.Header != *w.Header || !bytes.Equal(f.Metrics(), w.Metrics()) || !slices.Equal(f.Series(), w.Series()) {
			tb.Fatalf("%s: family %q differs from %q:\n%q\n%q", name, f.Name, w.Name, f.Metrics(), w.Metrics())
		}
	}
}

// gaugeOf is Gauge with a header of its own, whose help is h.
func gaugeOf(name string, group Labels, value float64) *Family {
	return Gauge(&Header{Name: name, Help: "h", Type: dto.MetricType_GAUGE}, group.Key(), value)
}

// written returns the families as a scrape without escaping shows them, in the text format or as delimited protobuf.
func written(tb testing.TB, f expfmt.Format, families []*Family) string {
	tb.Helper()
	var b []byte
	for _, family := range families {
		switch {
		case family.MetricsSize() == 0:
		case f.FormatType() == expfmt.TypeTextPlain:
			var err error
			if b, err = family.AppendLines(AppendHeader(b, *family.Header)); err != nil {
				tb.Fatalf("writing family %q: %v", family.Name, err)
			}
		case f.FormatType() == expfmt.TypeProtoDelim:
			b = family.AppendMetrics(AppendMessageStart(b, *family.Header, family.MetricsSize()))
			b = AppendMessageEnd(b, *family.Header)
		}
	}
	return string(b)
}
