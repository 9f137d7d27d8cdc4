package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TestOtherPathsAnswerAsInThePushgateway was written down from a running Pushgateway 1.11.3, but for the texts of 404
// and 405, for HEAD, and for who writes: he is not redirected.
func TestOtherPathsAnswerAsInThePushgateway(t *testing.T) {
	const (
		put    = "DELETE, OPTIONS, POST, PUT"
		get    = "GET, HEAD, OPTIONS"
		advice = "push to <prefix>/metrics/job/<JOB>{/<LABEL>/<VALUE>}\n"
	)
	for _, test := range []struct {
		method, path string
		code         int
		location     string
		allow        string
		body         string // or how it ends
	}{
		{"PUT", "/METRICS/job/a", 404, "", "", "use \"<prefix>/metrics/job/a\"\n"},
		{"POST", "/metrics/JOB/a", 404, "", "", "use \"<prefix>/metrics/job/a\"\n"},
		{"PUT", "/api/v1/admin/wipe/", 404, "", "", "use \"<prefix>/api/v1/admin/wipe\"\n"},
		{"POST", "/-/quit/", 404, "", "", "use \"<prefix>/-/quit\"\n"},
		{"PUT", "//api/v1/admin/wipe", 404, "", "", advice},
		{"PUT", "/metrics/jobs/a", 404, "", "", advice},
		{"PUT", "/metrics/job", 404, "", "", advice},
		{"POST", "/metrics/job@base64", 404, "", "", advice},
		{"DELETE", "/metrics/job", 404, "", "", "a group is deleted at <prefix>/metrics/job/<JOB>{/<LABEL>/<VALUE>}\n"},
		{"GET", "/metrics/job/a", 405, "", put, advice},
		{"PATCH", "/metrics/job/a/b/c", 405, "", put, advice},
		{"HEAD", "/metrics/job@base64/YQ", 405, "", put, ""},
		{"OPTIONS", "/metrics/job/a", 200, "", put, ""},
		{"OPTIONS", "//metrics/job/a", 200, "", put, ""},
		{"GET", "//metrics", 307, "/metrics", "", "<a href=\"<prefix>/metrics\">Temporary Redirect</a>.\n\n"},
		{"GET", "/x/../metrics", 307, "/metrics", "", "<a href=\"<prefix>/metrics\">Temporary Redirect</a>.\n\n"},
		{"GET", "/metrics/", 301, "/metrics", "", "<a href=\"<prefix>/metrics\">Moved Permanently</a>.\n\n"},
		{"HEAD", "/metrics/", 301, "/metrics", "", ""},
		{"GET", "/Status", 301, "/status", "", "<a href=\"<prefix>/status\">Moved Permanently</a>.\n\n"},
		{
			"GET", "/debug/pprof", 301, "/debug/pprof/", "",
			"<a href=\"<prefix>/debug/pprof/\">Moved Permanently</a>.\n\n",
		},
		{"POST", "/metrics", 405, "", get, advice},
		{"PUT", "/", 405, "", get, advice},
		{"OPTIONS", "/metrics", 200, "", get, ""},
		{"PUT", "/api/v1/metrics", 405, "", get, advice},
		{
			"POST", "/api/v1/admin/wipe", 405, "", "OPTIONS, PUT",
			"there is no POST at \"<prefix>/api/v1/admin/wipe\", only OPTIONS, PUT: wipe with PUT\n",
		},
		{"GET", "/api/v1/nope", 404, "", "", advice},
		{"POST", "/api/v1/write", 404, "", "", advice},
		{"OPTIONS", "/api/v1/nope", 200, "", "", ""},
		{"GET", "/nope", 404, "", "", advice},
		{"OPTIONS", "/nope", 404, "", "", advice},
		{"GET", "/static/nope", 404, "", "", "there is no file \"nope\": load the page again\n"},
		{"GET", "/-/quit", 405, "", "", "Only POST or PUT requests allowed."},
		{"PUT", "/-/quit", 403, "", "", "Lifecycle API is not enabled."},
		{"POST", "/-/quit", 403, "", "", "Lifecycle API is not enabled."},
		{
			"DELETE", "/-/quit", 405, "", "GET, HEAD, OPTIONS, POST, PUT",
			"a group is deleted at <prefix>/metrics/job/<JOB>{/<LABEL>/<VALUE>}\n",
		},
		{"GET", "/-/healthy", 200, "", "", "OK"},
		{"GET", "/-/ready", 200, "", "", "OK"},
		{"GET", "/debug/pprof/symbol", 200, "", "", "num_symbols: 1\n"},
	} {
		for _, prefix := range []string{"", "/some/prefix"} {
			t.Run(test.method+" "+prefix+test.path, func(t *testing.T) {
				g := start(t, func(c *Config) { c.RoutePrefix = prefix })
				location := test.location
				if location != "" {
					location = prefix + location
				}
				body := strings.ReplaceAll(test.body, "<prefix>", prefix)
				a := g.do(test.method, prefix+test.path, "")
				good := a.body == body
				if a.code >= 400 && test.method != "HEAD" {
					good = strings.HasSuffix(a.body, body) && strings.Count(a.body, "\n") <= 1
				}
				if a.code != test.code || a.header.Get("Location") != location || a.header.Get("Allow") != test.allow ||
					!good {
					t.Errorf("want %d, location %q, allow %q, body …%q, got %d, %q, %q, %q",
						test.code, location, test.allow, body, a.code, a.header.Get("Location"), a.header.Get("Allow"),
						a.body)
				}
				if prefix != "" {
					if a := g.must(http.StatusNotFound, "PUT", "/metrics/job/a", ""); !strings.HasSuffix(a.body,
						strings.ReplaceAll(advice, "<prefix>", prefix)) {
						t.Errorf("without the prefix: want where to push, got %q", a.body)
					}
				}
			})
		}
	}
}

func TestWhereThingsAreGoesByTheConfiguration(t *testing.T) {
	g := start(t, func(c *Config) { c.RoutePrefix, c.TelemetryPath, c.EnableAdmin = "/p", "/prom", false })
	for request, want := range map[string]string{
		"GET /p/metrics": "nothing is at \"/p/metrics\": metrics are at /p/prom, a page about them at /p/, " +
			"the query API at /p/api/v1/metrics; push to /p/metrics/job/<JOB>{/<LABEL>/<VALUE>}\n",
		"PUT /p/prom": "there is no PUT at \"/p/prom\", only GET, HEAD, OPTIONS: push to " +
			"/p/metrics/job/<JOB>{/<LABEL>/<VALUE>}\n",
		"PUT /p/api/v1/admin/wipe": "nothing is at \"/p/api/v1/admin/wipe\": the admin API needs " +
			"--web.enable-admin-api\n",
		"PUT /a%0Ab": "nothing is at \"/a\\nb\": push to /p/metrics/job/<JOB>{/<LABEL>/<VALUE>}\n",
	} {
		method, path, _ := strings.Cut(request, " ")
		if a := g.do(method, path, ""); a.body != want {
			t.Errorf("%s: want %q, got %d %q", request, want, a.code, a.body)
		}
	}
}

// TestWhoSendsAllBeforeReadingHearsWhereToPush: Python and Java do, and see nothing of an answer if the connection is
// closed meanwhile.
func TestWhoSendsAllBeforeReadingHearsWhereToPush(t *testing.T) {
	g := start(t)
	const size = 8 << 20
	for _, path := range []string{"/metrics", "/metrics/jobs/a", "/metrics/job/a/.."} {
		conn := dial(t, g, fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", path, size))
		if _, err := conn.Write(make([]byte, size)); err != nil {
			t.Fatalf("%s: sending: %v", path, err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: reading the answer: %v", path, err)
		}
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode < 400 || len(text) == 0 {
			t.Errorf("%s: got %d %q, %v", path, res.StatusCode, text, err)
		}
		_ = res.Body.Close()
	}
}

// TestEveryRouteThatCanBeReadHasHEAD asks every route twice. What HEAD is answered says nothing else than GET's answer,
// and less only where finding it out would cost as much.
func TestEveryRouteThatCanBeReadHasHEAD(t *testing.T) {
	g := start(t, func(c *Config) {
		c.Cluster = func(context.Context) ClusterStatus { return ClusterStatus{} }
	})
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "x 1\n")
	longer := map[string]string{
		"/static/": "page.css", "/debug/pprof/": "symbol",
	}
	routes, err := g.api.listRoutes()
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	for _, route := range routes {
		if route.methods[http.MethodGet] == nil {
			continue
		}
		read++
		path := route.path + longer[route.path]
		get, head := g.do("GET", path, ""), g.do("HEAD", path, "")
		if head.code != get.code || head.body != "" {
			t.Errorf("%s: GET is answered %d, HEAD %d %q", path, get.code, head.code, head.body)
		}
		for _, name := range []string{
			"Content-Type", "Vary", "Cache-Control", "Content-Security-Policy",
			"Access-Control-Allow-Origin",
		} {
			if want, got := get.header.Get(name), head.header.Get(name); got != want {
				t.Errorf("%s: GET has %s %q, HEAD %q", path, name, want, got)
			}
		}
		want, got := get.header.Get("Content-Length"), head.header.Get("Content-Length")
		switch path {
		// not known before all is made, or another each time
		case "/metrics", "/api/v1/metrics", "/-/metrics", "/debug/pprof/":
		default:
			if got != want || got == "" {
				t.Errorf("%s: GET has Content-Length %q, HEAD %q", path, want, got)
			}
		}
		if allow := g.do("OPTIONS", path, "").header.Get("Allow"); !strings.HasPrefix(path, "/api/") &&
			!strings.Contains(allow, "GET, HEAD") {
			t.Errorf("%s: HEAD is not in Allow: %s", path, allow)
		}
	}
	if read < 10 {
		t.Errorf("only %d routes can be read", read)
	}
	own := g.must(http.StatusOK, "GET", "/-/metrics", "").body
	if want := `pushgateway_http_requests_total{code="200",handler="ready",method="head"} 1` +
		"\n"; !strings.Contains(own, want) {
		t.Errorf("want %s in\n%s", want, own)
	}
}

// TestHEADMakesNothing: a prober must cost no page, and wait for nobody.
func TestHEADMakesNothing(t *testing.T) {
	g := start(t)
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "x 1\n")
	for range cap(g.api.queries.turns) {
		g.api.queries.turns <- struct{}{}
	}
	gzip := []string{"Accept-Encoding", "gzip"}
	if a := g.must(http.StatusOK, "HEAD", "/metrics", "", gzip...); a.header.Get("Content-Encoding") != "gzip" ||
		a.header.Get("Content-Length") != "" {
		t.Errorf("want the headers of a compressed page, got %v", a.header)
	}
	g.must(http.StatusOK, "HEAD", "/api/v1/metrics", "")
	g.must(http.StatusOK, "HEAD", "/debug/pprof/profile", "")
	g.must(http.StatusOK, "HEAD", "/debug/pprof/trace", "")
	if n := g.api.pages.budget.held; n != 0 {
		t.Errorf("pages of %d bytes were made", n)
	}
	g.replica.barrier, g.replica.age = errNoLeader, time.Minute
	if a := g.must(http.StatusOK, "HEAD", "/metrics", ""); a.header.Get(staleHeader) != "60.000" {
		t.Errorf("want it marked as stale, got %v", a.header)
	}
	g.replica.behind, g.replica.ready = true, errors.New("has not caught up")
	for _, path := range []string{"/metrics", "/api/v1/metrics", "/-/ready"} {
		g.must(http.StatusServiceUnavailable, "HEAD", path, "")
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
		if _, err := New(Config{
			Replica: r, Store: r, Registerer: registry, Gatherer: registry,
			TelemetryPath: taken,
		}); err == nil || !strings.Contains(err.Error(), "--web.telemetry-path") {
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
