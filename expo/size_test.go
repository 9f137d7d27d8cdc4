package expo

import (
	"fmt"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/proto"
)

// What stands once in a request stands in each line of every later scrape.
func TestAPushThatIsHugeAsTextIsRefused(t *testing.T) {
	group := NewLabels(map[string]string{"job": "a"})
	series := func(n int) (out []*dto.Metric) {
		for i := range n {
			out = append(
				out,
				&dto.Metric{
					Label: []*dto.LabelPair{{Name: proto.String("i"), Value: proto.String(fmt.Sprint(i))}},
					Gauge: &dto.Gauge{Value: proto.Float64(1)},
				},
			)
		}
		return out
	}
	buckets := &dto.Metric{
		Label:     []*dto.LabelPair{{Name: proto.String("l"), Value: proto.String(strings.Repeat("v", 100_000))}},
		Histogram: &dto.Histogram{SampleCount: proto.Uint64(0)},
	}
	for i := range 1000 {
		buckets.Histogram.Bucket = append(
			buckets.Histogram.Bucket,
			&dto.Bucket{UpperBound: proto.Float64(float64(i)), CumulativeCount: proto.Uint64(0)},
		)
	}
	long := strings.Repeat("n", 100_000)
	for name, c := range map[string]struct {
		group   Labels
		family  *dto.MetricFamily
		refused bool
	}{
		"a long name": {
			group, &dto.MetricFamily{Name: proto.String(long), Type: dto.MetricType_GAUGE.Enum(), Metric: series(1000)},
			true,
		},
		"a long name, few times": {
			group, &dto.MetricFamily{Name: proto.String(long), Type: dto.MetricType_GAUGE.Enum(), Metric: series(10)},
			false,
		},
		"a long grouping label": {
			NewLabels(map[string]string{"job": long}),
			&dto.MetricFamily{Name: proto.String("x"), Type: dto.MetricType_GAUGE.Enum(), Metric: series(1000)}, true,
		},
		"a long label": {
			group,
			&dto.MetricFamily{
				Name: proto.String("x"), Type: dto.MetricType_HISTOGRAM.Enum(), Metric: []*dto.Metric{buckets},
			},
			true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Canonical(c.group, []*dto.MetricFamily{c.family}, model.LegacyValidation)
			if refused := err != nil && strings.Contains(
				err.Error(), "64 MiB as text",
			); refused != c.refused || err != nil && !refused {
				t.Errorf("refused: %v (%v), want %v", refused, err, c.refused)
			}
		})
	}

	var body strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&body, "x{i=\"%d\"} 1\n", i)
	}
	if Plain([]byte(body.String()), NewLabels(map[string]string{"job": long})) != nil {
		t.Error("Plain takes what Canonical refuses")
	}
	if Plain([]byte(body.String()), group) == nil {
		t.Error("Plain does not take the same with a short job")
	}
}
