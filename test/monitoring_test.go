package test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pushquorum/test/local"
)

const monitoring = "../deploy/monitoring/"

// readFile is the text of a file.
func readFile(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// absolute is a path for programs that run elsewhere.
func absolute(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func matches(pattern, text string) []string {
	var found []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		found = append(found, m[len(m)-1])
	}
	return found
}

// TestEveryAlertIsTriedAndExplained has promtool try the alerts, and looks that none of them is untried or lacks its
// chapter in the runbooks.
func TestEveryAlertIsTriedAndExplained(t *testing.T) {
	t.Parallel()
	promtool := need(t, "promtool")
	code, out, errs := runProcess(t, "", promtool, "test", "rules", absolute(t, monitoring+"rules_test.yaml"))
	if code != 0 {
		t.Fatalf("promtool test rules: exit code %d\n%s%s", code, out, errs)
	}
	alerts := matches(`- alert: (\w+)`, readFile(t, monitoring+"rules.yaml"))
	if len(alerts) == 0 {
		t.Fatal("no alert was found in rules.yaml")
	}
	tried := readFile(t, monitoring+"rules_test.yaml")
	quiet, firing := matches(`- \{eval_time: \w+, alertname: (\w+)\}`, tried),
		matches(`alertname: (\w+)\n +exp_alerts:`, tried)
	chapters := matches(`(?m)^## (\w+)$`, readFile(t, monitoring+"runbooks.md"))
	for _, alert := range alerts {
		if !slices.Contains(quiet, alert) {
			t.Errorf("rules_test.yaml does not show that %s is quiet while all is well", alert)
		}
		if !slices.Contains(firing, alert) {
			t.Errorf("rules_test.yaml does not show that %s fires", alert)
		}
	}
	if !slices.Equal(chapters, alerts) {
		t.Errorf("the chapters of runbooks.md are %v, want one for each alert in the order of rules.yaml: %v",
			chapters, alerts)
	}
	if links := matches(`runbook: runbooks.md#(\w+)`, readFile(t, monitoring+"rules.yaml")); !slices.Equal(links,
		lower(alerts)) {
		t.Errorf("the alerts lead to the chapters %v, want %v", links, lower(alerts))
	}
}

func lower(names []string) []string {
	out := slices.Clone(names)
	for i := range out {
		out[i] = strings.ToLower(out[i])
	}
	return out
}

// TestWhatIsWatchedIsThere has a real Prometheus scrape three replicas that are used. It asks each query of the
// dashboards, looks that each metric of the alerts is there, runs the commands of the runbooks, and takes the majority
// away.
func TestWhatIsWatchedIsThere(t *testing.T) {
	t.Parallel()
	need(t, "prometheus")
	c := startCluster(t, "--limit.groups=1000", "--limit.series=10000")
	stop := useForMonitoring(t, c)
	prom := startMonitoring(t, c)

	t.Run("dashboards", func(t *testing.T) {
		for _, file := range []string{"cluster.json", "jobs.json"} {
			for _, p := range panelsOf(t, file) {
				t.Run(p.Title, func(t *testing.T) { prom.mustShow(t, &p) })
			}
		}
	})
	t.Run("alerts", func(t *testing.T) {
		for _, name := range slices.Compact(slices.Sorted(slices.Values(matches(`\b(push(?:quorum)?_[a-z_]+)`,
			exprs(readFile(t, monitoring+"rules.yaml")))))) {
			eventually(t, 30*time.Second, "have "+name, func() error {
				if len(prom.query(t, name)) == 0 {
					return fmt.Errorf("no series has this name")
				}
				return nil
			})
		}
	})
	t.Run("runbooks", func(t *testing.T) {
		bash := need(t, "bash")
		need(t, "curl")
		need(t, "jq")
		where := fmt.Sprintf("export URL=%s REPLICAS='%[1]s %s %s'\n",
			c.at(0).url(""), c.at(1).url(""), c.at(2).url(""))
		for _, block := range matches("(?s)```bash\n(.*?)```", readFile(t, monitoring+"runbooks.md")) {
			code, out, errs := runProcess(t, where+block, bash, "-euo", "pipefail", "-s")
			if code != 0 || errs != "" ||
				strings.TrimSpace(out) == "" && !strings.Contains(block, "DELETE") &&
					!strings.Contains(block, "export") {
				t.Errorf("exit code %d, output %q, errors %q of\n%s", code, out, errs, block)
			}
		}
	})
	t.Run("no majority", func(t *testing.T) {
		stop()
		for _, lost := range c.followers() {
			lost.kill()
		}
		for _, alert := range []string{"PushQuorumNoQuorum", "PushQuorumReplicaMissing"} {
			eventually(t, 60*time.Second, "raise "+alert, func() error {
				if len(prom.query(t, `ALERTS{alertname="`+alert+`"}`)) == 0 {
					return fmt.Errorf("it is neither pending nor firing")
				}
				return nil
			})
		}
	})
}

// exprs are the expressions of a file of rules, without what is said about them.
func exprs(rules string) string {
	return strings.Join(matches(`(?s)\n {8}expr: (.*?)\n {8}\w`, rules), "\n")
}

// useForMonitoring pushes to more jobs than any panel shows, one of which fails, until the returned function is called.
func useForMonitoring(t *testing.T, c *clusterOf) (stop func()) {
	t.Helper()
	end, ended := make(chan struct{}), make(chan struct{})
	round := func(i int) {
		for job := range 25 {
			path := fmt.Sprintf("/metrics/job/job%d/instance/i", job)
			_, _ = do(request{
				method: http.MethodPut, url: c.at(i + job).url(path),
				body: gauge("m", i) + gauge(fmt.Sprintf("m%d", job), i),
			})
			_, _ = do(request{
				method: http.MethodPost, url: c.at(i + job).url(path + "/failing/yes"), body: "# TYPE m counter\nm 1\n",
			})
		}
	}
	go func() {
		defer close(ended)
		for i := 1; ; i++ {
			round(i)
			select {
			case <-end:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	var stopped bool
	stop = func() {
		if !stopped {
			stopped = true
			close(end)
			<-ended
		}
	}
	t.Cleanup(stop)
	return stop
}

// startMonitoring starts a Prometheus with the alerts, which scrapes the own metrics of all replicas, and what is
// pushed from one.
func startMonitoring(t *testing.T, c *clusterOf) *prometheusServer {
	t.Helper()
	dir := t.TempDir()
	p := &prometheusServer{web: local.Address(freePort(t)), config: filepath.Join(dir, "prometheus.yml")}
	config := fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
- job_name: pushquorum
  metrics_path: /-/metrics
  static_configs: [{targets: [%s, %s, %s]}]
- job_name: pushed
  honor_labels: true
  static_configs: [{targets: [%s]}]
`, absolute(t, monitoring+"rules.yaml"), c.at(0).web, c.at(1).web, c.at(2).web, c.leader().web)
	if err := os.WriteFile(p.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	p.process = startProcess(
		t, "prometheus", need(t, "prometheus"), "--config.file="+p.config,
		"--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+p.web, "--log.level=warn",
	)
	awaitHTTP(t, p.process, "http://"+p.web+"/-/ready")
	return p
}

// panel is what is tried of a Grafana panel.
type panel struct {
	Title, Type, Description string
	Collapsed                bool
	Panels                   []panel
	Targets                  []struct {
		Expr         string
		LegendFormat string
	}
	asked bool // only while its row is open
}

// panelsOf are the panels of a dashboard that show something.
func panelsOf(t testing.TB, file string) []panel {
	t.Helper()
	var board struct{ Panels []panel }
	if err := json.Unmarshal([]byte(readFile(t, monitoring+"dashboards/"+file)), &board); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var shown []panel
	for _, p := range board.Panels {
		for _, inner := range p.Panels {
			inner.asked = p.Collapsed
			shown = append(shown, inner)
		}
		if p.Type != "row" {
			shown = append(shown, p)
		}
	}
	if len(shown) < 10 {
		t.Fatalf("%s has only %d panels", file, len(shown))
	}
	return shown
}

// mustShow asks the queries of a panel until each has data, and looks that there are no more lines than the panel says
// there are, and that whoever reads every series says so and is not asked unless a person opens it.
func (p *prometheusServer) mustShow(t *testing.T, panel *panel) {
	t.Helper()
	said := matches(`At most (\d+) lines?\b`, panel.Description)
	if len(said) != 1 {
		t.Fatalf("its description does not say how many lines there are at most: %q", panel.Description)
	}
	most, _ := strconv.Atoi(said[0])
	lines := 0
	for _, target := range panel.Targets {
		if readsAll := regexp.MustCompile(`[(\s]\{`).MatchString(target.Expr); readsAll &&
			(!panel.asked || !strings.Contains(panel.Description, "Reads every series")) {
			t.Errorf("%s reads every series: say so, and put it into a collapsed row", target.Expr)
		}
		expr := strings.NewReplacer("$namespace", ".*", "$job", ".+", "$__rate_interval", "20s").Replace(target.Expr)
		if strings.Contains(expr, "$") {
			t.Fatalf("%s has a variable that is not known", target.Expr)
		}
		var got []float64
		eventually(t, 60*time.Second, "have data for "+target.Expr, func() error {
			got = slices.DeleteFunc(p.query(t, expr), math.IsNaN)
			if len(got) == 0 {
				return fmt.Errorf("no data")
			}
			return nil
		})
		lines += len(got)
	}
	if lines > most {
		t.Errorf("it shows %d lines and says: %s", lines, panel.Description)
	}
}

// query returns the values of an instant query.
func (p *prometheusServer) query(t testing.TB, expr string) []float64 {
	t.Helper()
	var result struct {
		Result []struct {
			Value [2]any `json:"value"`
		} `json:"result"`
	}
	p.get(t, "/api/v1/query?query="+url.QueryEscape(expr), &result)
	values := make([]float64, len(result.Result))
	for i, s := range result.Result {
		v, err := strconv.ParseFloat(fmt.Sprint(s.Value[1]), 64)
		if err != nil {
			t.Fatalf("%s: %v", expr, err)
		}
		values[i] = v
	}
	return values
}
