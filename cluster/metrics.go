package cluster

import (
	"fmt"
	"math"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
	"github.com/prometheus/client_golang/prometheus"

	"pushquorum/fsm"
)

// metrics are the replica's own; the counters exist even when nobody collects them.
type metrics struct {
	retries       prometheus.Counter
	leaderChanges prometheus.Counter
	promotions    prometheus.Counter
	removals      prometheus.Counter
	handOvers     *prometheus.CounterVec // by outcome
	barrier       prometheus.Histogram

	registerer prometheus.Registerer
	collectors []prometheus.Collector
}

func newMetrics() *metrics {
	return &metrics{
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushquorum_apply_retries_total",
			Help: "Times a command was tried again, mostly because the leader changed.",
		}),
		leaderChanges: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushquorum_raft_leader_changes_total", Help: "Times this replica has seen a new leader.",
		}),
		promotions: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushquorum_autopilot_promotions_total",
			Help: "Replicas that this one, as the leader, has made voters.",
		}),
		removals: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pushquorum_autopilot_removals_total",
			Help: "Dead replicas that this one, as the leader, has removed.",
		}),
		handOvers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pushquorum_leadership_transfers_total",
			Help: "Times this replica has handed over the leadership because it was " +
				"about to stop, and times that failed.",
		}, []string{"outcome"}),
		barrier: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pushquorum_read_barrier_seconds", Help: "Time until a linearizable read could be answered.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 12), NativeHistogramBucketFactor: 1.1,
		}),
	}
}

// register adds the metrics of a replica; unregister takes them away again.
func (m *metrics) register(r *Replica, registerer prometheus.Registerer) error {
	if registerer == nil {
		return nil
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	// health is what autopilot knows, which only the leader's does.
	health := func(f func(*autopilot.State) float64) func() float64 {
		return func() float64 {
			if r.pilot == nil {
				return math.NaN()
			}
			if s := r.pilot.current(); s != nil {
				return f(s)
			}
			return math.NaN()
		}
	}
	m.registerer = registerer
	for _, c := range []prometheus.Collector{
		gauge("pushquorum_autopilot_healthy",
			"On the leader: 1 when every replica is alive and up to date, else 0. NaN on the others.",
			health(func(s *autopilot.State) float64 { return oneIf(s.Healthy) })),
		gauge("pushquorum_autopilot_failure_tolerance",
			"On the leader: how many more voters may fail before nothing can be written. NaN on the others.",
			health(func(s *autopilot.State) float64 { return float64(s.FailureTolerance) })),
		gauge("pushquorum_raft_voters",
			"Voters in the configuration, dead or alive.",
			func() float64 { return float64(r.countVoters()) }),
		gauge("pushquorum_removed",
			"1 on a replica that was removed from its cluster while it was away, else 0.",
			func() float64 { return oneIf(r.eviction.evicted()) }),
		stuckGauge("disk", func() float64 { return r.watch.stuckFor(&r.watch.disk).Seconds() }),
		stuckGauge("apply", func() float64 { return r.watch.stuckFor(&r.watch.apply).Seconds() }),
		stuckGauge("directory", func() float64 { return r.dir.Lasts().Seconds() }),
		gauge("pushquorum_draining",
			"1 on a replica that is about to stop, else 0.",
			func() float64 { return oneIf(r.draining.Load()) }),
		m.retries, m.leaderChanges, m.promotions, m.removals, m.handOvers, m.barrier,
		gauge("pushquorum_raft_term", "Current Raft term.", func() float64 { return float64(r.raft.CurrentTerm()) }),
		gauge("pushquorum_raft_commit_index",
			"Index up to which the log is committed, as far as this replica knows.",
			func() float64 { return float64(r.raft.CommitIndex()) }),
		gauge("pushquorum_raft_applied_index",
			"Index up to which the log is applied to this replica's state.",
			func() float64 { return float64(r.cfg.FSM.Applied()) }),
		gauge("pushquorum_raft_leader",
			"1 on the replica that leads, else 0.",
			func() float64 { return oneIf(r.raft.State() == raft.Leader) }),
		gauge("pushquorum_state_age_seconds",
			"Seconds since this replica's state was last known to be current; -1 if never since its start.",
			func() float64 {
				age, ok := r.Staleness()
				if !ok {
					return -1
				}
				return age.Seconds()
			}),
		newUsageCollector(r.cfg.FSM, r.cfg.Limits),
		&storageCollector{r: r, desc: prometheus.NewDesc("pushquorum_storage_bytes",
			"What the data directory takes: log, snapshots, reserve. "+
				"And its file system: size, free, and required, below which nothing more is stored.",
			[]string{"what"}, nil)},
		gauge("pushquorum_storage_short",
			"1 while the file system of the data directory has less free than is required, else 0.",
			func() float64 { return oneIf(r.space.Shortage() != "") }),
		&stateCollector{fsm: r.cfg.FSM, desc: prometheus.NewDesc("pushquorum_state_info",
			"Index of the state and, as a label, its hash: at one index all replicas must show one hash.",
			[]string{"hash"}, nil)},
	} {
		if err := registerer.Register(c); err != nil {
			m.unregister()
			return fmt.Errorf("registering the cluster's metrics: %w", err)
		}
		m.collectors = append(m.collectors, c)
	}
	return nil
}

func stuckGauge(part string, f func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "pushquorum_stuck_seconds", ConstLabels: prometheus.Labels{"part": part},
		Help: "How long a write to the disk, or the application of an entry, has been under way without moving, " +
			"or the data directory has not been well.",
	}, f)
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (m *metrics) unregister() {
	for _, c := range m.collectors {
		m.registerer.Unregister(c)
	}
	m.collectors = nil
}

// stateCollector gives index and hash of one view, which two gauges could not.
type stateCollector struct {
	fsm  *fsm.FSM
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(ch chan<- prometheus.Metric) {
	view := c.fsm.View()
	ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(view.Index()), view.Hash())
}
