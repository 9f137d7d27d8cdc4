//go:build !linux

package disk

import (
	"errors"
	"os"
)

// MeasureSpace is not possible here.
func MeasureSpace(string) (FileSystem, error) { return FileSystem{}, errors.ErrUnsupported }

// allocate gives a file so much room on the disk.
func allocate(f *os.File, size int64) error { return writeZeros(f, size) }
