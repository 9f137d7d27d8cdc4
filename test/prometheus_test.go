package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pushquorum/test/local"
)

// TestPrometheusSeesTheSameSeriesFromAnyReplica has a real Prometheus scrape one replica, then another, then lose the
// first: the series stay the same ones, with the same labels.
func TestPrometheusSeesTheSameSeriesFromAnyReplica(t *testing.T) {
	t.Parallel()
	need(t, "prometheus")
	c := startCluster(t)
	c.at(0).push("/metrics/job/nightly/env/test", everyType)
	c.at(1).push("/metrics/job/nightly/instance/host01", gauge("e2e_gauge", 1))
	c.at(2).push("/metrics/job@base64/bmlnaHRseS9kYg/path@base64/L3Zhcg", gauge("e2e_gauge", 2))

	prom := startPrometheus(t, c.at(0).web)
	pushed := len(samples(t, c.at(0).scrape()))
	var first map[string]string
	eventually(t, 30*time.Second, "scrape every series of r1", func() error {
		first = prom.series(t)
		if len(first) != pushed {
			return fmt.Errorf("want the %d series of the scrape, got %d: %v",
				pushed, len(first), slices.Sorted(maps.Keys(first)))
		}
		return nil
	})
	if got := first[`e2e_gauge{instance="host01",job="nightly"}`]; got != "1" {
		t.Errorf("honor_labels: want the group's instance and job, got %v", slices.Sorted(maps.Keys(first)))
	}

	prom.scrapeInstead(t, c.at(1).web)
	c.at(0).kill()
	// A value that only a scrape of r2 can have seen.
	eventually(t, readyWithin, "push after the loss of r1", func() error {
		a, err := do(request{
			method: http.MethodPut, url: c.at(2).url("/metrics/job/nightly/instance/host01"),
			body: gauge("e2e_gauge", 3),
		})
		if err != nil || a.status != http.StatusOK {
			return fmt.Errorf("%s (%w)", a, err)
		}
		return nil
	})
	var second map[string]string
	eventually(t, 30*time.Second, "scrape the new value from r2", func() error {
		second = prom.series(t)
		if got := second[`e2e_gauge{instance="host01",job="nightly"}`]; got != "3" {
			return fmt.Errorf("e2e_gauge is %q", got)
		}
		return nil
	})
	first[`e2e_gauge{instance="host01",job="nightly"}`] = "3"
	delete(first, `push_time_seconds{instance="host01",job="nightly"}`)
	delete(second, `push_time_seconds{instance="host01",job="nightly"}`)
	if !maps.Equal(first, second) {
		t.Errorf("the series from r2 are not those from r1:\n- %v\n+ %v", first, second)
	}
}

type prometheusServer struct {
	*process
	web    string
	config string
}

func startPrometheus(t testing.TB, target string) *prometheusServer {
	t.Helper()
	dir := t.TempDir()
	p := &prometheusServer{web: local.Address(freePort(t)), config: filepath.Join(dir, "prometheus.yml")}
	p.write(t, target)
	p.process = startProcess(
		t, "prometheus", need(t, "prometheus"), "--config.file="+p.config,
		"--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+p.web, "--web.enable-lifecycle", "--log.level=warn",
	)
	awaitHTTP(t, p.process, "http://"+p.web+"/-/ready")
	return p
}

// write is the handbook's scrape config, with another target and less patience.
func (p *prometheusServer) write(t testing.TB, target string) {
	t.Helper()
	config := strings.NewReplacer("5m", "500ms", "localhost:9091", target).Replace(scrapeConfig)
	if err := os.WriteFile(p.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (p *prometheusServer) scrapeInstead(t testing.TB, target string) {
	t.Helper()
	p.write(t, target)
	mustDo(t, http.StatusOK, request{method: http.MethodPost, url: "http://" + p.web + "/-/reload"})
	eventually(t, 30*time.Second, "scrape "+target+" and nothing else", func() error {
		var targets struct {
			ActiveTargets []struct {
				ScrapeURL string `json:"scrapeUrl"`
				Health    string `json:"health"`
			} `json:"activeTargets"`
		}
		p.get(t, "/api/v1/targets", &targets)
		if a := targets.ActiveTargets; len(a) != 1 || a[0].Health != "up" ||
			a[0].ScrapeURL != "http://"+target+"/metrics" {
			return fmt.Errorf("targets %+v", a)
		}
		return nil
	})
}

// series are all current series of the pushed groups with their values, written as in a scrape.
func (p *prometheusServer) series(t testing.TB) map[string]string {
	t.Helper()
	var result struct {
		Result []struct {
			Metric map[string]string `json:"metric"`
			Value  [2]any            `json:"value"`
		} `json:"result"`
	}
	query := url.QueryEscape(`{__name__=~"e2e_.+|push_.+",__name__!~"pushquorum_.*"}`)
	p.get(t, "/api/v1/query?query="+query, &result)
	out := map[string]string{}
	for _, s := range result.Result {
		name := s.Metric["__name__"]
		delete(s.Metric, "__name__")
		var labels []string
		for _, label := range slices.Sorted(maps.Keys(s.Metric)) {
			labels = append(labels, fmt.Sprintf("%s=%q", label, s.Metric[label]))
		}
		out[name+"{"+strings.Join(labels, ",")+"}"] = fmt.Sprint(s.Value[1])
	}
	return out
}

func (p *prometheusServer) get(t testing.TB, path string, data any) {
	t.Helper()
	a := mustDo(t, http.StatusOK, request{url: "http://" + p.web + path})
	body := struct {
		Data any `json:"data"`
	}{data}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
}
