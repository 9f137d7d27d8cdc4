package api

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// maxPath is how long a path may be, in bytes: room for a group of more than a hundred labels. Longer ones are refused, because each name
// and value stands in each line of the group.
const maxPath = 16 << 10

// shownPath is the path of a request for the log.
func shownPath(r *http.Request) string { return shorten(r.URL.Path) }

// shorten cuts what a client has written to a length that a log or an answer can bear.
func shorten(s string) string {
	const longest = 256 // bytes
	if len(s) <= longest {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(s[:longest], ""), len(s))
}

// route is one path, or everything below it, and a handler for each method.
type route struct {
	path    string // of a subtree it ends with "/"
	subtree bool   // serves longer paths, too
	root    bool   // of a subtree: serves path itself, too
	methods map[string]http.Handler
}

func (r *route) matches(p string) bool {
	if !r.subtree {
		return p == r.path
	}
	return strings.HasPrefix(p, r.path) && (r.root || len(p) > len(r.path))
}

// corrected returns the path of this route that p most likely stands for: with or without a final slash, in any case.
func (r *route) corrected(p string) (string, bool) {
	switch n := len(r.path); {
	case r.subtree && len(p) > n && strings.EqualFold(p[:n], r.path):
		return r.path + p[n:], true
	case (!r.subtree || r.root) && strings.EqualFold(strings.TrimSuffix(p, "/"), strings.TrimSuffix(r.path, "/")):
		return r.path, true
	}
	return "", false
}

// router finds the handler of a request. What it answers to a path or method that nothing serves is what the Pushgateway's
// httprouter answers: a redirect to a corrected path, OPTIONS and 405 with an Allow header, or 404.
type router []*route

func (rt router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, allowed := r.URL.Path, []string(nil)
	for _, route := range rt {
		if !route.matches(p) {
			continue
		}
		if h := route.methods[r.Method]; h != nil {
			h.ServeHTTP(w, r)
			return
		}
		for m := range route.methods {
			if m != http.MethodOptions && !slices.Contains(allowed, m) {
				allowed = append(allowed, m)
			}
		}
	}
	if len(allowed) == 0 {
		rt.miss(w, r)
		return
	}
	allowed = append(allowed, http.MethodOptions)
	slices.Sort(allowed)
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	if r.Method == http.MethodOptions {
		return // 200
	}
	http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
}

func (rt router) miss(w http.ResponseWriter, r *http.Request) {
	for _, route := range rt {
		if route.methods[r.Method] == nil {
			continue
		}
		if p, ok := route.corrected(r.URL.Path); ok {
			u := url.URL{Path: p, RawQuery: r.URL.RawQuery}
			code := http.StatusTemporaryRedirect // keeps method and body
			if r.Method == http.MethodGet {
				code = http.StatusMovedPermanently
			}
			http.Redirect(w, r, u.String(), code)
			return
		}
	}
	http.NotFound(w, r)
}

// routes builds the handler of all paths. The outer ServeMux only cleans the path as the Pushgateway's does, with a 307 to the
// clean one (it looks at the escaped path, so that %2F and %2e hide nothing from the routes below).
func (a *API) routes() (http.Handler, error) {
	prefix := a.cfg.RoutePrefix
	var rt router
	add := func(method, p string, h http.Handler) {
		rt = append(rt, &route{path: p, methods: map[string]http.Handler{method: h}})
	}
	get := func(p, name string, h http.HandlerFunc) {
		add(http.MethodGet, prefix+p, a.metrics.count(name, h))
	}

	telemetry := path.Join("/", prefix, a.cfg.TelemetryPath)
	add(http.MethodGet, telemetry, http.HandlerFunc(a.serveMetrics))
	for _, kind := range []struct {
		path   string
		base64 bool
	}{{"/metrics/job/", false}, {"/metrics/job" + base64Suffix + "/", true}} {
		g := groupPath{prefix: prefix + kind.path, base64Job: kind.base64, naming: a.naming}
		rt = append(rt, &route{path: g.prefix, subtree: true, methods: map[string]http.Handler{
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
		add(http.MethodPut, api+"admin/wipe", a.metrics.count("wipe", http.HandlerFunc(a.wipe)))
	}

	get("/", "status", a.page)
	get("/status", "status", a.page)
	get("/-/healthy", "healthy", a.healthy)
	get("/-/ready", "ready", a.ready)
	add(http.MethodGet, prefix+"/-/metrics", http.HandlerFunc(a.ownMetrics))
	add(http.MethodGet, prefix+"/-/quit", http.HandlerFunc(quitNeedsPut))
	add(http.MethodPut, prefix+"/-/quit", http.HandlerFunc(a.serveQuit))
	add(http.MethodPost, prefix+"/-/quit", http.HandlerFunc(a.serveQuit))
	rt = append(
		rt,
		&route{path: prefix + "/static/", subtree: true, methods: map[string]http.Handler{
			http.MethodGet: a.metrics.count("static", http.StripPrefix(prefix+"/static/", http.HandlerFunc(serveStatic))),
		}},
		&route{path: prefix + "/debug/pprof/", subtree: true, root: true, methods: map[string]http.Handler{
			http.MethodGet: http.StripPrefix(prefix, http.HandlerFunc(servePprof)),
		}},
	)

	for _, r := range rt[1:] {
		if r.matches(telemetry) && r.methods[http.MethodGet] != nil {
			return nil, fmt.Errorf("--web.telemetry-path=%s is a path at which something else is served: choose another, such as --web.telemetry-path=/metrics", a.cfg.TelemetryPath)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/", rt)
	return mux, nil
}

// ServeHTTP bounds how long the client may take to send its body, and to take its answer (recipient), and serves the request. A
// handler that has read the body completely lifts the first bound; net/http does so itself when it waits for the next request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer a.catch(r)
	to := newRecipient(w, r, a.metrics.readersCut)
	defer to.leave()
	// Writers without deadlines are those of tests.
	if r.Body != nil && r.Body != http.NoBody {
		_ = to.control.SetReadDeadline(time.Now().Add(a.cfg.PushTimeout))
	}
	if len(r.URL.Path) > maxPath {
		a.refuse(to, r, &problem{http.StatusRequestURITooLong, fmt.Sprintf("the path has %d bytes: use at most %d", len(r.URL.Path), maxPath)})
	} else {
		a.handler.ServeHTTP(to, r)
	}
	to.finish()
}
