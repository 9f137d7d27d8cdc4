package test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/push"
	"github.com/prometheus/common/expfmt"
)

func TestClientGolangPushesAddsAndDeletes(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	for name, format := range map[string]expfmt.Format{
		"protobuf": expfmt.NewFormat(expfmt.TypeProtoDelim),
		"text":     expfmt.NewFormat(expfmt.TypeTextPlain),
	} {
		t.Run(name, func(t *testing.T) {
			// No blank: the client writes it as +, which is no blank in a path, to a Pushgateway either.
			for key, grouping := range map[string]struct{ value, series string }{
				"plain":            {"test", `env="test"`},
				"with slashes":     {"/var/tmp", `env="/var/tmp"`},
				"empty":            {"", `env=""`},
				"beyond ASCII":     {"東京☂", `env="東京☂"`},
				"what base64 ends": {"a", `env="a"`},
				"a quote":          {`"hi"`, `env="\"hi\""`},
			} {
				t.Run(key, func(t *testing.T) {
					pushLikeAJob(t, c, name, format, grouping.value, grouping.series)
				})
			}
		})
	}
	c.mustAgree()
}

// pushLikeAJob pushes, adds and deletes, each on another replica.
func pushLikeAJob(t *testing.T, c *clusterOf, job string, format expfmt.Format, value, label string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), clientTimeout)
	defer cancel()
	completed := prometheus.NewGauge(prometheus.GaugeOpts{Name: "e2e_go_completed", Help: "A gauge."})
	completed.Set(1)
	duration := prometheus.NewHistogram(
		prometheus.HistogramOpts{Name: "e2e_go_duration_seconds", Help: "A histogram.", Buckets: []float64{1, 10}})
	duration.Observe(2)
	client := func(i int) *push.Pusher {
		return push.New("http://"+c.at(i).web, "go/"+job).Grouping("env", value).Format(format)
	}
	series := func(name, more string) string {
		return name + `{` + label + `,instance="",job="go/` + job + `"` + more + `}`
	}

	if err := client(0).Collector(completed).Collector(duration).PushContext(ctx); err != nil {
		t.Fatal(err)
	}
	scrape := c.at(1).scrape()
	mustHave(t, scrape, series("e2e_go_completed", ""), "1")
	mustHave(t, scrape, series("e2e_go_duration_seconds_bucket", `,le="10"`), "1")

	completed.Set(2)
	if err := client(1).Collector(completed).AddContext(ctx); err != nil {
		t.Fatal(err)
	}
	scrape = c.at(2).scrape()
	mustHave(t, scrape, series("e2e_go_completed", ""), "2")
	mustHave(t, scrape, series("e2e_go_duration_seconds_sum", ""), "2")

	if err := client(2).Collector(completed).PushContext(ctx); err != nil {
		t.Fatal(err)
	}
	if _, ok := samples(t, c.at(0).scrape())[series("e2e_go_duration_seconds_sum", "")]; ok {
		t.Error("Push has not replaced the group")
	}

	if err := client(0).Delete(); err != nil {
		t.Fatal(err)
	}
	if _, ok := samples(t, c.at(1).scrape())[series("push_time_seconds", "")]; ok {
		t.Error("Delete has left the group")
	}
}

func TestClientPythonPushesAddsAndDeletes(t *testing.T) {
	t.Parallel()
	need(t, python)
	if code, _, errs := runProcess(t, "", python, "-c", "import prometheus_client"); code != 0 {
		missing(t, "prometheus_client for "+python, "Debian has it in: python3-prometheus-client\n"+errs)
	}
	c := startCluster(t)
	script := func(i int, body string) {
		t.Helper()
		began := time.Now()
		code, out, errs := runProcess(t, pythonPrelude+body, python, "-", c.at(i).web)
		if code != 0 {
			t.Fatalf("python: exit code %d after %s\n%s%s", code, time.Since(began), out, errs)
		}
	}

	script(0, `
push_to_gateway(gateway, job='py/batch', registry=registry(1, 5))
for key in keys:
    push_to_gateway(gateway, job='keys', grouping_key=key, registry=registry(2, 6))
`)
	scrape := c.at(1).scrape()
	mustHave(t, scrape, `e2e_py_completed{instance="",job="py/batch"}`, "1")
	mustHave(t, scrape, `e2e_py_rows_total{instance="",job="py/batch"}`, "5")
	for _, label := range pythonLabels {
		mustHave(t, scrape, `e2e_py_completed{instance="",job="keys",`+label+`}`, "2")
	}

	script(1, `
pushadd_to_gateway(gateway, job='py/batch', registry=only_completed(3))
`)
	scrape = c.at(2).scrape()
	mustHave(t, scrape, `e2e_py_completed{instance="",job="py/batch"}`, "3")
	mustHave(t, scrape, `e2e_py_rows_total{instance="",job="py/batch"}`, "5")

	script(2, `
push_to_gateway(gateway, job='py/batch', registry=only_completed(4))
for key in keys:
    delete_from_gateway(gateway, job='keys', grouping_key=key)
`)
	scrape = c.at(0).scrape()
	mustHave(t, scrape, `e2e_py_completed{instance="",job="py/batch"}`, "4")
	mustLack(t, scrape, "e2e_py_rows_total")
	mustLack(t, scrape, `job="keys"`)

	// A refusal reaches the script as an exception that names the status.
	code, _, errs := runProcess(t, pythonPrelude+`
push_to_gateway(gateway, job='py/batch', grouping_key={'not-a-name': 'x'}, registry=only_completed(5))
`, python, "-", c.at(0).web)
	if code == 0 {
		t.Error("a push with a bad label name raised nothing")
	}
	mustContain(t, errs, "400")
	c.mustAgree()
}

var pythonLabels = []string{`path="/var/tmp"`, `path=""`, `path="東京"`, `path="a+b"`, `path="plain"`}

const pythonPrelude = `
import sys
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client import push_to_gateway, pushadd_to_gateway, delete_from_gateway

gateway = sys.argv[1]
keys = [{'path': v} for v in ['/var/tmp', '', '東京', 'a+b', 'plain']]

def only_completed(value):
    r = CollectorRegistry()
    Gauge('e2e_py_completed', 'A gauge.', registry=r).set(value)
    return r

def registry(value, rows):
    r = only_completed(value)
    Counter('e2e_py_rows', 'A counter.', registry=r).inc(rows)
    return r
`
