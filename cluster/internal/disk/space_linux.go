package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// MeasureSpace asks for the size of the file system of a directory, and for what of it is free for this user.
func MeasureSpace(dir string) (FileSystem, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return FileSystem{}, os.NewSyscallError("statfs", err)
	}
	block := uint64(s.Frsize)
	if block == 0 {
		block = uint64(s.Bsize)
	}
	return FileSystem{Size: s.Blocks * block, Free: s.Bavail * block}, nil
}

// allocate gives a file so much room on the disk.
func allocate(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return writeZeros(f, size)
	}
	return os.NewSyscallError("fallocate", err)
}
