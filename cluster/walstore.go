package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"pushquorum/cluster/internal/durable"
)

const (
	walDir          = "wal"
	walSegmentsFile = "segments.json"
	// walSegmentSize is how large a segment is made in advance, and about where it ends. Bytes.
	walSegmentSize = 16 << 20
)

// walStore is the log in raft-wal's segments: one fsync for an append, where bbolt takes two and writes whole pages.
//
// After a write that failed, raft-wal 0.4.2 goes on from what it meant to write: an index that a full disk did not take counts as
// written, and the list then sends readers there. So it is opened anew before the next write, from what is on the disk.
type walStore struct {
	dir    string
	size   int
	vfs    types.VFS
	logger hclog.Logger

	mu       sync.RWMutex // held for writing while log and segments are exchanged
	log      *wal.WAL     // nil while it could not be opened anew: then each entry is read from its segment alone
	segments *segmentList

	// Writes come one at a time.
	codec  *entryCodec
	failed bool // the last write
}

// openWAL opens the log in the directory wal, or makes an empty one.
func openWAL(dataDir string, segmentSize int, vfs types.VFS, logger hclog.Logger) (*walStore, error) {
	w := &walStore{dir: filepath.Join(dataDir, walDir), size: segmentSize, vfs: vfs, logger: logger, codec: new(entryCodec)}
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return nil, fmt.Errorf("making %s: %w", w.dir, err)
	}
	var err error
	if w.log, w.segments, err = w.open(); err != nil {
		return nil, err
	}
	return w, nil
}

// open opens what is on the disk. Raft-wal deletes the segments that its list does not name, so the list is our own, with a checksum.
func (w *walStore) open() (_ *wal.WAL, _ *segmentList, err error) {
	list := &segmentList{path: filepath.Join(w.dir, walSegmentsFile)}
	_, list.frozen = w.vfs.(*readingFS)
	if err := list.read(); err != nil {
		return nil, nil, err
	}
	if err := list.finishSeal(w.vfs); err != nil {
		return nil, nil, fmt.Errorf("completing the last segment: %w", err)
	}
	// A false length in a damaged segment may send the library astray.
	defer func() {
		if r := recover(); r != nil {
			err = durable.DamagedLog(list.suspect(), "damaged: %v", r)
		}
	}()
	codec := wal.Codec(w.codec)
	if slices.ContainsFunc(list.state.Segments, func(s types.SegmentInfo) bool { return s.Codec == wal.CodecBinaryV1 }) {
		codec = nil // A log that an earlier version began goes on in the library's codec: it reads one only.
	}
	log, err := wal.Open(w.dir, wal.WithMetaStore(list), wal.WithSegmentFiler(segment.NewFiler(w.dir, w.vfs)),
		wal.WithSegmentSize(w.size), wal.WithLogger(w.logger), wal.WithCodec(codec))
	if err != nil {
		return nil, nil, durable.DamagedLog(list.suspect(), "cannot be read: %w", err)
	}
	return log, list, nil
}

// reopen closes the log before it opens it anew: never do two have the files. Readers wait meanwhile.
func (w *walStore) reopen() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.log != nil {
		if err := w.log.Close(); err != nil {
			w.logger.Warn("closing the log that could not be written", "error", err)
		}
		w.log = nil
	}
	log, list, err := w.open()
	if err != nil {
		return fmt.Errorf("opening the log again after a failed write: %w", err)
	}
	w.log, w.segments, w.failed = log, list, false
	return nil
}

// write does one write, after what an earlier one may have left has been put right.
func (w *walStore) write(do func(*wal.WAL) error) error {
	if w.failed {
		if err := w.reopen(); err != nil {
			return err
		}
	}
	err := do(w.log)
	w.failed = err != nil
	return err
}

// StoreLogs implements entryStore. When it fails, some of the entries may have been stored.
func (w *walStore) StoreLogs(logs []*raft.Log) error {
	for len(logs) > 0 {
		n := w.codec.begin(logs)
		if err := w.write(func(log *wal.WAL) error { return log.StoreLogs(logs[:n]) }); err != nil {
			return err
		}
		logs = logs[n:]
	}
	return nil
}

// DeleteRange implements entryStore.
func (w *walStore) DeleteRange(minIndex, maxIndex uint64) error {
	return w.write(func(log *wal.WAL) error { return log.DeleteRange(minIndex, maxIndex) })
}

// FirstIndex implements entryStore. Like LastIndex it is called by who writes.
func (w *walStore) FirstIndex() (uint64, error) { return w.end((*wal.WAL).FirstIndex) }

// LastIndex implements entryStore.
func (w *walStore) LastIndex() (uint64, error) { return w.end((*wal.WAL).LastIndex) }

func (w *walStore) end(of func(*wal.WAL) (uint64, error)) (uint64, error) {
	if w.log == nil || w.failed { // raft-wal goes on from what it meant to write, or from before what it has written
		if err := w.reopen(); err != nil {
			return 0, err
		}
	}
	return of(w.log)
}

// GetLog implements entryStore.
func (w *walStore) GetLog(index uint64, l *raft.Log) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.log == nil {
		return w.segments.getLog(newReadingFS(), index, l)
	}
	return w.log.GetLog(index, l)
}

// Close releases the files.
func (w *walStore) Close() error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.log == nil {
		return nil
	}
	return w.log.Close()
}

// fileOf names the file that holds an entry, or would.
func (w *walStore) fileOf(index uint64) string {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.segments.fileOf(index)
}

// segmentList is the list of the log's segments, on disk as JSON with a checksum. Raft-wal calls one method at a time.
type segmentList struct {
	path   string
	frozen bool // changes stay in memory

	mu    sync.Mutex // for fileOf, which may be asked while a segment is added
	state types.PersistentState
}

// segmentRecord is what the file says.
type segmentRecord struct {
	State types.PersistentState `json:"state"`
	// Checksum is CRC-32C over the encoded state, in hex.
	Checksum string `json:"crc32c"`
}

func stateChecksum(s types.PersistentState) (string, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%08x", crc32.Checksum(b, durable.Castagnoli())), nil
}

// read reads the list; one that does not exist is empty, unless there are segments.
func (l *segmentList) read() error {
	b, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		segments, gerr := filepath.Glob(filepath.Join(filepath.Dir(l.path), "*.wal"))
		if gerr == nil && len(segments) > 0 {
			return durable.Damaged(l.path, "missing, though %s exists", segments[0])
		}
		return gerr
	}
	if err != nil {
		return durable.Damaged(l.path, "cannot be read: %w", err)
	}
	if l.state, err = decodeSegments(b); err != nil {
		return durable.Damaged(l.path, "%w", err)
	}
	return nil
}

// decodeSegments reads the bytes of segments.json.
func decodeSegments(b []byte) (types.PersistentState, error) {
	var r segmentRecord
	if err := json.Unmarshal(b, &r); err != nil {
		return r.State, fmt.Errorf("cannot be read: %w", err)
	}
	sum, err := stateChecksum(r.State)
	if err != nil {
		return r.State, err
	}
	if r.Checksum != sum {
		return r.State, fmt.Errorf("damaged: checksum is %q, should be %q", r.Checksum, sum)
	}
	return r.State, nil
}

// Load implements types.MetaStore.
func (l *segmentList) Load(string) (types.PersistentState, error) { return l.state, nil }

// CommitState implements types.MetaStore.
func (l *segmentList) CommitState(s types.PersistentState) error {
	sum, err := stateChecksum(s)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(segmentRecord{State: s, Checksum: sum}, "", "  ")
	if err != nil {
		return err
	}
	if !l.frozen {
		if err := durable.WriteFile(l.path, append(b, '\n')); err != nil {
			return fmt.Errorf("writing the list of segments: %w", err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = s
	return nil
}

var errNoStableStore = errors.New("term and vote are not kept here")

// GetStable implements types.MetaStore.
func (*segmentList) GetStable([]byte) ([]byte, error) { return nil, errNoStableStore }

// SetStable implements types.MetaStore.
func (*segmentList) SetStable(_, _ []byte) error { return errNoStableStore }

// Close implements io.Closer.
func (*segmentList) Close() error { return nil }

// fileOf names the segment that holds an entry, or would: the last one that begins at or before it.
func (l *segmentList) fileOf(index uint64) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.state.Segments) == 0 {
		return l.path
	}
	at := 0
	for i, s := range l.state.Segments {
		if s.BaseIndex <= index {
			at = i
		}
	}
	return l.file(l.state.Segments[at])
}

// getLog reads an entry from its segment, without the log.
func (l *segmentList) getLog(vfs types.VFS, index uint64, entry *raft.Log) (err error) {
	l.mu.Lock()
	r := &segmentsReader{dir: filepath.Dir(l.path), vfs: vfs, segments: l.state.Segments}
	l.mu.Unlock()
	defer func() { err = errors.Join(err, r.Close()) }()
	return r.GetLog(index, entry)
}

func (l *segmentList) file(s types.SegmentInfo) string {
	return filepath.Join(filepath.Dir(l.path), segment.FileName(s))
}

// suspect names the first segment that cannot be opened by itself, for a message.
func (l *segmentList) suspect() string {
	files := segment.NewFiler(filepath.Dir(l.path), newReadingFS())
	broken := func(s types.SegmentInfo) (broken bool) {
		defer func() {
			if recover() != nil {
				broken = true
			}
		}()
		if s.SealTime.IsZero() {
			w, err := files.RecoverTail(s)
			if err != nil {
				return true
			}
			return w.Close() != nil
		}
		r, err := files.Open(s)
		if err != nil {
			return true
		}
		return r.Close() != nil
	}
	if i := slices.IndexFunc(l.state.Segments, broken); i >= 0 {
		return l.file(l.state.Segments[i])
	}
	return l.path
}
