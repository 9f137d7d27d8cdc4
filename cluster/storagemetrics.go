package cluster

import (
	"io/fs"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
)

// storageCollector tells how much room there is and what takes it. Files are looked at when somebody asks: there are a few dozen.
type storageCollector struct {
	r    *Replica
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *storageCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c *storageCollector) Collect(ch chan<- prometheus.Metric) {
	dir := c.r.cfg.DataDir
	show := func(what string, n uint64) {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n), what)
	}
	show("log", sizeBelow(filepath.Join(dir, walDir))+sizeBelow(filepath.Join(dir, raftFile)))
	show("snapshots", sizeBelow(filepath.Join(dir, snapshotsDir)))
	show("reserve", sizeBelow(c.r.space.reserve.path))
	if now, required, known := c.r.space.last(); known {
		show("size", now.size)
		show("free", now.free)
		show("required", required)
	}
}

// sizeBelow is how many bytes the files have at and below a path. What goes meanwhile does not count.
func sizeBelow(path string) (size uint64) {
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // it is gone
		}
		if info, err := d.Info(); err == nil {
			size += uint64(info.Size())
		}
		return nil
	})
	return size
}
