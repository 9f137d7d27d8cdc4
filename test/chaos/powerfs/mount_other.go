//go:build !linux

package powerfs

import "errors"

// Mount is a disk that is in use, on Linux alone.
type Mount struct{}

// Mount says that there is no FUSE here.
func (*Disk) Mount(string) (*Mount, error) { return nil, errors.New("FUSE is used on Linux only") }

// Unmount does nothing.
func (*Mount) Unmount() error { return nil }
