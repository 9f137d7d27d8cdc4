package api

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// route is one path, or everything below it, and a handler for each method.
type route struct {
	path    string     // that of a subtree ends with "/"
	subtree bool       // whether it serves longer paths, too
	root    bool       // whether a subtree serves path itself, too
	group   *groupPath // nil: path is compared; else paths of groups are
	methods map[string]http.Handler
}

func (r *route) matches(p string) bool {
	switch {
	case r.group != nil:
		_, ok := r.group.below(p)
		return ok
	case r.subtree:
		return strings.HasPrefix(p, r.path) && (r.root || len(p) > len(r.path))
	}
	return p == r.path
}

// corrected returns the path of this route for which p probably stands: it differs in a final slash, or in upper and
// lower case.
func (r *route) corrected(p string) (string, bool) {
	switch n := len(r.path); {
	case r.subtree && len(p) > n && strings.EqualFold(p[:n], r.path):
		return r.path + p[n:], true
	case (!r.subtree || r.root) && strings.EqualFold(strings.TrimSuffix(p, "/"), strings.TrimSuffix(r.path, "/")):
		return r.path, true
	}
	return "", false
}

// router finds the handler of a request. It answers OPTIONS, and 405 with an Allow header, or 404, as the Pushgateway's
// httprouter does, but says what to do instead. It redirects only GET and HEAD to a corrected path, because most
// clients that write do not follow a redirect, and take it for a success.
type router struct {
	routes []*route
	refuse func(http.ResponseWriter, *http.Request, *problem)
	advice func(*http.Request) string // where to find what the request is probably about
}

func (rt *router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, allowed := r.URL.Path, []string(nil)
	for _, route := range rt.routes {
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
	allow := strings.Join(allowed, ", ")
	w.Header().Set("Allow", allow)
	if r.Method == http.MethodOptions {
		return // 200
	}
	rt.refuse(w, r, &problem{http.StatusMethodNotAllowed, fmt.Sprintf(
		"there is no %s at %q, only %s: %s", shorten(r.Method), shorten(p), allow, rt.advice(r),
	)})
}

// miss answers a request for a path that nothing serves.
func (rt *router) miss(w http.ResponseWriter, r *http.Request) {
	if err := refuseDots(r.URL); err != nil {
		rt.refuse(w, r, &problem{http.StatusBadRequest, err.Error()})
		return
	}
	advice := rt.advice(r)
	for _, route := range rt.routes {
		p, ok := route.corrected(r.URL.Path)
		switch {
		case !ok || route.methods[r.Method] == nil:
		case reads(r):
			u := url.URL{Path: p, RawQuery: r.URL.RawQuery}
			http.Redirect(w, r, u.String(), http.StatusMovedPermanently)
			return
		default:
			advice = fmt.Sprintf("use %q", shorten(p))
		}
	}
	rt.refuse(w, r, &problem{http.StatusNotFound, fmt.Sprintf("nothing is at %q: %s", shorten(r.URL.Path), advice)})
}

// reads tells whether a request changes nothing.
func reads(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }
