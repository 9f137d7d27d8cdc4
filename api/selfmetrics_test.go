package api

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"

	"pushquorum/expo"
)

// withOwn gives a gateway metrics of its own, on its page or not.
func withOwn(include bool) func(*Config) {
	return func(c *Config) {
		c.IncludeSelf = include
		hits := prometheus.NewCounter(prometheus.CounterOpts{Name: "own_hits_total", Help: "Ours."})
		size := prometheus.NewSummary(prometheus.SummaryOpts{Name: "own_size"})
		jobs := prometheus.NewGauge(prometheus.GaugeOpts{Name: "own_jobs_count"})
		c.Registerer.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "own", Help: "Ours."}), hits, size,
			jobs)
	}
}

func TestAPushThatClashesWithOwnMetricsIsAFailedPush(t *testing.T) {
	const noHint = "push under another name"
	for name, test := range map[string]struct{ body, want string }{
		"another type": {
			"# TYPE own counter\nown 1\n",
			`"own" is pushed as counter, but is a gauge of this gateway itself: ` +
				`push with that type, as by "# TYPE own gauge", or under another name`,
		},
		"no type": {"own_hits_total 1\n", `"own_hits_total" is pushed as untyped, but is a counter of this gateway ` +
			`itself: push`},
		"several": {
			"fine 1\nown 1\nown_hits_total 1\n",
			`but is a gauge of this gateway itself, "own_hits_total" is pushed as untyped, but is a counter of this ` +
				`gateway itself: push with that type, as by "# TYPE own gauge",`,
		},
		"a suffix of its own": {
			"# TYPE own_size_sum gauge\nown_size_sum 1\n",
			`"own_size_sum" is a name of samples of the summary "own_size" of this gateway itself: ` + noHint,
		},
		"a suffix of the push": {
			"# TYPE own_jobs histogram\nown_jobs_count 1\n",
			`the histogram "own_jobs" has samples of the name "own_jobs_count", which is a metric of this gateway ` +
				`itself: ` + noHint,
		},
	} {
		for mode, include := range map[string]bool{"its page has them": true, "in a cluster": false} {
			t.Run(name+", "+mode, func(t *testing.T) {
				g := start(t, withOwn(include))
				if a := g.must(http.StatusBadRequest, "PUT", "/metrics/job/a", test.body); !strings.Contains(a.body,
					test.want) {
					t.Errorf("want %s\nin   %s", test.want, a.body)
				}
				if page := g.scrape(); !strings.Contains(page, times(0, 1)) || strings.Contains(page, "own{") {
					t.Errorf("want a recorded failure and nothing else, got\n%s", page)
				}
				g.must(http.StatusOK, "PUT", "/metrics/job/a",
					"# TYPE own gauge\nown 1\n# TYPE own_hits_total counter\nown_hits_total 1\n")
			})
		}
	}
}

// A push of the gateway's own kind of metric may be stored in another type: by an older version, or by a replica that
// did not have the metric. Who pushes the right type is told whose group is in the way.
func TestWhoIsInTheWayOfAnOwnMetricIsNamed(t *testing.T) {
	var registerer prometheus.Registerer
	g := start(t, func(c *Config) { registerer = c.Registerer })
	g.must(http.StatusOK, "PUT", "/metrics/job/script", "own_seconds_total 1\n")
	registerer.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "own_seconds_total"}))
	g.api.selfMetrics.gather() // as is done every selfMaxAge

	const right = "# TYPE own_seconds_total counter\nown_seconds_total 1\n"
	a := g.must(http.StatusBadRequest, "PUT", "/metrics/job/client", right)
	if !strings.Contains(a.body, "/metrics/job/script") {
		t.Errorf("want the group that is in the way, got %s", a.body)
	}
	g.must(http.StatusBadRequest, "PUT", "/metrics/job/script", "own_seconds_total 2\n")
	g.must(http.StatusOK, "PUT", "/metrics/job/script", right)
	g.must(http.StatusOK, "PUT", "/metrics/job/client", right)
}

func TestTheCheckAgainstOwnMetricsMakesNoGarbage(t *testing.T) {
	g := startWithoutServer(t, withOwn(false))
	const body = "# TYPE own gauge\nown 1\n# TYPE own_hits_total counter\nown_hits_total 1\n# TYPE a_count " +
		"gauge\na_count 1\n"
	mfs, err := expo.Parse(strings.NewReader(body), expo.FormatText, model.LegacyValidation)
	if err != nil {
		t.Fatal(err)
	}
	families, err := expo.Canonical(expo.NewLabels(map[string]string{"job": "a"}), mfs, model.LegacyValidation)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	g.api.selfMetrics.now = func() time.Time { return now }
	if n := testing.AllocsPerRun(100, func() {
		if err := g.api.selfMetrics.checkReserved(families); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a check makes %v allocations, want none", n)
	}
}

// slowGatherer takes as long as it is let, from the second time on.
type slowGatherer struct {
	prometheus.Gatherer
	calls atomic.Int32
	begun chan struct{}
	let   chan struct{}
}

func (s *slowGatherer) Gather() ([]*dto.MetricFamily, error) {
	if s.calls.Add(1) > 1 {
		s.begun <- struct{}{}
		<-s.let
	}
	return s.Gatherer.Gather()
}

// One of the process's collectors may hang, or take long. That must not take the turn of any push.
func TestNoPushWaitsForTheListOfOwnMetricsToBeRenewed(t *testing.T) {
	slow := &slowGatherer{begun: make(chan struct{}, 100), let: make(chan struct{})}
	g := start(t, withOwn(false), func(c *Config) { slow.Gatherer, c.Gatherer = c.Gatherer, slow })
	defer close(slow.let)
	var now atomic.Int64
	g.api.selfMetrics.now = func() time.Time { return time.Unix(now.Load(), 0) }
	for i := range 20 {
		now.Add(int64(2 * reservedNamesMaxAge / time.Second))
		g.must(http.StatusOK, "PUT", fmt.Sprintf("/metrics/job/a%d", i), "fine 1\n")
		g.must(http.StatusBadRequest, "PUT", "/metrics/job/a", "# TYPE own counter\nown 1\n")
	}
	<-slow.begun
	if n := slow.calls.Load(); n != 2 {
		t.Errorf("own metrics are being gathered %d times at once, want one", n-1)
	}
}
