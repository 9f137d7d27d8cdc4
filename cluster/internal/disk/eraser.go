package disk

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// eraser deletes files and directories that nothing refers to any more, in the background and piece by piece,
// because a file system that frees a whole segment at once, and tells the disk, makes the next append to the log wait.
// What is left when the process ends is deleted at the next start.
type eraser struct {
	logger  hclog.Logger
	closing chan struct{}
	close   func()
	wg      sync.WaitGroup

	mu      sync.Mutex
	paths   []string // oldest first
	running bool
}

// erasePiece is how much of a file is freed at a time, in bytes, and eraseRest how long the disk is then left to
// others.
const (
	erasePiece = 512 << 10
	eraseRest  = 5 * time.Millisecond
)

func newEraser(logger hclog.Logger) *eraser {
	e := &eraser{logger: logger, closing: make(chan struct{})}
	e.close = sync.OnceFunc(func() { close(e.closing) })
	return e
}

// erase deletes a path later; one that does not exist is deleted.
func (e *eraser) erase(path string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.paths = append(e.paths, path)
	if !e.running {
		e.running = true
		e.wg.Go(e.run)
	}
}

// next gives the oldest path, and ends run when there is none.
func (e *eraser) next() (path string, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.paths) == 0 || !e.open() {
		e.running = false
		return "", false
	}
	path, e.paths = e.paths[0], e.paths[1:]
	return path, true
}

func (e *eraser) run() {
	for path, ok := e.next(); ok; path, ok = e.next() {
		// What cannot be shrunk may still be deleted.
		_ = filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				e.shrink(file)
			}
			return nil
		})
		if !e.open() {
			return
		}
		if err := os.RemoveAll(path); err != nil {
			e.logger.Warn("cannot delete what is no longer needed; the next start tries again", "path", path, "error",
				err)
		}
	}
}

// shrink takes pieces off the end of a file until one is left.
func (e *eraser) shrink(file string) {
	info, err := os.Lstat(file)
	if err != nil {
		return
	}
	for size := info.Size() - erasePiece; size > 0 && e.open(); size -= erasePiece {
		if os.Truncate(file, size) != nil {
			return
		}
		select {
		case <-time.After(eraseRest):
		case <-e.closing:
		}
	}
}

func (e *eraser) open() bool {
	select {
	case <-e.closing:
		return false
	default:
		return true
	}
}

// Close stops the work and waits for the piece under way.
func (e *eraser) Close() {
	e.close()
	e.wg.Wait()
}
