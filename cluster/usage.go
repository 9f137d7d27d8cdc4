package cluster

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pushquorum/fsm"
)

// surveyEvery is how often all groups are looked at for the sake of a gauge, at most: it takes milliseconds for each
// ten thousand of them, and an alert on a push that is missing waits for minutes.
const surveyEvery = 10 * time.Second

// usageCollector tells what is stored, and what may be.
type usageCollector struct {
	fsm    *fsm.FSM
	limits fsm.Limits
	now    func() time.Time

	groups, series, bytes, limit, oldest *prometheus.Desc

	mu     sync.Mutex // guards what follows
	survey fsm.Survey
	at     time.Time // of the survey, zero before the first
	index  uint64    // of the state it was of
}

func newUsageCollector(f *fsm.FSM, limits fsm.Limits) *usageCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("pushquorum_"+name, help, labels, nil)
	}
	return &usageCollector{
		fsm: f, limits: limits, now: time.Now,
		groups: desc("groups", "Groups stored."),
		series: desc("series", "Series stored, without those of the two push times of each group."),
		bytes:  desc("state_bytes", "Memory that the stored groups take, as it counts against --limit.state-bytes."),
		limit:  desc("limit", "The limits that are set on this replica; the leader's are kept.", "name"),
		oldest: desc("oldest_push_timestamp_seconds",
			"When the group was last pushed for which that is the longest ago; "+
				"looked for every 10 seconds at most, and absent while no group was pushed."),
	}
}

// Describe implements prometheus.Collector.
func (c *usageCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.groups, c.series, c.bytes, c.limit, c.oldest} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *usageCollector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	view := c.fsm.View()
	usage := view.Usage()
	gauge(c.groups, float64(usage.Groups))
	gauge(c.series, float64(usage.Series))
	gauge(c.bytes, float64(usage.Bytes))
	for name, limit := range c.limits.All() {
		gauge(c.limit, float64(limit), name)
	}
	if at := c.surveyOf(view).OldestPush; at != 0 {
		gauge(c.oldest, float64(at)/1e9)
	}
}

// surveyOf looks at all groups of the view, unless that was done a short while ago, or nothing has changed since.
func (c *usageCollector) surveyOf(view *fsm.View) fsm.Survey {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); c.at.IsZero() || view.Index() != c.index && now.Sub(c.at) >= surveyEvery {
		c.survey, c.at, c.index = view.Survey(), now, view.Index()
	}
	return c.survey
}
