package expo

import (
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"pushquorum/expo/internal/expotest"
)

// What CheckMetrics lets through can be decoded and written. That nothing of it is left out of a scrape is for a test
// of expo/page.
func FuzzCheckMetrics(f *testing.F) {
	group := NewLabels(map[string]string{"job": "fuzz"})
	for seed := range uint64(8) {
		for _, family := range mustCanonical(f, group, expotest.NewRandom(f, seed).Families(6, seed%2 == 1)) {
			for kind := range dto.MetricType_name {
				f.Add(kind, family.Metrics())
			}
		}
	}
	f.Add(int32(dto.MetricType_GAUGE), []byte{})
	// a name among the metrics
	f.Add(int32(dto.MetricType_GAUGE), []byte{0x0a, 1, 'x'})
	// a timestamp alone
	f.Add(int32(dto.MetricType_COUNTER), []byte{0x22, 2, 0x30, 48})
	// a label that is longer than the metric
	f.Add(int32(dto.MetricType_UNTYPED), []byte{0x22, 4, 0x0a, 9, 0x2a, 0})
	// an exemplar, too
	f.Add(int32(dto.MetricType_COUNTER), append([]byte{0x22, 13, 0x1a, 11, 0x09, 0, 0, 0, 0, 0, 0, 0, 0}, 0x12, 9))
	f.Fuzz(func(t *testing.T, kind int32, metrics []byte) {
		if _, ok := dto.MetricType_name[kind]; !ok {
			return
		}
		if got, want := scanLabelNames(metrics), scanAnyLabelNames(metrics); got != want {
			t.Fatalf("the kind of names is %d, not %d", got, want)
		}
		family := NewFamily(&Header{Name: "x", Type: dto.MetricType(kind)}, metrics, nil)
		n, err := CheckMetrics(family.Type, metrics)
		if err != nil {
			expotest.ExpectError(t, "CheckMetrics", err, ErrDamaged.Error())
			return
		}
		mf, err := family.Decode()
		if err != nil || n != len(mf.Metric) {
			t.Fatalf("%d metrics were let through, and decoded as %v, %v", n, mf, err)
		}
		for _, format := range []expfmt.Format{expfmt.FmtText, expfmt.FmtProtoDelim} {
			written(t, format, []*Family{family})
		}
	})
}
