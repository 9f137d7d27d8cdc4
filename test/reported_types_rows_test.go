package test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protodelim"
)

const (
	untypedCPU = "process_cpu_seconds_total 70\n"
	counterCPU = "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1\n"
)

// reportedTypesRows are pushes that people have sent and could not tell what was wrong with: clashes of types and
// names.
var reportedTypesRows = []row{
	{name: "a process metric without its type, and then those of a client", steps: []step{
		put("/metrics/job/script", untypedCPU), put("/metrics/job/client", counterCPU),
		put("/metrics/job/client/instance/i", counterCPU),
	}},
	{name: "a process metric with another type among others", steps: []step{
		put("/metrics/job/script",
			gauge("m", 1)+"# TYPE process_cpu_seconds_total gauge\nprocess_cpu_seconds_total 1\n"),
	}},
	{
		name:     "a metric that this gateway alone has, without its type",
		steps:    []step{put("/metrics/job/a", "pushquorum_groups 1\n")},
		differs:  "a Pushgateway has no metric of that name",
		statuses: []int{http.StatusBadRequest},
		lines:    scraped("", `instance="",job="a" 0 <time>`),
	},
	{name: "many metrics with other types than in many groups", steps: []step{
		put("/metrics/job/a", "x 1\ny 1\n"), put("/metrics/job/b", "x 1\n"), put("/metrics/job/c", "y 1\n"),
		put("/metrics/job/d", "# TYPE x gauge\nx 1\n# TYPE y counter\ny 1\n"),
	}},
	{name: "another type, and the groups deleted that are named", steps: []step{
		put("/metrics/job/a/path@base64/L3Zhcg", "x 1\n"), put("/metrics/job/b", "# TYPE x gauge\nx 1\n"),
		del("/metrics/job/a/path@base64/L3Zhcg"), put("/metrics/job/b", "# TYPE x gauge\nx 1\n"),
	}},
	{name: "two instances in the body of a group that has one", steps: []step{
		put("/metrics/job/j/instance/x", "m{instance=\"a\"} 1\nm{instance=\"b\"} 2\n"),
		put("/metrics/job/j", "m{instance=\"a\"} 1\nm{instance=\"b\"} 2\n"),
	}},
	{name: "a series with an empty instance and without one", steps: []step{put("/metrics/job/j",
		"m{instance=\"\"} 1\nm 2\n")}},
	{name: "a family twice with two types", steps: []step{
		put("/metrics/job/j", "# TYPE m gauge\nm 1\n# TYPE m counter\nm{x=\"1\"} 1\n"),
	}},
}

// What the refused are told: which metric or series, who else has it, and what to do.
func TestARefusedPushIsToldWhoIsInTheWayAndWhatToDo(t *testing.T) {
	t.Parallel()
	r := startReplica(t)
	for i, stored := range []struct{ path, body string }{
		{"/metrics/job/a/instance/i", "x 1\nh_count 1\n"}, {"/metrics/job/b", "x 1\n"},
	} {
		put := request{method: http.MethodPut, url: r.url(stored.path), body: stored.body}
		if a := mustDo(t, http.StatusOK, put); a.body != "" {
			t.Fatalf("push %d: %s", i, a)
		}
	}
	for _, refused := range []struct{ path, body, says string }{
		{"/metrics/job/c", untypedCPU, `"process_cpu_seconds_total" is pushed as untyped, but is a counter of this ` +
			`gateway itself: ` +
			`push with that type, as by "# TYPE process_cpu_seconds_total counter", or under another name`},
		{"/metrics/job/c", "# TYPE x gauge\nx 1\n", `"x" is pushed as gauge, but stored as untyped; held by ` +
			`/metrics/job/a/instance/i, /metrics/job/b: ` +
			`push what is stored, as by "# TYPE x untyped", or DELETE those groups first`},
		{"/metrics/job/c", histogram, `the samples of the histogram "h" collide with the stored untyped "h_count"; ` +
			`held by /metrics/job/a/instance/i: push under another name`},
		{"/metrics/job/a", "x{instance=\"i\"} 1\n", `series x{instance="i",job="a"} was pushed before with the same ` +
			`name and labels to /metrics/job/a/instance/i: push it there`},
		{
			"/metrics/job/j/instance/x", "m{instance=\"a\"} 1\nm{instance=\"b\"} 2\n",
			`the grouping label "instance" ("x") of the path replaced the values in the body ("a", "b"), which made ` +
				`2 series of "m" the same: leave the label out of the path, or push each to a group of its own`,
		},
		{"/metrics/job/j", "m 1\nm 2\n", `m{instance="",job="j"} is given twice: give each series once`},
	} {
		a := mustDo(t, http.StatusBadRequest,
			request{method: http.MethodPut, url: r.url(refused.path), body: refused.body})
		if !strings.Contains(a.body, refused.says) {
			t.Errorf("%q to %s\nwant %s\nin   %s", refused.body, refused.path, refused.says, a.body)
		}
	}
}

// One script must not lock out all clients that push the metrics of their processes, on whichever replica it comes.
func TestNobodyTakesTheTypeOfAProcessMetric(t *testing.T) {
	t.Parallel()
	need(t, python)
	if code, _, errs := runProcess(t, "", python, "-c", "import prometheus_client"); code != 0 {
		missing(t, "prometheus_client for "+python, "Debian has it in: python3-prometheus-client\n"+errs)
	}
	c := startCluster(t)
	for _, r := range c.replicas {
		a := mustDo(t, http.StatusBadRequest,
			request{method: http.MethodPut, url: r.url("/metrics/job/script"), body: untypedCPU})
		mustContain(
			t, a.body, `"process_cpu_seconds_total" is pushed as untyped, but is a counter of this gateway itself`)
	}
	for _, r := range c.replicas {
		code, out, errs := runProcess(t, `
import sys
from prometheus_client import CollectorRegistry, ProcessCollector, push_to_gateway
registry = CollectorRegistry()
ProcessCollector(registry=registry)
push_to_gateway(sys.argv[1], job='python', grouping_key={'instance': sys.argv[2]}, registry=registry)
`, python, "-", r.web, r.name)
		if code != 0 {
			t.Fatalf("%s: python: exit code %d\n%s%s", r.name, code, out, errs)
		}
	}
	page := c.mustAgree()
	for _, r := range c.replicas {
		mustContain(t, page, `process_cpu_seconds_total{instance="`+r.name+`",job="python"} `)
	}
}

// A Prometheus 3 has jobs that ask for native histograms, which come in protobuf, and jobs that do not.
func TestPrometheus3GetsTheSameNamesWithAndWithoutNativeHistograms(t *testing.T) {
	t.Parallel()
	const (
		plain = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6," +
			"application/openmetrics-text;version=0.0.1;q=0.5," +
			"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
		native = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6," +
			"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5," +
			"application/openmetrics-text;version=0.0.1;q=0.4," +
			"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
	)
	r := startReplica(t, "--push.enable-utf8-names", "--web.include-self-metrics=false")
	r.push("/metrics/job/a", "# TYPE \"e2e.größe\" gauge\n{\"e2e.größe\",\"k8s.io/x\"=\"1\"} 1\n")
	text := mustDo(t, http.StatusOK, request{url: r.url("/metrics"), header: map[string]string{"Accept": plain}})
	mustContain(t, text.body, `{"e2e.größe",instance="",job="a","k8s.io/x"="1"} 1`)
	proto := mustDo(t, http.StatusOK, request{url: r.url("/metrics"), header: map[string]string{"Accept": native}})
	var family dto.MetricFamily
	if err := protodelim.UnmarshalFrom(bytes.NewReader([]byte(proto.body)), &family); err != nil {
		t.Fatalf("%s: %v", proto.header.Get("Content-Type"), err)
	}
	if family.GetName() != "e2e.größe" || family.GetMetric()[0].GetLabel()[2].GetName() != "k8s.io/x" {
		t.Errorf("%s has another name: %v", proto.header.Get("Content-Type"), &family)
	}
}
