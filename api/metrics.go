package api

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// instruments are the API's own metrics. The names, types and labels of the first three are the Pushgateway's, because
// dashboards and alerts of its users name them.
type instruments struct {
	requests     *prometheus.CounterVec
	pushSize     *prometheus.SummaryVec
	pushDuration *prometheus.SummaryVec
	readStale    prometheus.Gauge
}

func newInstruments(reg prometheus.Registerer) (*instruments, error) {
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
	}
	for _, c := range []prometheus.Collector{m.requests, m.pushSize, m.pushDuration, m.readStale, versioncollector.NewCollector("pushgateway")} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of the API: %w", err)
		}
	}
	return m, nil
}

// count counts the requests of a handler under its name.
func (m *instruments) count(name string, h http.Handler) http.Handler {
	return promhttp.InstrumentHandlerCounter(m.requests.MustCurryWith(prometheus.Labels{"handler": name}), h)
}

// push counts, measures and times pushes.
func (m *instruments) push(h http.Handler) http.Handler {
	return promhttp.InstrumentHandlerRequestSize(m.pushSize, promhttp.InstrumentHandlerDuration(m.pushDuration, m.count("push", h)))
}
