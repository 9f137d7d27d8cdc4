package wal

import (
	"io"
	"os"
	"path/filepath"
	"sync"

	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"
)

// readingFS is raft-wal's view of a directory of which nothing on the disk may change. The library opens the last
// segment to be written, and puts right there, as we do, what a crash has left: that happens in memory.
type readingFS struct {
	walfs.FS

	mu    sync.Mutex
	files map[string]*memoryFile // by path
}

// NewReadingFS gives files of which what is written stays in memory.
func NewReadingFS() types.VFS { return &readingFS{files: map[string]*memoryFile{}} }

// Create implements types.VFS.
func (f *readingFS) Create(dir, name string, _ uint64) (types.WritableFile, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	made := &memoryFile{}
	f.files[filepath.Join(dir, name)] = made
	return made, nil
}

// Delete implements types.VFS. What the list of segments does not name is not read.
func (f *readingFS) Delete(string, string) error { return nil }

// OpenReader implements types.VFS.
func (f *readingFS) OpenReader(dir, name string) (types.ReadableFile, error) {
	f.mu.Lock()
	changed, ok := f.files[filepath.Join(dir, name)]
	f.mu.Unlock()
	if ok {
		return changed, nil
	}
	return f.FS.OpenReader(dir, name)
}

// OpenWriter implements types.VFS.
func (f *readingFS) OpenWriter(dir, name string) (types.WritableFile, error) {
	path := filepath.Join(dir, name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if opened, ok := f.files[path]; ok {
		return opened, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f.files[path] = &memoryFile{b: b}
	return f.files[path], nil
}

// memoryFile is a file of which what was written is lost at the end.
type memoryFile struct {
	mu sync.RWMutex
	b  []byte
}

// ReadAt implements io.ReaderAt.
func (f *memoryFile) ReadAt(p []byte, at int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if at >= int64(len(f.b)) {
		return 0, io.EOF
	}
	n := copy(p, f.b[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements io.WriterAt.
func (f *memoryFile) WriteAt(p []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if missing := at + int64(len(p)) - int64(len(f.b)); missing > 0 {
		f.b = append(f.b, make([]byte, missing)...)
	}
	return copy(f.b[at:], p), nil
}

// Sync implements types.WritableFile.
func (*memoryFile) Sync() error { return nil }

// Close implements io.Closer. Readers that have it open go on.
func (*memoryFile) Close() error { return nil }
