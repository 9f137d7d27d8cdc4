package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"pushquorum/cluster/internal/durable"
)

// What a segment of raft-wal 0.4 looks like: a header, then frames, each padded to eight bytes. A frame begins with its
// type and, in its last four bytes, the length of what follows or, in a commit, the CRC-32C of all since the commit
// before.
const (
	headerSize = 32
	frameSize  = 8

	entryFrame  = 1
	indexFrame  = 2
	commitFrame = 3
)

// seal is what is found of the index at the end of a segment.
type seal struct {
	frame     int64 // where its frame begins, 0 if there is none
	committed bool
	entries   uint64 // in the segment
}

// finishSeal completes what a crash, or a full disk, has left of the end of the last segment. Its index is written
// together with its last entries, and only then does the list say that it is full and which one is next. In between
// raft-wal 0.4.2 takes the segment for the one to write to, and then refuses to: every append fails, after a restart,
// too. And it takes an index that was torn for a good one. So the list is brought up to date, or the torn index taken
// away.
func (l *segmentList) finishSeal(files types.VFS) (err error) {
	if len(l.state.Segments) == 0 {
		return nil
	}
	last := l.state.Segments[len(l.state.Segments)-1]
	if !last.SealTime.IsZero() {
		return nil
	}
	f, err := files.OpenWriter(filepath.Dir(l.path), segment.FileName(last))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // not made yet
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	found, err := findSeal(f)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", l.file(last), err)
	case found.frame == 0:
		return nil
	case !found.committed:
		if _, err := f.WriteAt(make([]byte, frameSize), found.frame); err != nil {
			return err
		}
		return f.Sync()
	}
	state := l.state
	state.Segments = append([]types.SegmentInfo(nil), state.Segments...)
	full := &state.Segments[len(state.Segments)-1]
	full.SealTime, full.IndexStart = time.Now(), uint64(found.frame+frameSize)
	full.MaxIndex = full.BaseIndex + found.entries - 1
	return l.CommitState(withNext(state))
}

// withNext adds the segment that follows the last one, which is full. Its file is made when the log is opened.
func withNext(state types.PersistentState) types.PersistentState {
	last := state.Segments[len(state.Segments)-1]
	state.Segments = append(state.Segments, types.SegmentInfo{
		ID: state.NextSegmentID, BaseIndex: last.MaxIndex + 1, MinIndex: last.MaxIndex + 1,
		SizeLimit: last.SizeLimit, Codec: last.Codec, CreateTime: time.Now(),
	})
	state.NextSegmentID++
	return state
}

// findSeal reads through the frames of a segment up to its index.
func findSeal(r io.ReaderAt) (found seal, err error) {
	since := int64(0) // the last commit; the first one counts the header, too
	for at := int64(headerSize); ; {
		var h [frameSize]byte
		if n, err := r.ReadAt(h[:], at); n < frameSize {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return found, err
		}
		size := int64(binary.LittleEndian.Uint32(h[4:]))
		padded := frameSize + (size+frameSize-1)/frameSize*frameSize
		switch h[0] {
		case entryFrame:
			found.entries++
			at += padded
		case commitFrame:
			at += frameSize
			since = at
		case indexFrame:
			found.frame = at
			found.committed, err = isCommit(r, since, at+padded)
			found.committed = found.committed && uint64(size) == 4*found.entries
			return found, err
		default: // the end of what was written
			return found, nil
		}
	}
}

// isCommit tells whether there is a commit of all from one byte to before another.
func isCommit(r io.ReaderAt, from, at int64) (bool, error) {
	var h [frameSize]byte
	if n, err := r.ReadAt(h[:], at); n < frameSize {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return false, err
	}
	sum := crc32.New(durable.Castagnoli())
	if _, err := io.Copy(sum, io.NewSectionReader(r, from, at-from)); err != nil {
		return false, err
	}
	return h[0] == commitFrame && binary.LittleEndian.Uint32(h[4:]) == sum.Sum32(), nil
}
