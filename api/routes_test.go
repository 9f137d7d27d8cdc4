package api

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestOtherPathsAnswerAsInThePushgateway was written down from a running Pushgateway 1.11.3.
func TestOtherPathsAnswerAsInThePushgateway(t *testing.T) {
	const put = "DELETE, OPTIONS, POST, PUT"
	for _, test := range []struct {
		method, path string
		code         int
		location     string
		allow        string
		body         string
	}{
		{"PUT", "//metrics/job/a", 307, "/metrics/job/a", "", ""},
		{"PUT", "/metrics//job/a?b=c&d", 307, "/metrics/job/a?b=c&d", "", ""},
		{"PUT", "/metrics/job//b/c", 307, "/metrics/job/b/c", "", ""},
		{"POST", "/metrics/job/a//b/c", 307, "/metrics/job/a/b/c", "", ""},
		{"DELETE", "/metrics/job/a/../b", 307, "/metrics/job/b", "", ""},
		{"PUT", "/metrics/job/..", 307, "/metrics", "", ""},
		{"PUT", "/METRICS/job/a", 307, "/metrics/job/a", "", ""},
		{"PUT", "/metrics/JOB/a", 307, "/metrics/job/a", "", ""},
		{"PUT", "/metrics/job/", 404, "", "", "404 page not found\n"},
		{"PUT", "/metrics/job@base64/", 404, "", "", "404 page not found\n"},
		{"PUT", "/metrics/jobs/a", 404, "", "", "404 page not found\n"},
		{"GET", "/metrics/job/a", 405, "", put, "Method Not Allowed\n"},
		{"PATCH", "/metrics/job/a/b/c", 405, "", put, "Method Not Allowed\n"},
		{"HEAD", "/metrics/job@base64/YQ", 405, "", put, ""},
		{"OPTIONS", "/metrics/job/a", 200, "", put, ""},
		{"GET", "//metrics", 307, "/metrics", "", "<a href=\"/metrics\">Temporary Redirect</a>.\n\n"},
		{"GET", "/metrics/", 301, "/metrics", "", "<a href=\"/metrics\">Moved Permanently</a>.\n\n"},
		{"GET", "/Status", 301, "/status", "", "<a href=\"/status\">Moved Permanently</a>.\n\n"},
		{"GET", "/debug/pprof", 301, "/debug/pprof/", "", "<a href=\"/debug/pprof/\">Moved Permanently</a>.\n\n"},
		{"POST", "/metrics", 405, "", "GET, OPTIONS", "Method Not Allowed\n"},
		{"HEAD", "/metrics", 405, "", "GET, OPTIONS", ""},
		{"OPTIONS", "/metrics", 200, "", "GET, OPTIONS", ""},
		{"PUT", "/api/v1/metrics", 405, "", "GET, OPTIONS", "Method Not Allowed\n"},
		{"POST", "/api/v1/admin/wipe", 405, "", "OPTIONS, PUT", "Method Not Allowed\n"},
		{"GET", "/api/v1/nope", 404, "", "", "404 page not found\n"},
		{"OPTIONS", "/api/v1/nope", 200, "", "", ""},
		{"GET", "/nope", 404, "", "", "404 page not found\n"},
		{"OPTIONS", "/nope", 404, "", "", "404 page not found\n"},
		{"GET", "/static/nope", 404, "", "", "404 page not found\n"},
		{"GET", "/-/quit", 405, "", "", "Only POST or PUT requests allowed."},
		{"PUT", "/-/quit", 403, "", "", "Lifecycle API is not enabled."},
		{"POST", "/-/quit", 403, "", "", "Lifecycle API is not enabled."},
		{"DELETE", "/-/quit", 405, "", "GET, OPTIONS, POST, PUT", "Method Not Allowed\n"},
		{"GET", "/-/healthy", 200, "", "", "OK"},
		{"GET", "/-/ready", 200, "", "", "OK"},
		{"GET", "/debug/pprof/symbol", 200, "", "", "num_symbols: 1\n"},
	} {
		for _, prefix := range []string{"", "/some/prefix"} {
			t.Run(test.method+" "+prefix+test.path, func(t *testing.T) {
				g := start(t, func(c *Config) { c.RoutePrefix = prefix })
				path, location := prefix+test.path, test.location
				if location != "" {
					location = prefix + location
				}
				body := strings.ReplaceAll(test.body, `href="`, `href="`+prefix)
				a := g.do(test.method, path, "")
				if a.code != test.code || a.header.Get("Location") != location || a.header.Get("Allow") != test.allow || a.body != body {
					t.Errorf("want %d, location %q, allow %q, body %q, got %d, %q, %q, %q",
						test.code, location, test.allow, body, a.code, a.header.Get("Location"), a.header.Get("Allow"), a.body)
				}
				if prefix != "" {
					g.must(http.StatusNotFound, "PUT", "/metrics/job/a", "")
				}
			})
		}
	}
}

func TestTheTelemetryPathMovesOnlyTheScrapes(t *testing.T) {
	g := start(t, func(c *Config) { c.RoutePrefix, c.TelemetryPath = "/p", "/prom" })
	g.must(http.StatusOK, "PUT", "/p/metrics/job/a", "x 1\n")
	g.must(http.StatusNotFound, "GET", "/p/metrics", "")
	if a := g.must(http.StatusOK, "GET", "/p/prom", ""); !strings.Contains(a.body, "x{") {
		t.Errorf("want the pushed metric in\n%s", a.body)
	}
	for _, taken := range []string{"/", "/status", "/-/metrics", "/api/v1/status", "/static/x"} {
		registry := prometheus.NewRegistry()
		r := &replica{}
		if _, err := New(Config{Replica: r, Store: r, Registerer: registry, Gatherer: registry, TelemetryPath: taken}); err == nil || !strings.Contains(err.Error(), "--web.telemetry-path") {
			t.Errorf("telemetry path %s: want an error that names the flag, got %v", taken, err)
		}
	}
}

func TestTheAdminAPIIsOffUnlessEnabled(t *testing.T) {
	g := start(t, func(c *Config) { c.EnableAdmin = false })
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "x 1\n")
	g.must(http.StatusNotFound, "PUT", "/api/v1/admin/wipe", "")
	if n := g.replica.View().Len(); n != 1 {
		t.Errorf("want the group to be there, got %d groups", n)
	}
}

func TestQuitAsksOnce(t *testing.T) {
	asked := 0
	g := start(t, func(c *Config) { c.EnableLifecycle, c.Quit = true, func() { asked++ } })
	for _, method := range []string{"PUT", "POST"} {
		if a := g.must(http.StatusOK, method, "/-/quit", ""); a.body != "Requesting termination... Goodbye!" {
			t.Errorf("got %q", a.body)
		}
	}
	g.must(http.StatusMethodNotAllowed, "GET", "/-/quit", "")
	if asked != 1 {
		t.Errorf("asked to quit %d times, want once", asked)
	}
}

func TestHealthAndReadinessSayWhyNot(t *testing.T) {
	g := start(t)
	g.replica.ready, g.replica.healthy = errors.New("has not caught up"), errors.New("disk is full")
	if a := g.must(http.StatusServiceUnavailable, "GET", "/-/ready", ""); a.body != "has not caught up\n" {
		t.Errorf("got %q", a.body)
	}
	if a := g.must(http.StatusInternalServerError, "GET", "/-/healthy", ""); a.body != "disk is full\n" {
		t.Errorf("got %q", a.body)
	}
}

func TestTheRoutePrefixIsThePushgateways(t *testing.T) {
	for _, test := range []struct{ prefix, external, want string }{
		{"", "", ""},
		{"", "http://h", ""},
		{"", "http://h/", ""},
		{"", "http://h/a/b/", "/a/b"},
		{"/", "http://h/a", ""},
		{"a", "http://h/b", "/a"},
		{"/a/", "", "/a"},
		{"a/b", "", "/a/b"},
	} {
		external, err := url.Parse(test.external)
		if err != nil {
			t.Fatal(err)
		}
		if got := ComputeRoutePrefix(test.prefix, external); got != test.want {
			t.Errorf("prefix %q, external %q: want %q, got %q", test.prefix, test.external, test.want, got)
		}
	}
	if got := ComputeRoutePrefix("", nil); got != "" {
		t.Errorf("without a URL: want no prefix, got %q", got)
	}
}

func TestConfigurationsThatCannotWorkAreRefused(t *testing.T) {
	registry, r := prometheus.NewRegistry(), &replica{}
	good := Config{Replica: r, Store: r, Registerer: registry, Gatherer: registry}
	for name, change := range map[string]func(*Config){
		"no replica":          func(c *Config) { c.Replica = nil },
		"no store":            func(c *Config) { c.Store = nil },
		"no registerer":       func(c *Config) { c.Registerer = nil },
		"no gatherer":         func(c *Config) { c.Gatherer = nil },
		"unknown consistency": func(c *Config) { c.Read.Consistency = "eventual" },
		"nothing to quit":     func(c *Config) { c.EnableLifecycle = true },
	} {
		c := good
		change(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: want an error", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	if _, err := New(good); err == nil {
		t.Error("metrics registered twice: want an error")
	}
}
