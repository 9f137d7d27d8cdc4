package api

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/golang/snappy"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
)

const protobufType = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

func gzipped(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func snappyFramed(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	z := snappy.NewBufferedWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func delimited(t testing.TB, families ...*dto.MetricFamily) string {
	t.Helper()
	var b bytes.Buffer
	for _, mf := range families {
		if _, err := protodelim.MarshalTo(&b, mf); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func gaugeFamily(name string, labels ...*dto.LabelPair) *dto.MetricFamily {
	return &dto.MetricFamily{
		Name: proto.String(name), Type: dto.MetricType_GAUGE.Enum(),
		Metric: []*dto.Metric{{Label: labels, Gauge: &dto.Gauge{Value: proto.Float64(1)}}},
	}
}

func pair1(name, value string) *dto.LabelPair {
	return &dto.LabelPair{Name: proto.String(name), Value: proto.String(value)}
}

// times are the push-time lines of group {job="a"} after pushes that succeeded and failed at these seconds, 0 = never.
func times(success, failure int) string {
	line := func(name string, second int) string {
		if second == 0 {
			return name + "{instance=\"\",job=\"a\"} 0\n"
		}
		return name + "{instance=\"\",job=\"a\"} 1.70000000" + strconv.Itoa(second) + "e+09\n"
	}
	return line("push_failure_time_seconds", failure) + line("push_time_seconds", success)
}

func TestMethodsDoWhatTheyDoInThePushgateway(t *testing.T) {
	type step struct{ method, path, body string }
	const a = "/metrics/job/a"
	for name, test := range map[string]struct {
		steps []step
		want  string
	}{
		"PUT replaces all families": {
			[]step{{"PUT", a, "x 1\n"}, {"PUT", a, "y 2\n"}},
			times(2, 0) + "y{instance=\"\",job=\"a\"} 2\n",
		},
		"POST replaces only what it names": {
			[]step{{"PUT", a, "x 1\ny 1\n"}, {"POST", a, "y 2\n"}},
			times(2, 0) + "x{instance=\"\",job=\"a\"} 1\ny{instance=\"\",job=\"a\"} 2\n",
		},
		"an empty PUT empties the group": {[]step{{"PUT", a, "x 1\n"}, {"PUT", a, ""}}, times(2, 0)},
		"an empty POST touches the time": {
			[]step{{"PUT", a, "x 1\n"}, {"POST", a, ""}},
			times(2, 0) + "x{instance=\"\",job=\"a\"} 1\n",
		},
		"an empty POST makes the group": {[]step{{"POST", a, ""}}, times(1, 0)},
		"PUT may change a type": {[]step{
			{"PUT", a, "# TYPE x counter\nx 1\n"},
			{"PUT", a, "# TYPE x gauge\nx 2\n"},
		}, times(2, 0) + "x{instance=\"\",job=\"a\"} 2\n"},
		"DELETE removes exactly the group": {[]step{
			{"PUT", a, "x 1\n"},
			{"PUT", a + "/k/v", ""},
			{"DELETE", a + "/k/v", ""},
		}, times(1, 0) + "x{instance=\"\",job=\"a\"} 1\n"},
		"DELETE of no group is fine": {[]step{{"PUT", a, ""}, {"DELETE", "/metrics/job/b", ""}}, times(1, 0)},
		"a wipe removes everything": {[]step{
			{"PUT", a, "x 1\n"},
			{"PUT", "/metrics/job/b", "y 1\n"},
			{"PUT", "/api/v1/admin/wipe", ""},
		}, ""},
		"pushed push times are overridden": {
			[]step{{"PUT", a, "push_time_seconds 5\npush_failure_time_seconds 6\n"}},
			times(1, 0),
		},
		"grouping labels win": {
			[]step{{"PUT", a, "x{job=\"z\",instance=\"i\"} 1\n"}},
			times(1, 0) + "x{instance=\"i\",job=\"a\"} 1\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			for _, s := range test.steps {
				want := http.StatusOK
				if s.method == "DELETE" || strings.HasSuffix(s.path, "wipe") {
					want = http.StatusAccepted
				}
				if a := g.must(want, s.method, s.path, s.body); a.body != "" {
					t.Errorf("%s %s: want an empty body, got %q", s.method, s.path, a.body)
				}
			}
			if got := g.scrape(); got != test.want {
				t.Errorf("want\n%s\ngot\n%s", test.want, got)
			}
		})
	}
}

func TestBodiesAreDecoded(t *testing.T) {
	for name, test := range map[string]struct {
		body   string
		header []string
	}{
		"gzip":                  {gzipped(t, "x 1\n"), []string{"Content-Encoding", "gzip"}},
		"gzip in any case":      {gzipped(t, "x 1\n"), []string{"Content-Encoding", "GZip"}},
		"gzip of several parts": {gzipped(t, "x ") + gzipped(t, "1\n"), []string{"Content-Encoding", "gzip"}},
		"snappy":                {snappyFramed(t, "x 1\n"), []string{"Content-Encoding", "snappy"}},
		"an unknown encoding":   {"x 1\n", []string{"Content-Encoding", "br"}}, // the Pushgateway ignores it
		"another content type":  {"x 1\n", []string{"Content-Type", "application/json"}},
		"protobuf":              {delimited(t, gaugeFamily("x")), []string{"Content-Type", protobufType}},
		"compressed protobuf": {gzipped(t, delimited(t, gaugeFamily("x"))), []string{
			"Content-Type", protobufType,
			"Content-Encoding", "gzip",
		}},
		"the later of two protobuf families": {
			delimited(t, gaugeFamily("x", pair1("l", "first")), gaugeFamily("x")),
			[]string{"Content-Type", protobufType},
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			g.must(http.StatusOK, "PUT", "/metrics/job/a", test.body, test.header...)
			if want, got := times(1, 0)+"x{instance=\"\",job=\"a\"} 1\n", g.scrape(); got != want {
				t.Errorf("want\n%s\ngot\n%s", want, got)
			}
		})
	}
}

// TestABadPushChangesAtMostTheFailureTime pushes to a group that has metrics and to one that does not exist yet.
func TestABadPushChangesAtMostTheFailureTime(t *testing.T) {
	pb := []string{"Content-Type", protobufType}
	good := delimited(t, gaugeFamily("y"))
	for name, test := range map[string]struct {
		body     string
		header   []string
		recorded bool // as a failed push: the body could be parsed
		says     string
	}{
		"a line that is cut": {"x 1\ny{l=", nil, false, "line 2, column 5: label \"l\" has no value"},
		"carriage returns alone": {
			"y 1\rz 2\r", nil, false,
			"line 1, column 4: a carriage return within a line",
		},
		"text that is not UTF-8": {
			"y{l=\"\xff\"} 1\n", nil, false,
			"line 1, column 6: byte 0xff in the value of label \"l\" is not UTF-8",
		},
		"not a metric": {"{\"y\":1}\n", nil, false, "looks like JSON"},
		"truncated gzip": {
			gzipped(t, "y 1\n")[:20],
			[]string{"Content-Encoding", "gzip"},
			false,
			"gzip that is cut off after 20 bytes",
		},
		"gzip with a wrong checksum": {
			gzipped(t, "y 1\n")[:24] + "\x00\x00\x00\x00\x04\x00\x00\x00",
			[]string{"Content-Encoding", "gzip"},
			false, "checksum",
		},
		"no gzip at all": {
			"y 1\n",
			[]string{"Content-Encoding", "gzip"},
			false,
			"plain text; send it without the header",
		},
		"no snappy at all": {
			"y 1\n",
			[]string{"Content-Encoding", "snappy"},
			false,
			"plain text; send it without the header",
		},
		"snappy cut off": {
			snappyFramed(t, "y 1\n")[:15],
			[]string{"Content-Encoding", "snappy"},
			false,
			"framed snappy that is cut off after 15 bytes",
		},
		"truncated protobuf":    {good[:len(good)-1], pb, false, "protobuf message 1"},
		"text sent as protobuf": {"y 1\n", pb, false, "protobuf message 1"},
		"a timestamp": {
			"y 1 1000\n", nil, true,
			"has the timestamp 1000: pushed metrics must not have timestamps, leave it out",
		},
		"a series twice": {"y{l=\"1\"} 1\ny{l=\"1\"} 2\n", nil, true, "twice"},
		"a type and its samples": {delimited(t, &dto.MetricFamily{
			Name: proto.String("y"),
			Type: dto.MetricType_COUNTER.Enum(), Metric: gaugeFamily("y").GetMetric(),
		}), pb, true, "counter"},
		"a protobuf name that is bad":   {delimited(t, gaugeFamily("y y\n")), pb, true, "not valid"},
		"a protobuf name that is empty": {delimited(t, gaugeFamily("")), pb, true, "not valid"},
		"a protobuf label name":         {delimited(t, gaugeFamily("y", pair1("l l", "v"))), pb, true, "l l"},
		"a protobuf label value":        {delimited(t, gaugeFamily("y", pair1("l", "\xff"))), pb, true, "UTF-8"},
		"a reserved label":              {"y{__l=\"1\"} 1\n", nil, true, "reserved"},
		"a type other than stored":      {"# TYPE kept counter\nkept 1\n", nil, true, "kept"},
		"a suffix of a histogram":       {"# TYPE h counter\nh_bucket 1\nh 1\n", nil, true, "h"},
	} {
		for _, group := range []string{"a", "new"} {
			t.Run(name+" to group "+group, func(t *testing.T) {
				g := start(t)
				g.must(http.StatusOK, "PUT", "/metrics/job/a", "present 1\n")
				g.must(http.StatusOK, "PUT", "/metrics/job/other",
					"# TYPE kept gauge\nkept 1\n# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n")
				before := g.scrape()
				a := g.must(http.StatusBadRequest, "POST", "/metrics/job/"+group, test.body, test.header...)
				if !strings.Contains(a.body, test.says) || strings.Count(a.body, "\n") != 1 {
					t.Errorf("want one line with %q, got %q", test.says, a.body)
				}
				const prefix = "pushed metrics are invalid or inconsistent with existing metrics: "
				if strings.HasPrefix(a.body, prefix) != test.recorded {
					t.Errorf("want prefix %q only where the push is recorded as failed, got %q", prefix, a.body)
				}
				after := g.scrape()
				failure := "push_failure_time_seconds{instance=\"\",job=\"" + group + "\"}"
				if test.recorded != strings.Contains(after, failure+" 1.700000003e+09\n") {
					t.Errorf("failure recorded: want %v, got\n%s", test.recorded, after)
				}
				before, after = without(before, failure), without(after, failure)
				if group == "new" && test.recorded {
					created := "push_time_seconds{instance=\"\",job=\"new\"} 0\n"
					if !strings.Contains(after, created) {
						t.Errorf("want %q in\n%s", created, after)
					}
					after = without(after, "job=\"new\"")
				}
				if before != after {
					t.Errorf("more than the failure time changed: before\n%s\nafter\n%s", before, after)
				}
			})
		}
	}
}

func TestASeriesOfAnotherGroupIsNotTaken(t *testing.T) {
	g := start(t)
	g.must(http.StatusOK, "PUT", "/metrics/job/a/instance/i", "x 1\n")
	g.must(http.StatusBadRequest, "PUT", "/metrics/job/a", "x{instance=\"i\"} 2\n")
	if got := g.scrape(); !strings.Contains(got, "x{instance=\"i\",job=\"a\"} 1\n") {
		t.Errorf("the first series is gone:\n%s", got)
	}
}

func TestALabelThatIsNotUTF8NeverReachesTheStore(t *testing.T) {
	g := start(t)
	for _, path := range []string{
		"/metrics/job/bad/l@base64/__4", "/metrics/job/bad/l/%ff", "/metrics/job@base64/__4",
		"/metrics/job/%ff",
	} {
		for _, method := range []string{"PUT", "POST", "DELETE"} {
			if a := g.must(http.StatusBadRequest, method, path, "x 1\n"); !strings.Contains(a.body, "not valid UTF-8") {
				t.Errorf("%s %s: want the reason, got %q", method, path, a.body)
			}
		}
	}
	if n := g.replica.applied(); n != 0 {
		t.Errorf("%d commands were replicated, want none", n)
	}
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "")
	if want, got := times(1, 0), g.scrape(); got != want {
		t.Errorf("want\n%s\ngot\n%s", want, got)
	}
}

func TestAWipeIsOneCommand(t *testing.T) {
	g := start(t)
	for i := range 100 {
		g.must(http.StatusOK, "PUT", "/metrics/job/a/n/"+strconv.Itoa(i), "x 1\n")
	}
	before := g.replica.applied()
	g.must(http.StatusAccepted, "PUT", "/api/v1/admin/wipe", "")
	if n := g.replica.applied() - before; n != 1 {
		t.Errorf("the wipe took %d commands, want 1", n)
	}
	if got := g.scrape(); got != "" {
		t.Errorf("want an empty page, got\n%s", got)
	}
}

func TestAnIdempotencyKeyIsAppliedOnce(t *testing.T) {
	g := start(t)
	key := []string{"Idempotency-Key", "nightly-42"}
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "x 1\n", key...)
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "x 2\n")
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "x 1\n", key...) // must not undo the one between
	if want, got := times(2, 0)+"x{instance=\"\",job=\"a\"} 2\n", g.scrape(); got != want {
		t.Errorf("want\n%s\ngot\n%s", want, got)
	}
	g.must(http.StatusUnprocessableEntity, "PUT", "/metrics/job/a", "x 3\n", key...)
	g.must(http.StatusUnprocessableEntity, "PUT", "/metrics/job/a", "x 3 1000\n", key...)
	g.must(http.StatusUnprocessableEntity, "DELETE", "/metrics/job/a", "", key...)
	g.must(http.StatusUnprocessableEntity, "PUT", "/api/v1/admin/wipe", "", key...)

	long := strings.Repeat("k", maxIdempotencyKey)
	g.must(http.StatusAccepted, "DELETE", "/metrics/job/b", "", "Idempotency-Key", long)
	for method, path := range map[string]string{
		"DELETE": "/metrics/job/b", "POST": "/metrics/job/b",
		"PUT": "/api/v1/admin/wipe",
	} {
		if a := g.must(http.StatusBadRequest, method, path, "", "Idempotency-Key", long+"k"); !strings.Contains(a.body,
			"at most 255") {
			t.Errorf("%s %s: want the limit, got %q", method, path, a.body)
		}
	}
}
