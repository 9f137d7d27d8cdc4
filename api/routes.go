package api

import (
	"fmt"
	"net/http"
	"path"
	"time"

	"pushquorum/expo"
)

// maxPath is how long a path may be, in bytes: room for a group of more than a hundred labels. Longer ones are refused,
// because each name and value stands in each line of the group.
const maxPath = 16 << 10

const wipePath = "/api/v1/admin/wipe" // below the route prefix

// shownPath is the path of a request for the log.
func shownPath(r *http.Request) string { return shorten(r.URL.Path) }

// shorten cuts what a client has written to a length that a log or an answer can bear.
func shorten(s string) string {
	const longest = 256 // bytes
	return expo.Shorten(s, longest)
}

// routes builds the handler of all paths. In front of GET and HEAD is a ServeMux, as in the Pushgateway, which answers
// a path that is not clean with a 307 to the clean one. It looks at the escaped path, so that it decodes no %2F or %2e.
func (a *API) routes() (http.Handler, error) {
	list, err := a.listRoutes()
	if err != nil {
		return nil, err
	}
	all := &router{routes: list, advice: a.advice, refuse: a.refuse}
	cleaning := http.NewServeMux()
	cleaning.Handle("/", all)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if reads(r) {
			cleaning.ServeHTTP(w, r)
		} else {
			all.ServeHTTP(w, r)
		}
	}), nil
}

// listRoutes returns all routes.
func (a *API) listRoutes() ([]*route, error) {
	prefix := a.cfg.RoutePrefix
	var rt []*route
	add := func(method, p string, h http.Handler) {
		rt = append(rt, &route{path: p, methods: map[string]http.Handler{method: h}})
	}
	get := func(p, name string, h http.HandlerFunc) {
		add(http.MethodGet, prefix+p, a.metrics.count(name, h))
	}

	telemetry := a.telemetryPath()
	add(http.MethodGet, telemetry, http.HandlerFunc(a.serveMetrics))
	for _, kind := range []struct {
		path   string
		base64 bool
	}{{"/metrics/job/", false}, {"/metrics/job" + base64Suffix + "/", true}} {
		g := groupPath{prefix: prefix + kind.path, base64Job: kind.base64, naming: a.naming}
		rt = append(rt, &route{path: g.prefix, subtree: true, group: &g, methods: map[string]http.Handler{
			http.MethodPut:    a.metrics.push(a.push(g, true)),
			http.MethodPost:   a.metrics.push(a.push(g, false)),
			http.MethodDelete: a.metrics.count("delete", a.delete(g)),
		}})
	}

	api := prefix + "/api/v1/"
	rt = append(rt, &route{path: api, subtree: true, root: true, methods: map[string]http.Handler{
		http.MethodOptions: a.metrics.count("api/v1/options", cors(func(http.ResponseWriter, *http.Request) {})),
	}})
	get("/api/v1/status", "api/v1/status", cors(a.apiStatus))
	get("/api/v1/metrics", "api/v1/metrics", cors(a.apiMetrics))
	if a.cfg.Cluster != nil {
		get("/api/v1/cluster", "api/v1/cluster", cors(a.apiCluster))
	}
	if a.cfg.EnableAdmin {
		add(http.MethodPut, prefix+wipePath, a.metrics.count("wipe", http.HandlerFunc(a.wipe)))
	}

	get("/", "status", a.serveUI)
	get("/status", "status", a.serveUI)
	get("/-/healthy", "healthy", a.healthy)
	get("/-/ready", "ready", a.ready)
	add(http.MethodGet, prefix+"/-/metrics", http.HandlerFunc(a.serveSelfMetrics))
	add(http.MethodGet, prefix+"/-/quit", http.HandlerFunc(quitNeedsPut))
	add(http.MethodPut, prefix+"/-/quit", http.HandlerFunc(a.serveQuit))
	add(http.MethodPost, prefix+"/-/quit", http.HandlerFunc(a.serveQuit))
	rt = append(
		rt,
		&route{path: prefix + "/static/", subtree: true, methods: map[string]http.Handler{
			http.MethodGet: a.metrics.count("static", http.StripPrefix(prefix+"/static/",
				http.HandlerFunc(serveStatic))),
		}},
		&route{path: prefix + "/debug/pprof/", subtree: true, root: true, methods: map[string]http.Handler{
			http.MethodGet: http.StripPrefix(prefix, http.HandlerFunc(servePprof)),
		}},
	)

	for _, r := range rt[1:] {
		if r.matches(telemetry) && r.methods[http.MethodGet] != nil {
			return nil, fmt.Errorf("--web.telemetry-path=%s is a path at which something else is served: "+
				"choose another, such as --web.telemetry-path=/metrics", a.cfg.TelemetryPath)
		}
	}
	for _, r := range rt {
		if h := r.methods[http.MethodGet]; h != nil {
			r.methods[http.MethodHead] = h // net/http does not send its body
		}
	}
	return rt, nil
}

// advice says where to find what a request is probably about that is answered 404 or 405.
func (a *API) advice(r *http.Request) string {
	prefix := a.cfg.RoutePrefix
	groups := prefix + "/metrics/job/<JOB>{/<LABEL>/<VALUE>}"
	switch {
	case r.URL.Path == prefix+wipePath && !a.cfg.EnableAdmin:
		return "the admin API needs --web.enable-admin-api"
	case r.URL.Path == prefix+wipePath:
		return "wipe with PUT"
	case r.Method == http.MethodPut || r.Method == http.MethodPost:
		return "push to " + groups
	case r.Method == http.MethodDelete:
		return "a group is deleted at " + groups
	default:
		return fmt.Sprintf("metrics are at %s, a page about them at %s/, "+
			"the query API at %[2]s/api/v1/metrics; push to %s", a.telemetryPath(), prefix, groups)
	}
}

// telemetryPath is where Prometheus scrapes.
func (a *API) telemetryPath() string { return path.Join("/", a.cfg.RoutePrefix, a.cfg.TelemetryPath) }

// ServeHTTP serves the request, and bounds how long the client may take to send its body, and to read its answer
// (recipient). A handler that has read the body completely lifts the first bound. net/http lifts it when it waits for
// the next request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer a.catch(r)
	to := newRecipient(w, r, a.metrics.readersCut)
	defer to.leave()
	// Writers without deadlines are those of tests.
	if r.Body != nil && r.Body != http.NoBody {
		_ = to.control.SetReadDeadline(time.Now().Add(a.cfg.PushTimeout))
	}
	early, answer := a.newEarlyAnswer(to, r), http.ResponseWriter(to)
	if early != nil {
		answer = early
	}
	if len(r.URL.Path) > maxPath {
		a.refuse(answer, r, &problem{
			http.StatusRequestURITooLong, fmt.Sprintf("the path has %d bytes: use at most %d", len(r.URL.Path),
				maxPath),
		})
	} else {
		a.handler.ServeHTTP(answer, r)
	}
	early.finish(to.finish)
}
