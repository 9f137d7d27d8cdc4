package cluster

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

const (
	snapshotMeta   = "meta.json"
	snapshotState  = "state.bin"
	snapshotSum    = "meta.crc32c"
	snapshotTmp    = ".tmp"
	snapshotRetain = 2
)

// snapshotStore is raft.FileSnapshotStore with three things added. The store's own checksum covers state.bin and lies in
// meta.json, which nothing covers: a sidecar does. Old snapshots are renamed before they are deleted, so that a
// crash in between leaves rubbish that says so and no half snapshot. And what is written goes to the disk piece by piece.
type snapshotStore struct {
	*raft.FileSnapshotStore
	dir     string
	onState func() error
	// onSaved is called when a snapshot is final, before Raft goes on after it.
	onSaved func(base) error
	erase   func(path string) // deletes what is no snapshot any more
	newest  atomic.Uint64     // index of the newest snapshot, 0 = none
	size    atomic.Uint64     // of its state, in bytes

	mu      sync.Mutex
	readers map[string]int // how many read a snapshot, by its ID
}

func newSnapshotStore(dataDir string, logger hclog.Logger, onState func() error, onSaved func(base) error,
	erase func(path string),
) (*snapshotStore, error) {
	dir := filepath.Join(dataDir, snapshotsDir)
	if err := removeTmpSnapshots(dir); err != nil {
		return nil, err
	}
	// The store itself is never to delete: see reap.
	inner, err := raft.NewFileSnapshotStoreWithLogger(dataDir, math.MaxInt32, logger)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", dir, err)
	}
	return &snapshotStore{FileSnapshotStore: inner, dir: dir, onState: onState, onSaved: onSaved, erase: erase, readers: map[string]int{}}, nil
}

// removeTmpSnapshots removes what a crash left of a snapshot being written or deleted.
func removeTmpSnapshots(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the snapshots: %w", err)
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), snapshotTmp) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("removing an unfinished snapshot: %w", err)
			}
		}
	}
	return nil
}

// Create implements raft.SnapshotStore.
func (s *snapshotStore) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, trans raft.Transport,
) (raft.SnapshotSink, error) {
	if newest := s.newest.Load(); index < newest {
		// From a leader that has lost sight of how far this replica is. It would undo what has been applied; the leader's next
		// snapshot will do.
		return nil, fmt.Errorf("a snapshot up to entry %d is refused: %s holds one up to entry %d", index, s.dir, newest)
	}
	sink, err := s.FileSnapshotStore.Create(version, index, term, configuration, configurationIndex, trans)
	if err != nil {
		return nil, fmt.Errorf("creating a snapshot in %s: %w", s.dir, err)
	}
	state, err := os.OpenFile(filepath.Join(s.dir, sink.ID()+snapshotTmp, snapshotState), os.O_RDWR, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("creating a snapshot in %s: %w", s.dir, err), sink.Cancel())
	}
	return &snapshotSink{SnapshotSink: sink, store: s, state: state, last: base{Index: index, Term: term}}, nil
}

// snapshotPiece is how much of a snapshot goes to the disk at a time, so that an append to the log waits for no more. Bytes.
const snapshotPiece = 512 << 10

type snapshotSink struct {
	raft.SnapshotSink
	store        *snapshotStore
	state        *os.File // the file being written, opened once more
	size, synced uint64   // bytes
	last         base
	closed       bool
}

// Write implements io.Writer.
func (s *snapshotSink) Write(p []byte) (int, error) {
	n, err := s.SnapshotSink.Write(p)
	if s.size += uint64(n); err == nil && s.size-s.synced >= snapshotPiece {
		s.synced = s.size
		err = s.state.Sync()
	}
	return n, err
}

// Close makes the snapshot final; Raft drops log entries only after it.
func (s *snapshotSink) Close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	dir := filepath.Join(s.store.dir, s.ID())
	_ = s.state.Close() // what has been written is made durable through the other descriptor
	if err := s.SnapshotSink.Close(); err != nil {
		return fmt.Errorf("finishing the snapshot %s: %w", dir, err)
	}
	meta, err := os.ReadFile(filepath.Join(dir, snapshotMeta))
	if err != nil {
		return fmt.Errorf("finishing the snapshot %s: %w", dir, err)
	}
	if err := writeFileAtomic(filepath.Join(dir, snapshotSum), encodeSum(meta)); err != nil {
		return fmt.Errorf("finishing the snapshot %s: %w", dir, err)
	}
	if err := s.store.onState(); err != nil {
		return err
	}
	s.store.newest.Store(s.last.Index)
	s.store.size.Store(s.size)
	if err := s.store.onSaved(s.last); err != nil {
		return err
	}
	return s.store.reap()
}

// Cancel drops the snapshot.
func (s *snapshotSink) Cancel() error {
	if !s.closed {
		s.closed = true
		_ = s.state.Close() // of a file that goes away
	}
	return s.SnapshotSink.Cancel()
}

// reap deletes all but the newest snapshots.
func (s *snapshotStore) reap() error {
	list, err := s.List()
	if err != nil {
		return fmt.Errorf("listing the snapshots in %s: %w", s.dir, err)
	}
	for _, meta := range list[min(len(list), snapshotRetain):] {
		if err := s.remove(meta); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes a snapshot, whose name says first that it is none any more. One that is still being sent to a follower is deleted
// as a whole: then its bytes are there for as long as it is open.
func (s *snapshotStore) remove(meta *raft.SnapshotMeta) error {
	path := filepath.Join(s.dir, meta.ID)
	s.mu.Lock()
	read := s.readers[meta.ID] > 0
	err := os.Rename(path, path+snapshotTmp) // after this nobody can open it
	s.mu.Unlock()
	switch {
	case err == nil && read:
		err = os.RemoveAll(path + snapshotTmp)
	case err == nil:
		s.erase(path + snapshotTmp)
	}
	if err != nil {
		return fmt.Errorf("removing an old snapshot: %w", err)
	}
	return nil
}

// Open implements raft.SnapshotStore.
func (s *snapshotStore) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	s.mu.Lock()
	s.readers[id]++
	s.mu.Unlock()
	meta, content, err := s.FileSnapshotStore.Open(id)
	if err != nil {
		s.closed(id)
		return nil, nil, err
	}
	return meta, &snapshotReader{ReadCloser: content, closed: sync.OnceFunc(func() { s.closed(id) })}, nil
}

func (s *snapshotStore) closed(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readers[id]--; s.readers[id] == 0 {
		delete(s.readers, id)
	}
}

// snapshotReader tells when a snapshot is no longer read.
type snapshotReader struct {
	io.ReadCloser
	closed func()
}

// Close implements io.Closer.
func (r *snapshotReader) Close() error {
	defer r.closed()
	return r.ReadCloser.Close()
}

// encodeSum is the content of the sidecar of a file.
func encodeSum(content []byte) []byte {
	return fmt.Appendf(nil, "%08x\n", crc32.Checksum(content, castagnoli()))
}
