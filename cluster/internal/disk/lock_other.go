//go:build !unix

package disk

import (
	"log/slog"
	"os"
	"time"
)

// boltLockWait is how long the process that still holds raft.db is waited for: here bbolt's lock is the only one.
const boltLockWait = 10 * time.Second

// Lock does nothing here: bbolt's own lock on raft.db is what remains.
type Lock struct{}

func LockDir(string, time.Duration, *slog.Logger) (*Lock, error) { return &Lock{}, nil }

func LockDirReadOnly(string, time.Duration, *slog.Logger) (*Lock, error) { return &Lock{}, nil }

func (*Lock) Info() os.FileInfo { return nil }

func (*Lock) Close() error { return nil }

// links is one: a file that is open cannot be deleted.
func links(*os.File) (uint64, error) { return 1, nil }

func Owner(os.FileInfo) string { return "another user" }
