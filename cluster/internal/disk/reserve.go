package disk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"pushquorum/cluster/internal/durable"
)

const (
	// ReserveFile is what the reserve is called in the data directory.
	ReserveFile = "reserve"
	// ReserveRest is what the reserve holds beside a segment of the log: what a start writes apart from that (the
	// identity, the pages of raft.db, a probe), and what a snapshot of a few groups takes. Bytes.
	ReserveRest = 1 << 20
)

// Reserve is room in the data directory that is given up when the disk is full, so that a replica can start, and what
// is deleted gets into the log. It is made again when there is room.
type Reserve struct {
	Path string
	Size uint64 // bytes
}

// NewReserve names the reserve of a data directory whose segments have that size, in bytes. It makes nothing.
func NewReserve(dir string, segmentSize int) *Reserve {
	return &Reserve{Path: filepath.Join(dir, ReserveFile), Size: uint64(segmentSize) + ReserveRest}
}

// GiveUp deletes the reserve, and tells whether there was one.
func (r *Reserve) GiveUp() (bool, error) {
	err := os.Remove(r.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Keep makes the reserve unless it is there. It is made under another name: half a reserve would never be made whole.
func (r *Reserve) Keep() (err error) {
	if info, err := os.Lstat(r.Path); err == nil && info.Size() >= int64(r.Size) {
		return nil
	}
	tmp := r.Path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, durable.Mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp))
		}
	}()
	if err := errors.Join(allocate(f, int64(r.Size)), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, r.Path)
}

// GiveUpReserve makes room for a start on a disk that has none. What is left of making a reserve goes in any case.
func GiveUpReserve(dir string, segmentSize int, measure func(dir string) (FileSystem, error)) error {
	r := NewReserve(dir, segmentSize)
	if err := os.Remove(r.Path + ".tmp"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if now, err := measure(dir); err != nil || now.Free >= r.Size {
		return nil //nolint:nilerr // what cannot be measured has no reserve
	}
	_, err := r.GiveUp()
	return err
}

const (
	// A file system holds at least so many segments of the log: an almost empty one would fill a small disk.
	minSegments    = 32
	minSegmentSize = 1 << 20 // bytes
)

// SuitedSegmentSize is how large segments of the log are on the file system of a directory, most at most. Bytes.
func SuitedSegmentSize(dir string, most int, measure func(dir string) (FileSystem, error)) int {
	now, err := measure(dir)
	if err != nil || now.Size == 0 {
		return most
	}
	return int(min(uint64(most), max(now.Size/minSegments, minSegmentSize)))
}
