package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// fileSystem is the size of a file system, and how much of it this process may still use. Bytes.
type fileSystem struct{ size, free uint64 }

const (
	// By default so much stays free, or one part in minFreeShare of the file system if that is less.
	maxMinFree   = 200 << 20
	minFreeShare = 20
	// spaceSlack is the part of what must stay free that has to come on top of it before anything is stored again: at the very
	// limit each deleted file would begin, and each push end, a period of its own.
	spaceSlack = 8
)

// spaceWatch watches how much room the data directory's file system has. It asks once a second and after a write that found no
// room, never for a push.
type spaceWatch struct {
	dir     string
	name    string // of the replica
	minFree int64  // as in Config.MinFree
	measure func(dir string) (fileSystem, error)
	logger  *slog.Logger

	lack atomic.Pointer[string] // why nothing more should be stored, nil while there is room

	mu     sync.Mutex // held while the disk is asked
	seen   fileSystem // by the last look that got an answer
	failed bool       // the last look got none
}

func newSpaceWatch(dir, name string, minFree int64, measure func(string) (fileSystem, error), logger *slog.Logger) *spaceWatch {
	return &spaceWatch{dir: dir, name: name, minFree: minFree, measure: measure, logger: logger}
}

func (w *spaceWatch) run(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for w.look(); ; w.look() {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look finds out how much room there is now. Where that cannot be told, what was known stands.
func (w *spaceWatch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, err := w.measure(w.dir)
	if err != nil {
		if !w.failed {
			w.logger.Debug("how much room the file system has is not known", "dir", w.dir, "err", err)
		}
		w.failed = true
		return
	}
	w.seen, w.failed = now, false
	least := w.least()
	before := w.lack.Load()
	if before != nil {
		least += least / spaceSlack
	}
	if now.free >= least {
		if w.lack.Store(nil); before != nil {
			w.logger.Info("there is room on the disk again", "dir", w.dir, "free", now.free)
		}
		return
	}
	why := fmt.Sprintf("the disk is nearly full and nothing more is stored: %s of %s has %s free, less than --storage.min-free=%s; make room on its file system or delete groups, which is possible",
		w.dir, w.name, megabytes(now.free), megabytes(w.least()))
	if w.lack.Store(&why); before == nil {
		w.logger.Error(why)
	}
}

// least is how much must be free.
func (w *spaceWatch) least() uint64 {
	switch {
	case w.minFree < 0:
		return 0
	case w.minFree > 0:
		return uint64(w.minFree)
	}
	return min(w.seen.size/minFreeShare, maxMinFree)
}

// shortage is why nothing more should be stored, or "".
func (w *spaceWatch) shortage() string {
	if why := w.lack.Load(); why != nil {
		return *why
	}
	return ""
}

func megabytes(n uint64) string { return fmt.Sprintf("%.1fMB", float64(n)/(1<<20)) }
