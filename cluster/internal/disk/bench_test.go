package disk

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	walfs "github.com/hashicorp/raft-wal/fs"

	"pushquorum/cluster/internal/disk/wal"
)

// BenchmarkStoreLogs appends batches of entries of 2.4 KB, about what a push of a small job is, and drops old ones as
// snapshots do. Every append is synced. p50 and p99 are in µs per append.
func BenchmarkStoreLogs(b *testing.B) {
	for _, store := range []string{LogWAL, LogBbolt} {
		for _, size := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("store=%s/batch=%d", store, size), func(b *testing.B) {
				benchmarkStoreLogs(b, store, size)
			})
		}
	}
}

func benchmarkStoreLogs(b *testing.B, store string, size int) {
	s, closeLog := openBenchLog(b, store)
	defer closeLog()
	data := bytes.Repeat([]byte("pushquorum 0123456789abc"), 100)
	next, kept := uint64(1), uint64(1)
	took := make([]time.Duration, 0, b.N)
	b.SetBytes(int64(size * len(data)))
	for b.Loop() {
		batch := make([]*raft.Log, size)
		for i := range batch {
			batch[i] = &raft.Log{Index: next, Term: 1, Data: data, AppendedAt: time.Now()}
			next++
		}
		start := time.Now()
		if err := s.StoreLogs(batch); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
		if next-kept > 4096 {
			b.StopTimer()
			if err := s.DeleteRange(kept, kept+2047); err != nil {
				b.Fatal(err)
			}
			kept += 2048
			b.StartTimer()
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

func openBenchLog(b *testing.B, store string) (*logStore, func()) {
	b.Helper()
	dir := b.TempDir()
	file, err := openTailFile(filepath.Join(dir, TailFileName))
	if err != nil {
		b.Fatal(err)
	}
	bolt, err := openBoltStore(filepath.Join(dir, RaftFile))
	if err != nil {
		b.Fatal(err)
	}
	inner, closeInner := entryStore(bolt), func() error { return nil }
	if store == LogWAL {
		w, err := wal.Open(dir, wal.SegmentSize, walfs.New(), hclog.NewNullLogger())
		if err != nil {
			b.Fatal(err)
		}
		inner, closeInner = w, w.Close
	}
	return newLogStore(func(uint64) string { return dir }, inner, file, func() error { return nil }),
		func() { _, _, _ = closeInner(), bolt.Close(), file.Close() }
}
