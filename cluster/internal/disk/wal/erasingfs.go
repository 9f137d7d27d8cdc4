package wal

import (
	"errors"
	"path/filepath"

	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"

	"pushquorum/cluster/internal/durable"
)

// erasingFS is raft-wal's view of the file system, with files that nobody else reads and that are deleted by an eraser.
// Names are never used twice, and a file that the list of segments does not name is deleted when the log is opened.
type erasingFS struct {
	walfs.FS
	erase func(path string)
}

// NewErasingFS gives files that are readable for nobody else. What is no longer needed is handed to erase by its path.
func NewErasingFS(erase func(path string)) types.VFS { return &erasingFS{erase: erase} }

// Create implements types.VFS.
func (f *erasingFS) Create(dir, name string, size uint64) (types.WritableFile, error) {
	file, err := f.FS.Create(dir, name, size)
	if err != nil {
		return nil, err
	}
	if err := durable.Chmod(filepath.Join(dir, name)); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Delete implements types.VFS.
func (f *erasingFS) Delete(dir, name string) error {
	f.erase(filepath.Join(dir, name))
	return nil
}
