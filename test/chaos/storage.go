package main

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"pushquorum/test/chaos/powerfs"
)

// diskSize is far more than a replica needs.
const diskSize = 4 << 30

// storage is the data directory of one replica: a disk of its own, or a plain directory.
type storage struct {
	dir   string
	disk  *powerfs.Disk // nil: a plain directory
	mount *powerfs.Mount
	wipe  func() error // empties what is neither
}

func newStorage(dir string, m machine) (*storage, error) {
	s := &storage{dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s.wipe = func() error {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		return os.MkdirAll(dir, 0o700)
	}
	if m.disk != nil { // why there is no disk that can lose power
		return s, nil //nolint:nilerr // see above
	}
	s.disk = powerfs.New(diskSize)
	var err error
	s.mount, err = s.disk.Mount(dir)
	return s, err
}

// cutPower loses what was not durable. The replica must have ended, by kill -9.
func (s *storage) cutPower(chance *rand.Rand) (writes, lost int, err error) {
	err = s.without(func() { writes, lost = s.disk.CutPower(chance) })
	return writes, lost, err
}

// erase loses everything. The replica must have ended.
func (s *storage) erase() error {
	if s.disk == nil {
		return s.wipe()
	}
	return s.without(s.disk.Erase)
}

// delete is rm -rf of the directory, in use or not: of itself, or of all that is in it where it is the root of a disk.
func (s *storage) delete() error {
	return attempt(time.Second, func() error { // what is being made meanwhile may be in the way
		if s.disk == nil {
			return os.RemoveAll(s.dir)
		}
		entries, err := os.ReadDir(s.dir)
		for _, e := range entries {
			err = errors.Join(err, os.RemoveAll(filepath.Join(s.dir, e.Name())))
		}
		return errors.Join(err, syncDir(s.dir)) // a loss of power does not bring back half of it
	})
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// without does something while the disk is not mounted.
func (s *storage) without(f func()) error {
	if err := s.mount.Unmount(); err != nil {
		return err
	}
	f()
	var err error
	s.mount, err = s.disk.Mount(s.dir)
	return err
}

func (s *storage) close() {
	if s.mount != nil {
		_ = s.mount.Unmount() // the namespace that it is in ends as well
	}
}
