package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// logFile is the part of boltStore that the log store needs.
type logFile interface {
	rewrite(keepFrom, keepTo, first uint64, entries [][]byte, tail []byte) error
	entry(index uint64, f func([]byte) error) error
	get(key string) ([]byte, error)
}

// logStore keeps the Raft log in raft.db so that damage cannot pass for a shorter or another log:
//
//   - every entry carries a CRC-32C over its index, term, type, time and data;
//   - the checksum also covers the checksum of the entry before it: the log is a chain, so an old page that is
//     valid in itself does not fit;
//   - a tail record, written in the same transaction as the entries, says where the log begins and ends: entries
//     cannot vanish from an end.
//
// Raft writes from its main goroutine and its snapshot goroutine, and reads from many.
type logStore struct {
	path string // of raft.db, for messages
	file logFile
	// onState is called after entries are on disk, before Raft may speak of them.
	onState func() error

	mu   sync.Mutex // for writers; held while the disk syncs, so readers use the bounds only
	tail tail
	// first and last bound what readers see, 0 = empty.
	first, last atomic.Uint64

	bytes atomic.Uint64 // of data stored since the last snapshot
}

// tail is the content of the tail record.
type tail struct {
	First, Last uint64 // indexes, 0 = empty
	Chain       uint32 // checksum of the last entry
}

const (
	entryVersion = 1
	entryHead    = 26 // version u8, type u8, term u64, time u64 (Unix ns), checksum of the entry before u32, own checksum u32
	tailSize     = 24 // First u64, Last u64, Chain u32, checksum u32
)

func newLogStore(path string, file logFile, onState func() error) *logStore {
	return &logStore{path: path, file: file, onState: onState}
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// encodeEntry also gives the entry's checksum; prev is that of the entry before.
func encodeEntry(l *raft.Log, prev uint32) ([]byte, uint32) {
	b := make([]byte, entryHead+len(l.Data))
	b[0], b[1] = entryVersion, byte(l.Type)
	binary.BigEndian.PutUint64(b[2:], l.Term)
	if !l.AppendedAt.IsZero() {
		binary.BigEndian.PutUint64(b[10:], uint64(l.AppendedAt.UnixNano()))
	}
	binary.BigEndian.PutUint32(b[18:], prev)
	copy(b[entryHead:], l.Data)
	own := entrySum(l.Index, b)
	binary.BigEndian.PutUint32(b[22:], own)
	return b, own
}

// entrySum covers all of an entry but the place of the checksum itself, and the index, which is the key.
func entrySum(index uint64, b []byte) uint32 {
	sum := crc32.Update(0, castagnoli(), indexKey(index))
	sum = crc32.Update(sum, castagnoli(), b[:22])
	return crc32.Update(sum, castagnoli(), b[entryHead:])
}

// decodeEntry reads an entry into l and gives the checksums of the entry before and of itself.
func decodeEntry(index uint64, b []byte, l *raft.Log) (prev, own uint32, err error) {
	if len(b) < entryHead || entrySum(index, b) != binary.BigEndian.Uint32(b[22:]) {
		return 0, 0, errors.New("its checksum does not fit")
	}
	if b[0] != entryVersion {
		return 0, 0, fmt.Errorf("version %d is not known to this program", b[0])
	}
	*l = raft.Log{Index: index, Type: raft.LogType(b[1]), Term: binary.BigEndian.Uint64(b[2:])}
	if at := int64(binary.BigEndian.Uint64(b[10:])); at != 0 {
		l.AppendedAt = time.Unix(0, at)
	}
	if len(b) > entryHead {
		l.Data = append([]byte{}, b[entryHead:]...)
	}
	return binary.BigEndian.Uint32(b[18:]), binary.BigEndian.Uint32(b[22:]), nil
}

func encodeTail(t tail) []byte {
	b := binary.BigEndian.AppendUint64(nil, t.First)
	b = binary.BigEndian.AppendUint64(b, t.Last)
	b = binary.BigEndian.AppendUint32(b, t.Chain)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli()))
}

func decodeTail(b []byte) (tail, error) {
	if len(b) != tailSize || binary.BigEndian.Uint32(b[20:]) != crc32.Checksum(b[:20], castagnoli()) {
		return tail{}, errors.New("the tail record is damaged")
	}
	return tail{First: binary.BigEndian.Uint64(b), Last: binary.BigEndian.Uint64(b[8:]), Chain: binary.BigEndian.Uint32(b[16:])}, nil
}

// read gives an entry and the checksums of the entry before it and of itself.
func (s *logStore) read(index uint64, l *raft.Log) (prev, own uint32, err error) {
	err = s.file.entry(index, func(b []byte) error {
		if b == nil {
			return raft.ErrLogNotFound
		}
		var derr error
		if prev, own, derr = decodeEntry(index, b, l); derr != nil {
			return damaged(s.path, "entry %d is damaged: %w", index, derr)
		}
		return nil
	})
	return prev, own, err
}

// GetLog implements raft.LogStore. A missing entry is exactly raft.ErrLogNotFound, Raft compares with ==.
func (s *logStore) GetLog(index uint64, l *raft.Log) error {
	if index == 0 || index > s.last.Load() {
		return raft.ErrLogNotFound // what a failed write may have left is not there
	}
	_, _, err := s.read(index, l)
	return err
}

// FirstIndex implements raft.LogStore.
func (s *logStore) FirstIndex() (uint64, error) { return s.first.Load(), nil }

// LastIndex implements raft.LogStore.
func (s *logStore) LastIndex() (uint64, error) { return s.last.Load(), nil }

// IsMonotonic implements raft.MonotonicLogStore: after a snapshot from the leader Raft drops the old log instead of
// leaving a gap, so that a gap always means damage.
func (s *logStore) IsMonotonic() bool { return true }

// rewrite makes the log what next says, with new entries from index first on.
//
// A write may fail after it has taken effect, in the last fsync say. New entries then count as not written, and the next
// write deletes them. A deletion counts as done: should it not survive a crash, the old entries are back, which is what
// Raft expects of a deletion that never happened; nothing is acknowledged because of one.
func (s *logStore) rewrite(next tail, first uint64, entries [][]byte) error {
	keepTo := next.Last
	if len(entries) > 0 {
		keepTo = first - 1
	}
	record := encodeTail(next)
	if err := s.file.rewrite(next.First, keepTo, first, entries, record); err != nil {
		now, rerr := s.file.get(keyTail)
		if len(entries) > 0 || rerr != nil || !bytes.Equal(now, record) {
			return fmt.Errorf("writing %s: %w", s.path, err)
		}
	}
	s.publish(next)
	return nil
}

func (s *logStore) publish(t tail) {
	s.tail = t
	s.first.Store(t.First)
	s.last.Store(t.Last)
}

// StoreLog implements raft.LogStore.
func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. Entries must follow the last one, or begin a log that is empty.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	next, first := s.tail, logs[0].Index
	if next.Last == 0 && first > 0 {
		next.First, next.Last = first, first-1
	}
	entries := make([][]byte, len(logs))
	size := 0
	for i, l := range logs {
		if l.Index != next.Last+1 {
			return fmt.Errorf("%s: entry %d does not follow entry %d", s.path, l.Index, next.Last)
		}
		entries[i], next.Chain = encodeEntry(l, next.Chain)
		next.Last = l.Index
		size += len(l.Data)
	}
	if err := s.rewrite(next, first, entries); err != nil {
		return err
	}
	s.bytes.Add(uint64(size))
	return s.onState()
}

// DeleteRange implements raft.LogStore: from the front (compaction), from the end (a conflict) or everything.
func (s *logStore) DeleteRange(minIndex, maxIndex uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.tail
	switch {
	case next.Last == 0 || maxIndex < next.First || minIndex > next.Last:
		return nil
	case minIndex <= next.First && maxIndex >= next.Last:
		next = tail{}
	case minIndex <= next.First:
		next.First = maxIndex + 1
	case maxIndex >= next.Last:
		next.Last = minIndex - 1
		var l raft.Log
		var err error
		if _, next.Chain, err = s.read(next.Last, &l); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%s: deleting entries %d to %d would leave a hole in %d to %d", s.path, minIndex, maxIndex, next.First, next.Last)
	}
	return s.rewrite(next, 0, nil)
}

// bytesSinceSnapshot is how much entry data was stored since resetBytes, in bytes.
func (s *logStore) bytesSinceSnapshot() uint64 { return s.bytes.Load() }

func (s *logStore) resetBytes() { s.bytes.Store(0) }
