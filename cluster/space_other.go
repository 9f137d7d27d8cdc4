//go:build !linux

package cluster

import (
	"errors"
	"os"
)

func measureSpace(string) (fileSystem, error) { return fileSystem{}, errors.ErrUnsupported }

// allocate gives a file so much room on the disk.
func allocate(f *os.File, size int64) error { return writeZeros(f, size) }
