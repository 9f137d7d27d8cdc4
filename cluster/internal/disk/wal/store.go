package wal

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"pushquorum/cluster/internal/durable"
)

const (
	// Dir is where in the data directory the log is.
	Dir = "wal"
	// SegmentsFile is what the list of the segments is called there.
	SegmentsFile = "segments.json"
	// SegmentSize is how large a segment is made in advance, and about where it ends. Bytes.
	SegmentSize = 16 << 20
	// MaxEntry is the size of the largest entry that raft-wal reads back, encoded. It writes larger ones. Bytes.
	MaxEntry = segment.MaxEntrySize
)

// Store is the log in raft-wal's segments: one fsync for an append, where bbolt takes two and writes whole pages.
//
// After a write that failed, raft-wal 0.4.2 goes on from what it meant to write: an index that a full disk did not take
// counts as written, and the list then sends readers there. So it is opened anew before the next write, from what is on
// the disk.
type Store struct {
	dir    string
	size   int
	vfs    types.VFS
	logger hclog.Logger

	mu       sync.RWMutex // held for writing while log and segments are exchanged
	log      *raftwal.WAL // nil while it could not be opened anew: then each entry is read from its segment alone
	segments *segmentList

	// Writes come one at a time.
	codec  *entryCodec
	failed bool // the last write
}

// Open opens the log of a data directory, or makes an empty one. The files are [NewErasingFS]'s, or [NewReadingFS]'s
// where nothing on the disk may change. The error of a damaged log names the file.
func Open(dataDir string, segmentSize int, vfs types.VFS, logger hclog.Logger) (*Store, error) {
	w := &Store{dir: filepath.Join(dataDir, Dir), size: segmentSize, vfs: vfs, logger: logger, codec: new(entryCodec)}
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return nil, fmt.Errorf("making %s: %w", w.dir, err)
	}
	var err error
	if w.log, w.segments, err = w.open(); err != nil {
		return nil, err
	}
	return w, nil
}

// open opens what is on the disk. Raft-wal deletes the segments that its list does not name, so the list is our own,
// with a checksum.
func (w *Store) open() (_ *raftwal.WAL, _ *segmentList, err error) {
	list := &segmentList{path: filepath.Join(w.dir, SegmentsFile)}
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
	codec := raftwal.Codec(w.codec)
	ofLibrary := func(s types.SegmentInfo) bool { return s.Codec == raftwal.CodecBinaryV1 }
	if slices.ContainsFunc(list.state.Segments, ofLibrary) {
		codec = nil // A log that an earlier version began goes on in the library's codec: it reads one only.
	}
	log, err := raftwal.Open(w.dir, raftwal.WithMetaStore(list),
		raftwal.WithSegmentFiler(segment.NewFiler(w.dir, w.vfs)), raftwal.WithSegmentSize(w.size),
		raftwal.WithLogger(w.logger), raftwal.WithCodec(codec))
	if err != nil {
		return nil, nil, durable.DamagedLog(list.suspect(), "cannot be read: %w", err)
	}
	return log, list, nil
}

// reopen closes the log before it opens it anew: never do two have the files. Readers wait meanwhile.
func (w *Store) reopen() error {
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
func (w *Store) write(do func(*raftwal.WAL) error) error {
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
func (w *Store) StoreLogs(logs []*raft.Log) error {
	for len(logs) > 0 {
		n := w.codec.begin(logs)
		if err := w.write(func(log *raftwal.WAL) error { return log.StoreLogs(logs[:n]) }); err != nil {
			return err
		}
		logs = logs[n:]
	}
	return nil
}

// DeleteRange implements entryStore.
func (w *Store) DeleteRange(minIndex, maxIndex uint64) error {
	return w.write(func(log *raftwal.WAL) error { return log.DeleteRange(minIndex, maxIndex) })
}

// FirstIndex implements entryStore. Like LastIndex it is called by who writes.
func (w *Store) FirstIndex() (uint64, error) { return w.end((*raftwal.WAL).FirstIndex) }

// LastIndex implements entryStore.
func (w *Store) LastIndex() (uint64, error) { return w.end((*raftwal.WAL).LastIndex) }

func (w *Store) end(of func(*raftwal.WAL) (uint64, error)) (uint64, error) {
	if w.log == nil || w.failed { // raft-wal goes on from what it meant to write, or from before what it has written
		if err := w.reopen(); err != nil {
			return 0, err
		}
	}
	return of(w.log)
}

// GetLog implements entryStore.
func (w *Store) GetLog(index uint64, l *raft.Log) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.log == nil {
		return w.segments.getLog(NewReadingFS(), index, l)
	}
	return w.log.GetLog(index, l)
}

// Close releases the files.
func (w *Store) Close() error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.log == nil {
		return nil
	}
	return w.log.Close()
}

// FileOf names the file that holds an entry, or would.
func (w *Store) FileOf(index uint64) string {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.segments.fileOf(index)
}
