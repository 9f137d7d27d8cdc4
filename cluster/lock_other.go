//go:build !unix

package cluster

import (
	"log/slog"
	"os"
	"time"
)

// boltLockWait is how long the process that still holds raft.db is waited for: here bbolt's lock is the only one.
const boltLockWait = 10 * time.Second

// dirLock does nothing here: bbolt's own lock on raft.db is what remains.
type dirLock struct{}

func lockDir(string, time.Duration, *slog.Logger) (*dirLock, error) { return &dirLock{}, nil }

func lockDirReadOnly(string, time.Duration, *slog.Logger) (*dirLock, error) { return &dirLock{}, nil }

func (*dirLock) info() os.FileInfo { return nil }

func (*dirLock) Close() error { return nil }

// links is one: a file that is open cannot be deleted.
func links(*os.File) (uint64, error) { return 1, nil }

func owner(os.FileInfo) string { return "another user" }
