package expo

import (
	"slices"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"pushquorum/expo/internal/expotest"
)

func TestWhichFamiliesClash(t *testing.T) {
	const (
		counter   = dto.MetricType_COUNTER
		gauge     = dto.MetricType_GAUGE
		summary   = dto.MetricType_SUMMARY
		histogram = dto.MetricType_HISTOGRAM
		gaugeHist = dto.MetricType_GAUGE_HISTOGRAM
	)
	table := []struct {
		name  string
		a, b  Header
		clash string
	}{
		{name: "different names", a: Header{Name: "a", Type: gauge}, b: Header{Name: "b", Type: counter}},
		{
			name: "the same name and type, another help", a: Header{Name: "a", Type: gauge, Help: "x"},
			b: Header{Name: "a", Type: gauge},
		},
		{
			name: "the same name, another type", a: Header{Name: "a", Type: gauge}, b: Header{Name: "a", Type: counter},
			clash: "the type gauge here and counter elsewhere",
		},
		{
			name: "histogram and gauge histogram", a: Header{Name: "a", Type: histogram},
			b: Header{Name: "a", Type: gaugeHist}, clash: "has the type",
		},
		{
			name: "histogram and count", a: Header{Name: "a", Type: histogram}, b: Header{Name: "a_count", Type: gauge},
			clash: `the histogram "a"`,
		},
		{
			name: "histogram and bucket", a: Header{Name: "a", Type: histogram},
			b: Header{Name: "a_bucket", Type: histogram}, clash: `the histogram "a"`,
		},
		{
			name: "gauge histogram and sum", a: Header{Name: "a", Type: gaugeHist},
			b: Header{Name: "a_sum", Type: gauge}, clash: `the gauge_histogram "a"`,
		},
		{
			name: "summary and sum", a: Header{Name: "a", Type: summary}, b: Header{Name: "a_sum", Type: counter},
			clash: `the summary "a"`,
		},
		{name: "summary and bucket", a: Header{Name: "a", Type: summary}, b: Header{Name: "a_bucket", Type: counter}},
		{name: "gauge and count", a: Header{Name: "a", Type: gauge}, b: Header{Name: "a_count", Type: counter}},
		{
			name: "histogram and another suffix", a: Header{Name: "a", Type: histogram},
			b: Header{Name: "a_total", Type: counter},
		},
		{
			name: "histogram and a longer name", a: Header{Name: "a", Type: histogram},
			b: Header{Name: "ab_count", Type: counter},
		},
	}
	for _, row := range table {
		for _, pair := range [][2]Header{{row.a, row.b}, {row.b, row.a}} {
			if row.clash == "the type gauge here and counter elsewhere" && pair[0] == row.b {
				continue // The wording depends on the order.
			}
			expotest.ExpectError(t, row.name, Clash(pair[0], pair[1]), row.clash)
			if row.clash != "" && !slices.Contains(ClashingNames(pair[0].Name, pair[0].Type), pair[1].Name) {
				t.Errorf("%s: ClashingNames(%s) lacks %s", row.name, pair[0].Name, pair[1].Name)
			}
		}
	}
}
