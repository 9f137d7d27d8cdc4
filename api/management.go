package api

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func (a *API) healthy(w http.ResponseWriter, _ *http.Request) {
	if err := a.cfg.Replica.Healthy(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, "OK")
}

func (a *API) ready(w http.ResponseWriter, _ *http.Request) {
	if err := a.cfg.Replica.Ready(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "OK")
}

// serveSelfMetrics serves this process's own metrics, whatever the telemetry path holds. OpenMetrics stays off, because
// it renames counters.
func (a *API) serveSelfMetrics(w http.ResponseWriter, r *http.Request) {
	out := &sink{ResponseWriter: w}
	promhttp.HandlerFor(a.cfg.Gatherer, promhttp.HandlerOpts{
		ErrorLog:      selfMetricsLog{a, r, out},
		ErrorHandling: promhttp.ContinueOnError, // what could be gathered is better than nothing
	}).ServeHTTP(out, r)
}

// selfMetricsLog logs the faults of one scrape of the own metrics as those of other scrapes are logged.
type selfMetricsLog struct {
	a   *API
	r   *http.Request
	out *sink
}

// Println implements promhttp.Logger.
func (l selfMetricsLog) Println(v ...any) {
	if gone := l.out.gone(l.r); gone != nil {
		l.a.log.Debug("client went away", "path", shownPath(l.r), "source", l.r.RemoteAddr, "err", gone)
		return
	}
	l.a.scrapeLog.once(slog.LevelError, errors.New(strings.TrimSpace(fmt.Sprintln(v...))), "serving own metrics")
}

// serveQuit asks the process to end, once.
func (a *API) serveQuit(w http.ResponseWriter, r *http.Request) {
	if !a.cfg.EnableLifecycle {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "Lifecycle API is not enabled.")
		return
	}
	a.log.Warn("termination requested over HTTP", "source", r.RemoteAddr)
	_, _ = io.WriteString(w, "Requesting termination... Goodbye!")
	a.quit.Do(a.cfg.Quit)
}

func quitNeedsPut(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusMethodNotAllowed)
	_, _ = io.WriteString(w, "Only POST or PUT requests allowed.")
}

// servePprof serves a path from which the route prefix has been taken. A profile takes as long as it is asked to.
func servePprof(w http.ResponseWriter, r *http.Request) {
	if p := r.URL.Path; r.Method == http.MethodHead && (p == "/debug/pprof/profile" || p == "/debug/pprof/trace") {
		w.Header().Set("Content-Type", "application/octet-stream") // and records no profile, because nobody gets it
		return
	}
	switch r.URL.Path {
	case "/debug/pprof/cmdline":
		pprof.Cmdline(w, r)
	case "/debug/pprof/profile":
		pprof.Profile(w, r)
	case "/debug/pprof/symbol":
		pprof.Symbol(w, r)
	case "/debug/pprof/trace":
		pprof.Trace(w, r)
	default:
		pprof.Index(w, r)
	}
}
