package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheCommandsOfTheHandbookWorkAsWritten runs the commands of the page that this project began with
// (prometheus/monitor/pushgateway, section 2), with real curl in a real shell. Only the port is another.
func TestTheCommandsOfTheHandbookWorkAsWritten(t *testing.T) {
	t.Parallel()
	need(t, "curl")
	r := startReplica(t, "--web.enable-admin-api")
	// run fails the test when the command fails; curl itself does not fail for a status, and so the scrapes tell.
	run := func(command string) {
		t.Helper()
		here := strings.ReplaceAll(command, "127.0.0.1:9091", r.web)
		if code, out, errs := runProcess(t, "", "sh", "-c", here); code != 0 || out != "" {
			t.Fatalf("%s: exit code %d\n%s%s", command, code, out, errs)
		}
	}
	const (
		mine     = `{instance="",job="my_job"}`
		deployed = `{env="test",instance="host01",job="my_job"}`
	)

	run(`echo "metrics_01 1.0" | curl --data-binary @-  http://127.0.0.1:9091/metrics/job/my_job`)
	run(`echo "metrics_02 2.0" | curl --data-binary @- http://127.0.0.1:9091/metrics/job/my_job`)
	mustHave(t, r.scrape(), "metrics_01"+mine, "1")
	mustHave(t, r.scrape(), "metrics_02"+mine, "2")

	run(`echo "metrics_01 1.0" | curl --data-binary @- ` +
		`http://127.0.0.1:9091/metrics/job/my_job/instance/host01/env/test`)
	mustHave(t, r.scrape(), "metrics_01"+deployed, "1")

	run(`curl -X DELETE http://127.0.0.1:9091/metrics/job/my_job`)
	mustLack(t, r.scrape(), mine)
	mustHave(t, r.scrape(), "metrics_01"+deployed, "1")

	// This deletes the group of exactly these labels, which the page has not pushed: the one with env="test" stays.
	run(`echo "metrics_01 1.0" | curl --data-binary @- http://127.0.0.1:9091/metrics/job/my_job/instance/host01`)
	run(`curl -X DELETE http://127.0.0.1:9091/metrics/job/my_job/instance/host01`)
	mustLack(t, r.scrape(), `{instance="host01",job="my_job"}`)
	mustHave(t, r.scrape(), "metrics_01"+deployed, "1")

	run(`curl -X PUT http://127.0.0.1:9091/api/v1/admin/wipe`)
	if left := pushedLines(r.scrape()); len(left) != 0 {
		t.Fatalf("after the wipe there is still: %v", left)
	}
}

// scrapeConfig is the page's section 4. Its series are scraped by a real Prometheus in the test after this one.
const scrapeConfig = `global:
  external_labels:
    prometheus: prom-xxx
scrape_configs:
- job_name: pushgateway
  scrape_interval: 5m
  honor_labels: true
  static_configs:
  - targets:
    - "localhost:9091"
`

func TestTheScrapeConfigOfTheHandbookIsValid(t *testing.T) {
	t.Parallel()
	promtool := need(t, "promtool")
	file := filepath.Join(t.TempDir(), "prometheus.yml")
	if err := os.WriteFile(file, []byte(scrapeConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := runProcess(t, "", promtool, "check", "config", file); code != 0 {
		t.Fatalf("promtool check config: exit code %d\n%s%s", code, out, errs)
	}
}
