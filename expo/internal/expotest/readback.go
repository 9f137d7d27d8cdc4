package expotest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protodelim"
)

// ReadBack fails the test if what a scrape answers cannot be read again, or has a header,
// a series or a label of a series twice. It returns the series, sorted.
func ReadBack(tb testing.TB, f expfmt.Format, body string) []string {
	tb.Helper()
	var mfs []*dto.MetricFamily
	switch f.FormatType() {
	case expfmt.TypeTextPlain:
		seen := map[string]bool{}
		for line := range strings.Lines(body) {
			if !strings.HasPrefix(line, "#") {
				if line, _, _ = cutLast(line, " "); seen[line] {
					tb.Fatalf("series %s comes twice:\n%s", line, body)
				}
				seen[line] = true
			}
		}
		parser := expfmt.NewTextParser(model.UTF8Validation) // It refuses a second HELP or TYPE.
		byName, err := parser.TextToMetricFamilies(strings.NewReader(body))
		if err != nil {
			tb.Fatalf("reading the scrape: %v\n%s", err, body)
		}
		mfs = slices.Collect(maps.Values(byName))
	case expfmt.TypeProtoDelim:
		r := bufio.NewReader(strings.NewReader(body))
		for {
			mf := &dto.MetricFamily{}
			if err := protodelim.UnmarshalFrom(r, mf); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				tb.Fatalf("reading the scrape: %v", err)
			}
			mfs = append(mfs, mf)
		}
	}
	families, series := map[string]bool{}, map[string]bool{}
	for _, mf := range mfs {
		if families[mf.GetName()] {
			tb.Fatalf("family %s comes twice:\n%s", mf.GetName(), body)
		}
		families[mf.GetName()] = true
		for _, m := range mf.GetMetric() {
			labels := map[string]string{"__name__": mf.GetName()}
			for _, l := range m.GetLabel() {
				if _, ok := labels[l.GetName()]; ok {
					tb.Fatalf("label %s comes twice in %s:\n%s", l.GetName(), m, body)
				}
				labels[l.GetName()] = l.GetValue()
			}
			key := fmt.Sprintf("%q", labels) // in the order of the names
			if series[key] {
				tb.Fatalf("series %s comes twice:\n%s", key, body)
			}
			series[key] = true
		}
	}
	return slices.Sorted(maps.Keys(series))
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
