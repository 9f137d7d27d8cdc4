package expo

import (
	"bufio"
	"errors"
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

// readBack fails the test if what a scrape answers cannot be read again, or has a header,
// a series or a label of a series twice. It returns the series, sorted.
func readBack(tb testing.TB, f expfmt.Format, body string) []string {
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
	seen := map[string]bool{}
	for _, mf := range mfs {
		if seen[mf.GetName()] {
			tb.Fatalf("family %s comes twice:\n%s", mf.GetName(), body)
		}
		seen[mf.GetName()] = true
		for _, m := range mf.GetMetric() {
			labels := map[string]string{"__name__": mf.GetName()}
			for _, l := range m.GetLabel() {
				if _, ok := labels[l.GetName()]; ok {
					tb.Fatalf("label %s comes twice in %s:\n%s", l.GetName(), m, body)
				}
				labels[l.GetName()] = l.GetValue()
			}
			key := NewLabels(labels).String()
			if seen[key] {
				tb.Fatalf("series %s comes twice:\n%s", key, body)
			}
			seen[key] = true
		}
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(seen)), func(key string) bool { return !strings.HasPrefix(key, "{") })
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
