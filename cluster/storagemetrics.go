package cluster

import (
	"io/fs"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"pushquorum/cluster/internal/disk/wal"
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
	if files := c.r.space.files.Load(); files != nil {
		show("log", files.log)
		show("snapshots", files.snapshots)
		show("reserve", files.reserve)
	}
	if now, required, known := c.r.space.last(); known {
		show("size", now.size)
		show("free", now.free)
		show("required", required)
	}
}

// fileSizes is what the files of a data directory take. Bytes.
type fileSizes struct{ log, snapshots, reserve uint64 }

// measureFiles looks at all files, of which there are a few dozen.
func (w *spaceWatch) measureFiles() *fileSizes {
	return &fileSizes{
		log:       sizeBelow(filepath.Join(w.dir, wal.Dir)) + sizeBelow(filepath.Join(w.dir, raftFile)),
		snapshots: sizeBelow(filepath.Join(w.dir, snapshotsDir)),
		reserve:   sizeBelow(w.reserve.path),
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
