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

	"pushquorum/cluster/internal/disk/wal"

	"github.com/hashicorp/raft"
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
	// It is looked again, and not only once a second, when one part in spaceParts of what may be written has been, and
	// so many bytes at least.
	spaceParts = 4
	spaceLeast = 512 << 10
)

// Space watches how much room the data directory's file system has. It asks once a second, after a write that found no
// room, and when much was written, never for each push.
type Space struct {
	Dir     string
	name    string // of the replica
	minFree int64  // as in Config.MinFree
	measure func(dir string) (FileSystem, error)
	// snapshot is how much the next snapshot takes at most, beside what has been written of it: the log is only
	// shortened after one. Bytes.
	snapshot func() uint64
	Reserve  *Reserve
	logger   *slog.Logger

	// What is known is read without a lock, because a disk that hangs is asked for as long as it hangs.
	Lack    atomic.Pointer[string]     // why nothing more should be stored, nil while there is room
	seen    atomic.Pointer[FileSystem] // by the last look that got an answer, nil before
	Files   atomic.Pointer[fileSizes]  // as of last second, nil before
	written atomic.Uint64              // bytes, since the last look
	worth   atomic.Uint64              // a look, as soon as so many have been written

	looking sync.Mutex
	failed  bool // the last look got no answer

	noReserve bool // it could not be made; known to run's goroutine only
}

// NewSpace makes a watch over the room in a data directory. minFree is as in Config.MinFree, in bytes; snapshot tells how
// much the next snapshot takes.
func NewSpace(dir, name string, minFree int64, measure func(string) (FileSystem, error), snapshot func() uint64, reserve *Reserve,
	logger *slog.Logger,
) *Space {
	return &Space{Dir: dir, name: name, minFree: minFree, measure: measure, snapshot: snapshot, Reserve: reserve, logger: logger}
}

// Run looks again and again until ctx ends, and keeps the reserve.
func (w *Space) Run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		w.Look()
		w.KeepReserve()
		w.Files.Store(w.measureFiles())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Look finds out how much room there is now. Where that cannot be told, what was known stands.
func (w *Space) Look() {
	w.looking.Lock()
	defer w.looking.Unlock()
	now, err := w.measure(w.Dir)
	if err != nil {
		if !w.failed {
			w.logger.Debug("how much room the file system has is not known", "dir", w.Dir, "err", err)
		}
		w.failed = true
		return
	}
	w.seen.Store(&now)
	w.failed = false
	least := w.Least()
	w.written.Store(0)
	w.worth.Store((now.Free - min(now.Free, least)) / spaceParts)
	before := w.Lack.Load()
	if before != nil {
		least += w.minimum() / spaceSlack
	}
	if least == 0 || now.Free >= least {
		if w.Lack.Store(nil); before != nil {
			w.logger.Info("there is room on the disk again", "dir", w.Dir, "free", now.Free)
		}
		return
	}
	why := fmt.Sprintf("the disk is nearly full and nothing more is stored: %s of %s has %s free, and should have --storage.min-free=%s%s; make room on its file system or delete groups, which is possible",
		w.Dir, w.name, megabytes(now.Free), megabytes(w.minimum()), w.andSnapshot())
	if w.Lack.Store(&why); before == nil {
		w.logger.Error(why)
	}
}

// Wrote counts what is written to the log: a fast one fills a small disk within a second.
func (w *Space) Wrote(logs []*raft.Log) {
	size := uint64(0)
	for _, l := range logs {
		size += uint64(len(l.Data))
	}
	if w.Lack.Load() == nil && w.written.Add(size) > max(w.worth.Load(), spaceLeast) {
		w.Look()
	}
}

// KeepReserve makes the reserve again when there is room. Not where a write waits for it: some file systems have to
// fill it.
func (w *Space) KeepReserve() {
	now, required, _ := w.Last()
	if w.Lack.Load() != nil || now.Free < required+2*w.Reserve.Size {
		return
	}
	err := w.Reserve.Keep()
	switch {
	case err != nil && !w.noReserve:
		w.logger.Warn("cannot keep a reserve for when the disk is full, trying again", "file", w.Reserve.Path, "err", err)
	case err == nil && w.noReserve:
		w.logger.Info("a reserve for when the disk is full can be kept again", "file", w.Reserve.Path)
	}
	w.noReserve = err != nil
}

// Full is called when a write has found no room.
func (w *Space) Full() {
	w.GiveUpReserve()
	w.Look()
}

// GiveUpReserve deletes the reserve, if there is one.
func (w *Space) GiveUpReserve() {
	was, err := w.Reserve.GiveUp()
	switch {
	case err != nil:
		w.logger.Error("cannot give up the reserve", "file", w.Reserve.Path, "err", err)
	case was:
		w.logger.Warn("the disk is full: the reserve was given up, make room on its file system or delete groups", "file", w.Reserve.Path, "size", w.Reserve.Size)
	}
}

// Least is how much must be free for more to be stored: without room for the next snapshot the log could not be
// shortened any more, whatever is deleted.
func (w *Space) Least() uint64 {
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

func (w *Space) lastSeen() FileSystem {
	if now := w.seen.Load(); now != nil {
		return *now
	}
	return FileSystem{}
}

// Last is what the last look has seen, and how much must be free; not known where that cannot be measured.
func (w *Space) Last() (now FileSystem, required uint64, known bool) {
	now = w.lastSeen()
	return now, w.Least(), now.Size > 0
}

// Room is how much was free at the last look, and whether that is less than what must be free and so many bytes more.
func (w *Space) Room(more uint64) (free uint64, tight bool) {
	now, required, known := w.Last()
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
	return min(w.lastSeen().Size/minFreeShare, maxMinFree)
}

// Shortage is why nothing more should be stored, or "".
func (w *Space) Shortage() string {
	if why := w.Lack.Load(); why != nil {
		return *why
	}
	return ""
}

func megabytes(n uint64) string { return fmt.Sprintf("%.1fMB", float64(n)/(1<<20)) }

// writeZeros writes so many bytes to a file.
func writeZeros(f *os.File, size int64) error {
	_, err := io.CopyN(f, Zeros{}, size)
	return err
}

// Zeros is read as zeros, without end.
type Zeros struct{}

func (Zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// fileSizes is what the files of a data directory take. Bytes.
type fileSizes struct{ Log, Snapshots, Reserve uint64 }

// measureFiles looks at all files, of which there are a few dozen.
func (w *Space) measureFiles() *fileSizes {
	return &fileSizes{
		Log:       sizeBelow(filepath.Join(w.Dir, wal.Dir)) + sizeBelow(filepath.Join(w.Dir, RaftFile)),
		Snapshots: sizeBelow(filepath.Join(w.Dir, SnapshotsDir)),
		Reserve:   sizeBelow(w.Reserve.Path),
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
