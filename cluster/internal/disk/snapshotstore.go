package disk

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/durable"
)

const (
	snapshotMeta = "meta.json"
	// snapshotState is the file of a snapshot with the state.
	snapshotState = "state.bin"
	// snapshotSum is the file with the checksum of the one that describes it.
	snapshotSum = "meta.crc32c"
	// snapshotTmp ends the name of one that is being made or deleted.
	snapshotTmp    = ".tmp"
	snapshotRetain = 2
)

// snapshotStore is raft.FileSnapshotStore with five things added. The store's own checksum covers state.bin and lies in
// meta.json, which nothing covers: a sidecar does. Old snapshots are renamed before they are deleted, so that a crash
// in between leaves rubbish that says so and no half snapshot. What is written goes to the disk piece by piece. What
// another replica sends is read, as a restore will read it, before it counts. And the newest snapshot is never followed
// by an older one.
type snapshotStore struct {
	*raft.FileSnapshotStore
	dir     string
	onState func() error
	// onSaved is called when a snapshot is final, before Raft goes on after it.
	onSaved func(snapshotEnd) error
	erase   func(path string) // deletes what is no snapshot any more
	verify  snapshotVerifier  // of what another replica sends

	ending sync.Mutex    // held while a snapshot becomes the newest: they end in any order
	newest atomic.Uint64 // index of the newest snapshot, 0 = none
	term   atomic.Uint64 // of its last entry
	size   atomic.Uint64 // of its state, in bytes
	coming atomic.Uint64 // what is written of the next one, in bytes

	mu      sync.Mutex
	readers map[string]int // how many read a snapshot, by its ID

	// wrote is told how each write to the disk ended; nil while nobody wants to know.
	wrote func(error)
}

func (s *snapshotStore) note(err error) {
	if s.wrote != nil {
		s.wrote(err)
	}
}

// snapshotVerifier reads a snapshot to its end and gives the index that it says it was taken at.
type snapshotVerifier func(io.Reader) (applied uint64, err error)

func newSnapshotStore(dataDir string, logger hclog.Logger, verify snapshotVerifier, onState func() error,
	onSaved func(snapshotEnd) error, erase func(path string),
) (*snapshotStore, error) {
	dir := filepath.Join(dataDir, SnapshotsDir)
	if err := removeTmpSnapshots(dir); err != nil {
		return nil, err
	}
	// The store itself is never to delete: see reap.
	inner, err := raft.NewFileSnapshotStoreWithLogger(dataDir, math.MaxInt32, logger)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", dir, err)
	}
	return &snapshotStore{
		FileSnapshotStore: inner, dir: dir, onState: onState, onSaved: onSaved, erase: erase,
		verify: verify, readers: map[string]int{},
	}, nil
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
	if err := s.tooOld(snapshotEnd{Index: index, Term: term}); err != nil {
		return nil, err
	}
	sink, err := s.FileSnapshotStore.Create(version, index, term, configuration, configurationIndex, trans)
	if err != nil {
		s.note(err)
		return nil, fmt.Errorf("creating a snapshot in %s: %w", s.dir, err)
	}
	tmp := filepath.Join(s.dir, sink.ID()+snapshotTmp)
	state, err := os.OpenFile(filepath.Join(tmp, snapshotState), os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(durable.Chmod(filepath.Join(tmp, snapshotState)),
			durable.Chmod(filepath.Join(tmp, snapshotMeta)))
	}
	if err != nil {
		s.note(err)
		return nil, errors.Join(fmt.Errorf("creating a snapshot in %s: %w", s.dir, err), sink.Cancel())
	}
	return &snapshotSink{SnapshotSink: sink, store: s, state: state, last: snapshotEnd{Index: index, Term: term}}, nil
}

// tooOld is why a snapshot must not follow the newest one, or nil. It may come from a leader that has lost sight of how
// far this replica is, and would undo what has been applied; or be this replica's own, overtaken by the leader's while
// it was written.
func (s *snapshotStore) tooOld(last snapshotEnd) error {
	newest, term := s.newest.Load(), s.term.Load()
	if last.Index >= newest && last.Term >= term {
		return nil
	}
	return fmt.Errorf("a snapshot up to entry %d of term %d is refused: %s holds one up to entry %d of term %d",
		last.Index, last.Term, s.dir, newest, term)
}

// snapshotPiece is how much of a snapshot goes to the disk at a time, so that an append to the log waits for no more.
// Bytes.
const snapshotPiece = 512 << 10

type snapshotSink struct {
	raft.SnapshotSink
	store        *snapshotStore
	state        *os.File // the file being written, opened once more
	size, synced uint64   // bytes
	last         snapshotEnd
	own          bool           // of this replica's own state: see [OwnSnapshot]
	check        *snapshotCheck // of another's, nil before the first byte
	closed       bool
}

// Write implements io.Writer.
func (s *snapshotSink) Write(p []byte) (int, error) {
	if err := s.read(p); err != nil {
		return 0, err
	}
	n, err := s.SnapshotSink.Write(p)
	s.size += uint64(n)
	if s.own {
		s.store.coming.Store(s.size)
	}
	if err == nil && s.size-s.synced >= snapshotPiece {
		s.synced = s.size
		err = s.state.Sync()
	}
	if err != nil {
		s.store.note(err)
	}
	return n, err
}

// Close makes the snapshot final; Raft drops log entries only after it. One that cannot be used is cancelled.
func (s *snapshotSink) Close() error {
	if s.closed {
		return nil
	}
	if err := s.verified(); err != nil {
		return errors.Join(err, s.Cancel())
	}
	s.store.ending.Lock()
	defer s.store.ending.Unlock()
	if err := s.store.tooOld(s.last); err != nil {
		return errors.Join(err, s.Cancel())
	}
	s.closed = true
	s.store.coming.Store(0)
	err := s.finish()
	s.store.note(err)
	return err
}

// finish makes durable what has been written, and the newest snapshot of it.
func (s *snapshotSink) finish() error {
	dir := filepath.Join(s.store.dir, s.ID())
	_ = s.state.Close() // what has been written is made durable through the other descriptor
	if err := s.SnapshotSink.Close(); err != nil {
		return fmt.Errorf("finishing the snapshot %s: %w", dir, err)
	}
	meta, err := os.ReadFile(filepath.Join(dir, snapshotMeta))
	if err != nil {
		return fmt.Errorf("finishing the snapshot %s: %w", dir, err)
	}
	if err := durable.WriteFile(filepath.Join(dir, snapshotSum), encodeSum(meta)); err != nil {
		return fmt.Errorf("finishing the snapshot %s: %w", dir, err)
	}
	if err := s.store.onState(); err != nil {
		return err
	}
	s.store.newest.Store(s.last.Index)
	s.store.term.Store(s.last.Term)
	s.store.size.Store(s.size)
	if err := s.store.onSaved(s.last); err != nil {
		return err
	}
	return s.store.reap(snapshotRetain)
}

// Cancel drops the snapshot.
func (s *snapshotSink) Cancel() error {
	if !s.closed {
		s.closed = true
		s.store.coming.Store(0)
		_ = s.state.Close() // of a file that goes away
		s.check.stop()
	}
	return s.SnapshotSink.Cancel()
}

// reapOld deletes all but the newest snapshot, unless one is becoming the newest just now.
func (s *snapshotStore) reapOld() error {
	s.ending.Lock()
	defer s.ending.Unlock()
	return s.reap(1)
}

// reap deletes all but so many of the newest snapshots.
func (s *snapshotStore) reap(retain int) error {
	list, err := s.List()
	if err != nil {
		return fmt.Errorf("listing the snapshots in %s: %w", s.dir, err)
	}
	for _, meta := range list[min(len(list), retain):] {
		if err := s.remove(meta); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes a snapshot, whose name says first that it is none any more. One that is still being sent to a follower
// is deleted as a whole: then its bytes are there for as long as it is open.
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
	return fmt.Appendf(nil, "%08x\n", crc32.Checksum(content, durable.Castagnoli()))
}

// keepOnly removes the snapshots with another configuration. One of the same index would be as good as the recovered
// one, and only a clock decides which of the two is the newest.
func (s *snapshotStore) keepOnly(configuration raft.Configuration) error {
	list, err := s.List()
	if err != nil {
		return err
	}
	for _, meta := range list {
		if !slices.Equal(meta.Configuration.Servers, configuration.Servers) {
			if err := s.remove(meta); err != nil {
				return err
			}
		}
	}
	return nil
}
