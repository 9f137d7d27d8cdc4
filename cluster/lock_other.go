//go:build !unix

package cluster

// dirLock does nothing here: bbolt's own lock on raft.db is what remains.
type dirLock struct{}

func lockDir(string) (*dirLock, error) { return &dirLock{}, nil }

func (*dirLock) Close() error { return nil }
