//go:build unix

package disk

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockRetry is how long is waited between two attempts to take the lock.
const lockRetry = 50 * time.Millisecond

// boltLockWait is for bbolt's own lock, on raft.db. Who has the directory's has it soon: a process that ends gives both
// back.
const boltLockWait = time.Second

// Lock keeps a second process out of the data directory, from before the first file is read until the end.
type Lock struct{ f *os.File }

// LockDir takes the lock of a data directory. It waits for a process that holds it, because that one may just be
// ending: a successor that gave up at once would be started again only after a while, and a longer one each time.
func LockDir(dir string, wait time.Duration, logger *slog.Logger) (*Lock, error) {
	return awaitLock(dir, os.O_RDWR|os.O_CREATE, wait, logger)
}

// LockDirReadOnly does the same where nothing can be written.
func LockDirReadOnly(dir string, wait time.Duration, logger *slog.Logger) (*Lock, error) {
	return awaitLock(dir, os.O_RDONLY, wait, logger)
}

func awaitLock(dir string, flags int, wait time.Duration, logger *slog.Logger) (*Lock, error) {
	for waited := time.Duration(0); ; waited += lockRetry {
		l, err := tryLock(filepath.Join(dir, lockFile), flags)
		switch {
		case err != nil:
			return nil, err
		case l != nil:
			return l, nil
		case waited >= wait:
			return nil, fmt.Errorf("--storage.path=%s is in use by another process: stop it, or give this replica a "+
				"directory of its own", dir)
		case waited == 0:
			logger.Info("waiting for the process that still holds the data directory", "dir", dir, "at_most", wait)
		}
		time.Sleep(lockRetry)
	}
}

// tryLock gives neither a lock nor an error when another process holds it.
func tryLock(path string, flags int) (*Lock, error) {
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	l := &Lock{f: f}
	if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
		// While it waited, the directory may have been exchanged: the lock of one that is gone keeps nobody out.
		var now os.FileInfo
		if now, err = os.Stat(path); err == nil && os.SameFile(l.Info(), now) {
			return l, nil
		}
	}
	_ = f.Close()
	if err == nil || errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return nil, fmt.Errorf("locking %s: %w", path, err)
}

// Info is what the file that is held is, nil when that is not known.
func (l *Lock) Info() os.FileInfo {
	info, err := l.f.Stat()
	if err != nil {
		return nil
	}
	return info
}

// Close lets another process have the directory.
func (l *Lock) Close() error { return l.f.Close() }

// links is how many names an open file has, 0 once it was deleted.
func links(f *os.File) (uint64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return uint64(info.Sys().(*syscall.Stat_t).Nlink), nil //nolint:unconvert // its type differs between systems
}

// owner says whose a file is, for a message.
func owner(info os.FileInfo) string {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "an unknown user"
	}
	return fmt.Sprintf("user %d, group %d", s.Uid, s.Gid)
}
