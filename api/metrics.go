package api

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
)

// instruments are the API's own metrics. The names, types and labels of the first three are the Pushgateway's, because
// dashboards and alerts of its users name them.
type instruments struct {
	requests     *prometheus.CounterVec
	pushSize     *prometheus.SummaryVec
	pushDuration *prometheus.SummaryVec
	readStale    prometheus.Gauge
	refused      *prometheus.CounterVec // by reason
	pageBytes    prometheus.Gauge
	streamed     prometheus.Counter
	readersCut   prometheus.Counter
}

// Why a push was not stored. One that a limit of what may be stored has no room for has the limit's name.
const (
	reasonInvalid      = "invalid"      // in itself
	reasonInconsistent = "inconsistent" // with what is stored
	reasonTooLarge     = "too_large"    // its body
	reasonSlow         = "slow"         // its body did not arrive in time
	reasonBusy         = "busy"         // too much is under way
	reasonUnavailable  = "unavailable"  // not replicated, or not known to be
	reasonNoSpace      = "no_space"     // on the disks
	reasonReused       = "reused_key"   // its Idempotency-Key belongs to another request
	reasonOtherLimit   = "limit"        // one that a newer version's leader knows
)

var (
	limitReasons = []string{"state_bytes", "series", "groups", "series_per_group", "group_bytes"}
	reasons      = append([]string{
		reasonInvalid, reasonInconsistent, reasonTooLarge, reasonSlow, reasonBusy, reasonUnavailable, reasonNoSpace,
		reasonReused, reasonOtherLimit,
	}, limitReasons...)
)

// reasonOfLimit is the reason of a push that a limit of that name refuses.
func reasonOfLimit(name string) string {
	if slices.Contains(limitReasons, name) {
		return name
	}
	return reasonOtherLimit
}

// reasonOf is the reason of a push that a problem with its body refuses.
func reasonOf(p *problem) string {
	switch p.code {
	case http.StatusRequestEntityTooLarge:
		return reasonTooLarge
	case http.StatusRequestTimeout:
		return reasonSlow
	case http.StatusServiceUnavailable:
		return reasonBusy
	default:
		return reasonInvalid
	}
}

func newInstruments(reg prometheus.Registerer, in *inFlight) (*instruments, error) {
	quantiles := map[float64]float64{0.1: 0.01, 0.5: 0.05, 0.9: 0.01} // with their allowed errors
	m := &instruments{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushgateway_http_requests_total",
			Help: "HTTP requests answered, other than scrapes.",
		}, []string{"handler", "code", "method"}),
		pushSize: prometheus.NewSummaryVec(prometheus.SummaryOpts{
			Name:       "pushgateway_http_push_size_bytes",
			Help:       "Size of push requests.",
			Objectives: quantiles,
		}, []string{"method"}),
		pushDuration: prometheus.NewSummaryVec(prometheus.SummaryOpts{
			Name:       "pushgateway_http_push_duration_seconds",
			Help:       "Duration of push requests.",
			Objectives: quantiles,
		}, []string{"method"}),
		readStale: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pushquorum_read_stale_seconds",
			Help: "Age of the state that the last scrape or query was answered from, 0 if it was current.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushquorum_pushes_rejected_total",
			Help: "Pushes to this replica that were not stored, by reason; " +
				"one that a limit has no room for by the limit.",
		}, []string{"reason"}),
		pageBytes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "pushquorum_page_bytes",
			Help: "Memory of the pages that are kept for scrapes, being built, or still being sent.",
		}),
		streamed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushquorum_scrapes_streamed_total",
			Help: "Scrapes that were made while they were sent, because there was no room for a page.",
		}),
		readersCut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushquorum_readers_cut_total",
			Help: "Clients that were cut off because they did not read their answer.",
		}),
	}
	bytes := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pushquorum_push_bytes_in_flight",
		Help: "Memory taken by pushes that are under way, of what --push.max-bytes-in-flight allows.",
	}, func() float64 { return float64(in.bytes()) })
	pushes := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pushquorum_pushes_in_flight",
		Help: "Pushes that are under way, of what --push.max-requests allows.",
	}, func() float64 { return float64(in.requests.used.Load()) })
	for _, reason := range reasons {
		m.refused.WithLabelValues(reason) // 0, so that a rate shows the first one
	}
	for _, c := range []prometheus.Collector{
		m.requests, m.pushSize, m.pushDuration, m.readStale, m.refused, m.pageBytes, m.streamed, m.readersCut,
		bytes, pushes, versioncollector.NewCollector("pushgateway"),
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of the API: %w", err)
		}
	}
	return m, nil
}

// countRejected counts a push that was not stored, for one of the reasons.
func (m *instruments) countRejected(reason string) { m.refused.WithLabelValues(reason).Inc() }

// count counts the requests of a handler under its name.
func (m *instruments) count(name string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w, code: http.StatusOK}
		h.ServeHTTP(rec, r)
		m.requests.WithLabelValues(name, strconv.Itoa(rec.code), strings.ToLower(r.Method)).Inc()
	})
}

// push counts, measures and times pushes.
func (m *instruments) push(h http.Handler) http.Handler {
	counted := m.count("push", h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		counted.ServeHTTP(w, r)
		method := strings.ToLower(r.Method)
		m.pushDuration.WithLabelValues(method).Observe(time.Since(began).Seconds())
		m.pushSize.WithLabelValues(method).Observe(float64(sizeOf(r)))
	})
}

// recorder remembers the status code. promhttp could do all this, but its nested wrappers took 4 % of a push.
type recorder struct {
	http.ResponseWriter
	code   int
	headed bool
}

// WriteHeader implements http.ResponseWriter.
func (rec *recorder) WriteHeader(code int) {
	if !rec.headed && code >= http.StatusOK { // before it there may be any number of 1xx
		rec.code, rec.headed = code, true
	}
	rec.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (rec *recorder) Write(b []byte) (int, error) {
	rec.headed = true
	return rec.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.ResponseWriter }

// sizeOf is about how many bytes a request has: its line, its headers and its body.
func sizeOf(r *http.Request) int64 {
	n := int64(len(r.Method) + len(r.RequestURI) + len(r.Proto) + len(r.Host))
	for name, values := range r.Header {
		n += int64(len(name))
		for _, v := range values {
			n += int64(len(v))
		}
	}
	return n + max(0, r.ContentLength)
}
