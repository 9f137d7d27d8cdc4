package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// Reader reads entries from the segments that a list names, one segment after the other, without opening the
// log: that takes every segment to be whole, and changes what it finds. Nothing is changed here.
type Reader struct {
	list     *segmentList
	vfs      types.VFS
	segments []types.SegmentInfo

	open   *types.SegmentInfo // whose segment was opened last
	reader types.SegmentReader
	err    error // why it could not be opened
}

// OpenReader reads the list of the segments in a data directory, whose log nobody has open for writing.
func OpenReader(dataDir string) (*Reader, error) {
	list, err := openSegmentList(dataDir)
	if err != nil {
		return nil, err
	}
	return &Reader{list: list, vfs: walfs.New(), segments: list.state.Segments}, nil
}

// Ends gives the first and the last index that can be in the segments, 0 for none. The last is less where it cannot be
// told.
func (r *Reader) Ends() (first, last uint64) {
	if len(r.segments) == 0 {
		return 0, 0
	}
	tail := &r.segments[len(r.segments)-1]
	last = tail.MaxIndex
	if tail.SealTime.IsZero() {
		last = tail.BaseIndex - 1
		if writer, ok := r.segment(tail).(types.SegmentWriter); ok {
			last = max(last, writer.LastIndex())
		}
	}
	if first = r.segments[0].MinIndex; last < first {
		return 0, 0
	}
	return first, last
}

// FileOf names the file that holds an entry, or would.
func (r *Reader) FileOf(index uint64) string { return r.list.fileOf(index) }

// segment opens a segment, nil if it cannot be opened.
func (r *Reader) segment(info *types.SegmentInfo) types.SegmentReader {
	if r.open != info {
		err := r.Close()
		r.open = info
		r.reader, r.err = openSegment(segment.NewFiler(filepath.Dir(r.list.path), r.vfs), *info)
		r.err = errors.Join(err, r.err)
	}
	return r.reader
}

func openSegment(files *segment.Filer, info types.SegmentInfo) (r types.SegmentReader, err error) {
	defer func() {
		if p := recover(); p != nil {
			r, err = nil, fmt.Errorf("damaged: %v", p) // a false length leads the library astray
		}
	}()
	if !info.SealTime.IsZero() {
		return files.Open(info)
	}
	tail, err := files.RecoverTail(info) // which writes nothing
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, raft.ErrLogNotFound // not made yet
	case err != nil:
		return nil, err
	}
	return tail, nil
}

// GetLog reads an entry; a missing one is raft.ErrLogNotFound.
func (r *Reader) GetLog(index uint64, l *raft.Log) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("damaged: %v", p) // a false length leads the library astray
		}
	}()
	at := -1
	for i := range r.segments {
		if r.segments[i].BaseIndex <= index && r.segments[i].MinIndex <= index {
			at = i
		}
	}
	if at < 0 {
		return raft.ErrLogNotFound
	}
	reader := r.segment(&r.segments[at])
	if r.err != nil {
		return r.err
	}
	raw, err := reader.GetLog(index)
	if err != nil {
		return err
	}
	return errors.Join(new(raftwal.BinaryCodec).Decode(raw.Bs, l), raw.Close())
}

// Close closes the segment that is open.
func (r *Reader) Close() error {
	reader := r.reader
	r.open, r.reader, r.err = nil, nil, nil
	if reader == nil {
		return nil
	}
	return reader.Close()
}
