package cluster

import (
	"github.com/prometheus/client_golang/prometheus"
)

// storageCollector tells how much room there is and what takes it. It never asks the disk, because
// what it says is wanted most while that hangs.
type storageCollector struct {
	r    *Replica
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *storageCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c *storageCollector) Collect(ch chan<- prometheus.Metric) {
	show := func(what string, n uint64) {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n), what)
	}
	if files := c.r.space.Files.Load(); files != nil {
		show("log", files.Log)
		show("snapshots", files.Snapshots)
		show("reserve", files.Reserve)
	}
	if now, required, known := c.r.space.Last(); known {
		show("size", now.Size)
		show("free", now.Free)
		show("required", required)
	}
}
