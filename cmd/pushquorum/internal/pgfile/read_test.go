package pgfile

import (
	"bytes"
	"encoding/gob"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"pushquorum/fsm"
)

// persisted is the file that Debian's Pushgateway wrote; testdata/make-persistence-file says what was pushed.
func persisted(t testing.TB) []byte {
	t.Helper()
	content, err := os.ReadFile("testdata/pushgateway-1.5.1.gob")
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestAFileOfARealPushgatewayIsImported(t *testing.T) {
	groups, skipped, err := Read(bytes.NewReader(persisted(t)))
	if err != nil {
		t.Fatal(err)
	}
	if len(skipped) != 1 || !strings.HasPrefix(skipped[0].Error(), `group {job="bad",l="\xff\xfe"}: `) ||
		!strings.Contains(skipped[0].Error(), "UTF-8") {
		t.Errorf("want the group with a bad label value to be left out with the reason, got %v", skipped)
	}
	r := newReplica()
	command := fsm.EncodeImport(fsm.Request{ID: fsm.NewRequestID()}, groups)
	if result := commit(r.FSM, command); result != (fsm.Result{}) {
		t.Fatalf("importing: %+v", result)
	}
	const db1 = `{instance="db1",job="backup"`
	want := `backup_duration_seconds` + db1 + `,stage="copy"} 3
backup_duration_seconds` + db1 + `,stage="dump"} 12.5
backup_file_bytes_bucket` + db1 + `,le="1024"} 2
backup_file_bytes_bucket` + db1 + `,le="+Inf"} 3
backup_file_bytes_sum` + db1 + `} 4000
backup_file_bytes_count` + db1 + `} 3
backup_runs_total` + db1 + `} 7
backup_wait_seconds` + db1 + `,quantile="0.5"} 1
backup_wait_seconds_sum` + db1 + `} 9
backup_wait_seconds_count` + db1 + `} 4
push_failure_time_seconds` + db1 + `} 1.7954940292865677e+09
push_failure_time_seconds{instance="",job="a/b",owner="Zoë",path="/var/tmp"} 0
push_failure_time_seconds{instance="",job="empty"} 0
push_failure_time_seconds{instance="",job="failing"} 1.7954940292938719e+09
push_time_seconds` + db1 + `} 1.7954940292780077e+09
push_time_seconds{instance="",job="a/b",owner="Zoë",path="/var/tmp"} 1.7954940293129776e+09
push_time_seconds{instance="",job="empty"} 1.795494029304871e+09
push_time_seconds{instance="",job="failing"} 0
untyped_value{instance="",job="a/b",owner="Zoë",path="/var/tmp"} NaN
`
	page := get(t, r, "/metrics")
	if got := samples(page); got != want {
		t.Errorf("want\n%s\ngot\n%s", want, got)
	}
	if !strings.Contains(page, "# HELP backup_duration_seconds How long it took.\n") {
		t.Errorf("the help is lost in\n%s", page)
	}
	const pushed = `"backup_runs_total":{"time_stamp":"2026-11-24T04:20:29.278007912Z","type":"COUNTER"`
	if answer := get(t, r, "/api/v1/metrics"); !strings.Contains(answer, pushed) {
		t.Errorf("the time of the push is lost in\n%s", answer)
	}
}

// file writes a persistence file with the given encoded families in group {job="a"}, all pushed at the same time.
func file(t testing.TB, labels map[string]string, families map[string][]byte) []byte {
	t.Helper()
	group := writtenGroup{Labels: labels, Metrics: map[string]writtenMetric{}}
	for name, encoded := range families {
		group.Metrics[name] = writtenMetric{
			Timestamp: time.Unix(1700000000, 123456789), GobbableMetricFamily: &writtenFamily{encoded},
		}
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(map[string]writtenGroup{"key": group}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

type (
	writtenGroup struct {
		Labels  map[string]string
		Metrics map[string]writtenMetric
	}
	writtenMetric struct {
		Timestamp            time.Time
		GobbableMetricFamily *writtenFamily
	}
	writtenFamily struct{ encoded []byte }
)

// GobEncode implements gob.GobEncoder.
func (f *writtenFamily) GobEncode() ([]byte, error) { return f.encoded, nil }

func encoded(t testing.TB, mf *dto.MetricFamily) []byte {
	t.Helper()
	b, err := proto.Marshal(mf)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestOnlyWhatCannotBeAcceptedIsLeftOut(t *testing.T) {
	stamped := gaugeFamily("stamped")
	stamped.Metric[0].TimestampMs = proto.Int64(1)
	histogram := &dto.MetricFamily{
		Name: proto.String("h"), Type: dto.MetricType_HISTOGRAM.Enum(),
		Metric: []*dto.Metric{{Histogram: &dto.Histogram{SampleCount: proto.Uint64(1)}}},
	}
	bad := gaugeFamily("bad \n name")
	bad.Metric[0].Label = []*dto.LabelPair{{Name: proto.String("l"), Value: proto.String("\xff")}}
	labels := map[string]string{"job": "a"}
	families := map[string][]byte{
		"good":                      encoded(t, gaugeFamily("good")),
		"better":                    encoded(t, gaugeFamily("better")),
		"stamped":                   encoded(t, stamped),
		"damaged":                   {0xff},
		"other":                     encoded(t, gaugeFamily("name")),
		"h":                         encoded(t, histogram),
		"h_count":                   encoded(t, gaugeFamily("h_count")),
		"bad \n name":               encoded(t, bad),
		"push_time_seconds":         encoded(t, gaugeOf("push_time_seconds", 1700000000.1234567)),
		"push_failure_time_seconds": encoded(t, gaugeOf("push_failure_time_seconds", 1600000000.5)),
	}
	groups, skipped, err := Read(bytes.NewReader(file(t, labels, families)))
	if err != nil || len(groups) != 1 {
		t.Fatalf("want one group, got %v, %v", groups, err)
	}
	var names []string
	for _, f := range groups[0].Families {
		names = append(names, f.Name)
		if f.Time != 1700000000123456789 {
			t.Errorf("%s: pushed at %d", f.Name, f.Time)
		}
	}
	if want := []string{"better", "good", "h"}; !slices.Equal(names, want) {
		t.Errorf("want families %v, got %v", want, names)
	}
	var reasons []string
	for _, err := range skipped {
		reasons = append(reasons, strings.TrimPrefix(err.Error(), `group {job="a"}: metric `))
	}
	for i, want := range []string{
		`"bad \n name": `, `"damaged": damaged`, `"h_count": `, `"other": damaged: it calls itself "name"`,
		`"stamped": `,
	} {
		if i >= len(reasons) || !strings.HasPrefix(reasons[i], want) || strings.Contains(reasons[i], "\n") {
			t.Errorf("reason %d: want %s…, got %q", i, want, reasons)
		}
	}
	if g := groups[0]; g.PushTime != 1700000000123456789 ||
		g.FailureTime != 1600000000500000000 || g.FailureTouched != 1700000000123456789 {
		t.Errorf("push times %d and %d, touched %d and %d", g.PushTime, g.FailureTime, g.PushTouched, g.FailureTouched)
	}
}

func gaugeFamily(name string) *dto.MetricFamily {
	return &dto.MetricFamily{
		Name: proto.String(name), Type: dto.MetricType_GAUGE.Enum(),
		Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: proto.Float64(1)}}},
	}
}

func gaugeOf(name string, value float64) *dto.MetricFamily {
	mf := gaugeFamily(name)
	mf.Metric[0].Gauge.Value = &value
	return mf
}

func TestAGroupThatCannotBeAcceptedIsLeftOut(t *testing.T) {
	for name, labels := range map[string]map[string]string{
		"no labels": nil, "no job": {"instance": "a"}, "an empty job": {"job": ""},
		"not UTF-8": {"job": "a", "l": "\xff"}, "a reserved name": {"job": "a", "__l": "x"},
	} {
		content := file(t, labels, map[string][]byte{"x": encoded(t, gaugeFamily("x"))})
		groups, skipped, err := Read(bytes.NewReader(content))
		if err != nil || len(groups) != 0 || len(skipped) != 1 {
			t.Errorf("%s: want one reason, got %v, %v, %v", name, groups, skipped, err)
		}
	}
}

func TestADamagedFileIsRefusedOrImportedInPart(t *testing.T) {
	whole := persisted(t)
	for _, content := range [][]byte{[]byte("not a persistence file\n"), append(slices.Clone(whole), 0)} {
		_, _, err := Read(bytes.NewReader(content))
		if err == nil || !strings.Contains(err.Error(), "copy it again") {
			t.Errorf("%.30q: want an error that says what to do, got %v", content, err)
		}
	}
	if groups, skipped, err := Read(bytes.NewReader(nil)); err != nil || len(groups)+len(skipped) != 0 {
		t.Errorf("a file without a byte has nothing in it, got %v, %v, %v", groups, skipped, err)
	}
	for n := 2; n < len(whole); n += 2 {
		if groups, _, err := Read(bytes.NewReader(whole[:n])); err == nil || groups != nil {
			t.Fatalf("truncated to %d bytes: want an error, got %d groups", n, len(groups))
		}
	}
	for i := 0; i < len(whole); i += 3 {
		flipped := slices.Clone(whole)
		flipped[i] ^= 0x40
		groups, _, err := Read(bytes.NewReader(flipped))
		if err == nil {
			importable(t, groups)
		}
	}
}

// importable fails unless a state machine takes the groups, or says why not, and can be scraped afterwards.
func importable(t *testing.T, groups []*fsm.Group) {
	t.Helper()
	f := newReplica().FSM
	commit(f, fsm.EncodeImport(fsm.Request{ID: fsm.NewRequestID()}, groups))
	if err := f.Err(); err != nil {
		t.Fatal(err)
	}
	for h, parts := range f.View().Exposition() {
		for part := range parts {
			if _, err := part.Decode(); err != nil {
				t.Fatalf("%s: %v", h.Name, err)
			}
		}
	}
}

func FuzzPersistenceFile(f *testing.F) {
	f.Add(persisted(f))
	f.Add(file(f, map[string]string{"job": "a"}, map[string][]byte{"x": encoded(f, gaugeFamily("x"))}))
	f.Add(file(f, map[string]string{"job": "a", "l": "\xff"}, map[string][]byte{"x": {0xff}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, content []byte) {
		if groups, _, err := Read(bytes.NewReader(content)); err == nil {
			importable(t, groups)
		}
	})
}
