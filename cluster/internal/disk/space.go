package disk

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk/wal"
)

// FileSystem is the size of a file system, and how much of it this process may still use. Bytes.
type FileSystem struct{ Size, Free uint64 }

const (
	// By default so much stays free, or one part in minFreeShare of the file system if that is less.
	maxMinFree   = 200 << 20
	minFreeShare = 20
	// spaceSlack is the part of what must stay free that has to come on top of it before anything is stored again: at
	// the very limit each deleted file would begin, and each push end, a period of its own.
	spaceSlack = 8
	// Room is measured again before the second is over when one part in spaceParts of what may be written has been, and
	// so many bytes at least.
	spaceParts = 4
	spaceLeast = 512 << 10
)

// Space watches how much room the data directory's file system has. It asks once a second, after a write that found no
// room, and when much was written, never for each push.
type Space struct {
	dir     string
	name    string // of the replica
	minFree int64  // as in Config.MinFree
	measure func(dir string) (FileSystem, error)
	// snapshot is how much the next snapshot takes at most, beside what has been written of it: the log is only
	// shortened after one. Bytes.
	snapshot func() uint64
	reserve  *reserve
	logger   *slog.Logger

	// What is known is read without a lock, because a disk that hangs is asked for as long as it hangs.
	lack     atomic.Pointer[string]     // why nothing more should be stored, nil while there is room
	measured atomic.Pointer[FileSystem] // by the last measurement that got an answer, nil before
	files    atomic.Pointer[FileSizes]  // as of last second, nil before
	written  atomic.Uint64              // bytes, since the last measurement
	worth    atomic.Uint64              // a measurement, as soon as so many have been written

	measuring sync.Mutex
	failed    bool // the last measurement got no answer

	noReserve bool // it could not be made; known to run's goroutine only
}

// NewSpace makes a watch over the room in the data directory of the replica with that name. minFree is how much must
// stay free, in bytes: 0 is the default, and less asks for nothing. snapshot tells how much the next snapshot takes, in
// bytes, and segmentSize how large the log's segments are, for the reserve.
func NewSpace(dir, name string, minFree int64, segmentSize int, measure func(string) (FileSystem, error),
	snapshot func() uint64, logger *slog.Logger,
) *Space {
	return &Space{
		dir: dir, name: name, minFree: minFree, measure: measure, snapshot: snapshot,
		reserve: newReserve(dir, segmentSize), logger: logger,
	}
}

// Run measures again and again until ctx ends, and keeps the reserve.
func (w *Space) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		w.Measure()
		w.keepReserve()
		w.files.Store(w.measureFiles())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Measure finds out how much room there is now. Where that cannot be told, what was known stands.
func (w *Space) Measure() {
	w.measuring.Lock()
	defer w.measuring.Unlock()
	now, err := w.measure(w.dir)
	if err != nil {
		if !w.failed {
			w.logger.Debug("how much room the file system has is not known", "dir", w.dir, "err", err)
		}
		w.failed = true
		return
	}
	w.measured.Store(&now)
	w.failed = false
	least := w.least()
	w.written.Store(0)
	w.worth.Store((now.Free - min(now.Free, least)) / spaceParts)
	before := w.lack.Load()
	if before != nil {
		least += w.minimum() / spaceSlack
	}
	if least == 0 || now.Free >= least {
		if w.lack.Store(nil); before != nil {
			w.logger.Info("there is room on the disk again", "dir", w.dir, "free", now.Free)
		}
		return
	}
	why := fmt.Sprintf("the disk is nearly full and nothing more is stored: %s of %s has %s free, and should have "+
		"--storage.min-free=%s%s; make room on its file system or delete groups, which is possible",
		w.dir, w.name, megabytes(now.Free), megabytes(w.minimum()), w.andSnapshot())
	if w.lack.Store(&why); before == nil {
		w.logger.Error(why)
	}
}

// wrote counts what is written to the log: a fast one fills a small disk within a second.
func (w *Space) wrote(logs []*raft.Log) {
	size := uint64(0)
	for _, l := range logs {
		size += uint64(len(l.Data))
	}
	if w.lack.Load() == nil && w.written.Add(size) > max(w.worth.Load(), spaceLeast) {
		w.Measure()
	}
}

// keepReserve makes the reserve again when there is room. Not where a write waits for it: some file systems have to
// fill it.
func (w *Space) keepReserve() {
	now, required, _ := w.Measured()
	if w.lack.Load() != nil || now.Free < required+2*w.reserve.size {
		return
	}
	err := w.reserve.keep()
	switch {
	case err != nil && !w.noReserve:
		w.logger.Warn("cannot keep a reserve for when the disk is full, trying again", "file", w.reserve.path, "err",
			err)
	case err == nil && w.noReserve:
		w.logger.Info("a reserve for when the disk is full can be kept again", "file", w.reserve.path)
	}
	w.noReserve = err != nil
}

// full is called when a write has found no room.
func (w *Space) full() {
	w.GiveUpReserve()
	w.Measure()
}

// GiveUpReserve deletes the reserve, if there is one.
func (w *Space) GiveUpReserve() {
	was, err := w.reserve.giveUp()
	switch {
	case err != nil:
		w.logger.Error("cannot give up the reserve", "file", w.reserve.path, "err", err)
	case was:
		w.logger.Warn("the disk is full: the reserve was given up, make room on its file system or delete groups",
			"file", w.reserve.path, "size", w.reserve.size)
	}
}

// least is how much must be free for more to be stored: without room for the next snapshot the log could not be
// shortened any more, whatever is deleted.
func (w *Space) least() uint64 {
	if w.minFree < 0 {
		return 0
	}
	return w.minimum() + w.snapshot()
}

func (w *Space) andSnapshot() string {
	if n := w.snapshot(); n > 0 {
		return fmt.Sprintf(" and %s for the next snapshot", megabytes(n))
	}
	return ""
}

func (w *Space) lastMeasured() FileSystem {
	if now := w.measured.Load(); now != nil {
		return *now
	}
	return FileSystem{}
}

// Measured is what was measured last, and how much must be free; not known where that cannot be measured. Bytes.
func (w *Space) Measured() (now FileSystem, required uint64, known bool) {
	now = w.lastMeasured()
	return now, w.least(), now.Size > 0
}

// Room is how much was free when it was measured last, in bytes, and whether that is less than what must be free and so
// many bytes more.
func (w *Space) Room(more uint64) (free uint64, tight bool) {
	now, required, known := w.Measured()
	return now.Free, known && now.Free < required+more
}

// minimum is --storage.min-free.
func (w *Space) minimum() uint64 {
	switch {
	case w.minFree < 0:
		return 0
	case w.minFree > 0:
		return uint64(w.minFree)
	}
	return min(w.lastMeasured().Size/minFreeShare, maxMinFree)
}

// Shortage is why nothing more should be stored, or "".
func (w *Space) Shortage() string {
	if why := w.lack.Load(); why != nil {
		return *why
	}
	return ""
}

// Dir is the data directory, for messages.
func (w *Space) Dir() string { return w.dir }

// ReserveSize is how much is freed when the reserve is given up, in bytes.
func (w *Space) ReserveSize() uint64 { return w.reserve.size }

// Files is what the files took when they were measured last; not known before the first time.
func (w *Space) Files() (FileSizes, bool) {
	if files := w.files.Load(); files != nil {
		return *files, true
	}
	return FileSizes{}, false
}

func megabytes(n uint64) string { return fmt.Sprintf("%.1fMB", float64(n)/(1<<20)) }

// writeZeros writes so many bytes to a file.
func writeZeros(f *os.File, size int64) error {
	_, err := io.CopyN(f, zeros{}, size)
	return err
}

// zeros is read as zeros, without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// FileSizes is what the files of a data directory take. Bytes.
type FileSizes struct{ Log, Snapshots, Reserve uint64 }

// measureFiles adds up all files, of which there are a few dozen.
func (w *Space) measureFiles() *FileSizes {
	return &FileSizes{
		Log:       sizeBelow(filepath.Join(w.dir, wal.Dir)) + sizeBelow(filepath.Join(w.dir, RaftFile)),
		Snapshots: sizeBelow(filepath.Join(w.dir, SnapshotsDir)),
		Reserve:   sizeBelow(w.reserve.path),
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
