package wal

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

	"github.com/hashicorp/raft"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"pushquorum/cluster/internal/durable"
)

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
		return r.State, fmt.Errorf("damaged: checksum mismatch: it is %q, should be %q", r.Checksum, sum)
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
	r := &Reader{list: l, vfs: vfs, segments: l.state.Segments}
	l.mu.Unlock()
	defer func() { err = errors.Join(err, r.Close()) }()
	return r.GetLog(index, entry)
}

func (l *segmentList) file(s types.SegmentInfo) string {
	return filepath.Join(filepath.Dir(l.path), segment.FileName(s))
}

// suspect names the first segment that cannot be opened by itself, for a message.
func (l *segmentList) suspect() string {
	files := segment.NewFiler(filepath.Dir(l.path), NewReadingFS())
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

// openSegmentList reads the list of the segments in a data directory.
func openSegmentList(dataDir string) (*segmentList, error) {
	l := &segmentList{path: filepath.Join(dataDir, Dir, SegmentsFile)}
	err := l.read()
	return l, err
}

// Cut takes out of the log in a data directory, which nobody has open, the segments that hold none of the entries first
// to last, which are kept; 0 and 0 keep none. Single entries are deleted through the log that is opened afterwards.
func Cut(dataDir string, first, last uint64) error {
	l, err := openSegmentList(dataDir)
	if err != nil {
		return err
	}
	return l.cut(first, last)
}

// cut takes out of the list the segments that hold none of the entries first to last, which are kept. Such a one may be
// one that cannot be opened, and then the log could not be, either. Their files go when the log is opened.
func (l *segmentList) cut(first, last uint64) error {
	state := types.PersistentState{NextSegmentID: l.state.NextSegmentID}
	for _, s := range l.state.Segments {
		full := !s.SealTime.IsZero()
		if last == 0 || s.BaseIndex > last || (full && s.MaxIndex < first) {
			continue
		}
		if full {
			s.MaxIndex = min(s.MaxIndex, last)
		}
		s.MinIndex = max(s.MinIndex, first)
		state.Segments = append(state.Segments, s)
	}
	if n := len(state.Segments); n > 0 && !state.Segments[n-1].SealTime.IsZero() {
		state = withNext(state)
	}
	return l.CommitState(state)
}
