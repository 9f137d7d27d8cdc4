package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/cluster/internal/durable"
)

const (
	// MaxStored is the size of the largest entry that is stored, encoded and with its link, in bytes. It holds for
	// bbolt, too, so that what one replica takes all take.
	MaxStored = wal.MaxEntry
	// MaxSealed is the size of the largest entry's data, in bytes.
	MaxSealed = MaxStored - wal.EntryOverhead - linkSize
)

// EntryStore is the store below: raft-wal's or raft-boltdb's. A write is durable when it returns nil; one that fails
// may have taken effect as a whole or not at all.
type EntryStore interface {
	FirstIndex() (uint64, error)
	LastIndex() (uint64, error)
	GetLog(index uint64, l *raft.Log) error
	StoreLogs(logs []*raft.Log) error
	DeleteRange(minIndex, maxIndex uint64) error
}

// tailSaver is the part of TailFile that the log store needs.
type tailSaver interface {
	Save(t Tail, durable bool) error
}

// LogStore stands between Raft and the store of its log, so that damage cannot pass for a shorter or another log:
//
//   - the entries are a chain of checksums, see chain.go: none can be another or miss in between;
//   - raft.tail, written after each append and before each deletion, says what the log holds at least: entries cannot
//     vanish from an end.
//
// Raft writes from its main goroutine and its snapshot goroutine, and reads from many.
type LogStore struct {
	// fileOf names the file that holds an entry, or would, for messages.
	fileOf func(index uint64) string
	Inner  EntryStore
	saver  tailSaver
	// onState is called after entries are on disk, before Raft may speak of them.
	onState func() error

	Mu   sync.Mutex // for writers; held while the disk syncs, so readers use the bounds only
	Tail Tail       // what the log holds; the record on disk may say less
	// unsure: a deletion was reported as failed, and the log may hold less than tail says.
	unsure bool
	// First and last bound what readers see, 0 = empty.
	First, last atomic.Uint64
	base        atomic.Pointer[SnapshotEnd] // of the newest snapshot, nil when there is none

	growth *growth // in bytes of data, since the newest snapshot's last entry
	latest unanswered
	fence  atomic.Pointer[error]

	Waiting sync.Mutex
	Grown   chan struct{} // closed at the next append, nil when nobody waits for one
}

// NewLogStore makes a log over a store of entries and the record of what that holds at least. Nothing can be read before it
// was opened.
func NewLogStore(fileOf func(index uint64) string, inner EntryStore, saver tailSaver, onState func() error) *LogStore {
	return &LogStore{fileOf: fileOf, Inner: inner, saver: saver, onState: onState, growth: newGrowth()}
}

// read gives an entry and the checksums of the entry before it and of itself.
func (s *LogStore) read(index uint64, l *raft.Log) (prev, own uint32, err error) {
	var stored raft.Log
	if err := s.Inner.GetLog(index, &stored); err != nil {
		if errors.Is(err, raft.ErrLogNotFound) {
			return 0, 0, raft.ErrLogNotFound
		}
		return 0, 0, durable.DamagedLog(s.fileOf(index), "entry %d cannot be read: %w", index, err)
	}
	if prev, own, err = unlink(index, &stored); err != nil {
		return 0, 0, durable.DamagedLog(s.fileOf(index), "entry %d is damaged: %w", index, err)
	}
	*l = stored
	return prev, own, nil
}

// GetLog implements raft.LogStore. A missing entry is exactly raft.ErrLogNotFound, Raft compares with ==.
func (s *LogStore) GetLog(index uint64, l *raft.Log) error {
	if index >= s.First.Load() && index <= s.last.Load() && index != 0 { // what a failed write may have left is not there
		_, _, err := s.read(index, l)
		return err
	}
	if stand, ok := s.base.Load().entry(index); ok {
		*l = stand
		return nil
	}
	return raft.ErrLogNotFound
}

// FirstIndex implements raft.LogStore.
func (s *LogStore) FirstIndex() (uint64, error) { return s.First.Load(), nil }

// LastIndex implements raft.LogStore.
func (s *LogStore) LastIndex() (uint64, error) { return s.last.Load(), nil }

func (s *LogStore) publish(t Tail) {
	s.Tail = t
	s.First.Store(t.First)
	s.last.Store(t.Last)
}

// refuse makes every append from now on fail, for good.
func (s *LogStore) refuse(why error) { s.fence.CompareAndSwap(nil, &why) }

// StoreLog implements raft.LogStore.
func (s *LogStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. Entries must follow the last one, or begin a log that is empty. When it fails
// they count as not written, even if they have reached the disk, and the next write deletes them.
func (s *LogStore) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	s.Mu.Lock()
	defer s.Mu.Unlock()
	if why := s.fence.Load(); why != nil {
		return *why
	}
	if err := s.dropLeftover(); err != nil {
		return fmt.Errorf("writing %s: deleting what a failed write has left: %w", s.fileOf(s.Tail.Last), err)
	}
	next := s.Tail
	if first := logs[0].Index; next.Last == 0 && first > 0 {
		next.First, next.Last = first, first-1
	}
	copies, entries := make([]raft.Log, len(logs)), make([]*raft.Log, len(logs))
	for i, l := range logs {
		if l.Index != next.Last+1 {
			return fmt.Errorf("%s: entry %d does not follow entry %d", s.fileOf(l.Index), l.Index, next.Last)
		}
		copies[i], next.Chain = Linked(l, next.Chain)
		entries[i] = &copies[i]
		next.Last = l.Index
		if size := wal.EncodedSize(entries[i]); size > MaxStored {
			return fmt.Errorf("%s: entry %d is not written, because it takes %d bytes and at most %d can be read back", s.fileOf(l.Index), l.Index, size, MaxStored)
		}
	}
	if err := s.Inner.StoreLogs(entries); err != nil {
		return fmt.Errorf("writing %s: %w", s.fileOf(s.Tail.Last), err)
	}
	if err := s.onState(); err != nil {
		return err
	}
	// Not durable: if it is lost, the record says less than the log holds, which it may.
	if err := s.saver.Save(next, false); err != nil {
		return fmt.Errorf("writing the record of what %s holds: %w", s.fileOf(s.Tail.Last), err)
	}
	if why := s.fence.Load(); why != nil {
		return *why // meanwhile
	}
	s.publish(next)
	for _, l := range logs {
		s.growth.add(l.Index, uint64(len(l.Data)))
		s.latest.add(l.Index, uint64(len(l.Data)))
	}
	s.Waiting.Lock()
	if s.Grown != nil {
		close(s.Grown)
		s.Grown = nil
	}
	s.Waiting.Unlock()
	return nil
}

// wait returns nil when the log reaches to the index, and the context's error when it ends before that.
func (s *LogStore) wait(ctx context.Context, index uint64) error {
	for {
		s.Waiting.Lock()
		if s.last.Load() >= index {
			s.Waiting.Unlock()
			return nil
		}
		if s.Grown == nil {
			s.Grown = make(chan struct{})
		}
		grown := s.Grown
		s.Waiting.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// dropLeftover deletes what a failed write may have left behind the end of the log. It may also have left its mark in
// the record, which therefore comes first.
func (s *LogStore) dropLeftover() error {
	if s.unsure {
		if err := s.lookAgain(); err != nil {
			return err
		}
	}
	last, err := s.Inner.LastIndex()
	if err != nil || last <= s.Tail.Last {
		return err
	}
	if err := s.saver.Save(s.Tail, true); err != nil {
		return err
	}
	return s.Inner.DeleteRange(s.Tail.Last+1, last)
}

// DeleteRange implements raft.LogStore: from the front (compaction), from the end (a conflict) or everything.
func (s *LogStore) DeleteRange(minIndex, maxIndex uint64) error {
	s.Mu.Lock()
	defer s.Mu.Unlock()
	next := s.Tail
	switch {
	case next.Last == 0 || maxIndex < next.First || minIndex > next.Last:
		return nil
	case minIndex <= next.First && maxIndex >= next.Last:
		return s.shorten(Tail{}, next.First, next.Last)
	case minIndex <= next.First:
		next.First = maxIndex + 1
		return s.shorten(next, s.Tail.First, maxIndex)
	case maxIndex >= next.Last:
		next.Last = minIndex - 1
		var l raft.Log
		var err error
		if _, next.Chain, err = s.read(next.Last, &l); err != nil {
			return err
		}
		return s.shorten(next, minIndex, s.Tail.Last)
	default:
		return fmt.Errorf("%s: deleting entries %d to %d would leave a hole in %d to %d", s.fileOf(s.Tail.Last), minIndex, maxIndex, next.First, next.Last)
	}
}

// shorten makes the log what next says by deleting entries minIndex to maxIndex. The record is lowered first and on
// disk: it must never say more than the log holds.
//
// A deletion that has taken effect counts as done even if the store reports an error, in its last fsync say. Should it
// not survive a crash, the old entries are back, which is what Raft expects of a deletion that never happened; nothing
// is acknowledged because of one. When it fails nothing has changed; the record says less than it could until the next
// append.
func (s *LogStore) shorten(next Tail, minIndex, maxIndex uint64) error {
	if err := s.dropLeftover(); err != nil {
		return fmt.Errorf("writing %s: deleting what a failed write has left: %w", s.fileOf(s.Tail.Last), err)
	}
	if err := s.saver.Save(next, true); err != nil {
		return fmt.Errorf("writing the record of what %s holds: %w", s.fileOf(s.Tail.Last), err)
	}
	s.unsure = true // until it is known what is left
	derr := s.Inner.DeleteRange(minIndex, maxIndex)
	first, last, err := s.ends()
	if err != nil || first != next.First || last != next.Last {
		return fmt.Errorf("deleting entries %d to %d from %s: %w", minIndex, maxIndex, s.fileOf(s.Tail.Last),
			cmp.Or(derr, err, fmt.Errorf("entries %d to %d remain, should be %d to %d", first, last, next.First, next.Last)))
	}
	s.unsure = false
	s.publish(next)
	return nil
}

// lookAgain finds out what a deletion that was reported as failed has left. It may have taken effect: what is written
// into the record next must not speak of what is gone.
func (s *LogStore) lookAgain() error {
	first, last, err := s.ends()
	if err != nil {
		return err
	}
	left := s.Tail
	switch {
	case last == 0 || last < left.First:
		left = Tail{}
	case last < left.Last:
		var l raft.Log
		if _, left.Chain, err = s.read(last, &l); err != nil {
			return err
		}
		left.Last = last
	}
	if left.Last != 0 {
		left.First = max(left.First, first)
	}
	s.unsure = false
	s.publish(left)
	return nil
}

// ends gives the first and the last index in the store below, 0 when it is empty.
func (s *LogStore) ends() (first, last uint64, err error) {
	if first, err = s.Inner.FirstIndex(); err != nil {
		return 0, 0, err
	}
	last, err = s.Inner.LastIndex()
	return first, last, err
}

// BytesSinceSnapshot is how much entry data came into the log after the newest snapshot's last entry, in bytes.
func (s *LogStore) BytesSinceSnapshot() uint64 { return s.growth.bytes() }
