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
	// maxStored is the size of the largest entry that is stored, encoded and with its link, in bytes. It holds for
	// bbolt, too, so that what one replica takes all take.
	maxStored = wal.MaxEntry
	// MaxSealed is the size of the largest entry's data, in bytes.
	MaxSealed = maxStored - wal.EntryOverhead - linkSize
)

// entryStore is the store below: raft-wal's or raft-boltdb's. A write is durable when it returns nil; one that fails
// may have taken effect as a whole or not at all.
type entryStore interface {
	FirstIndex() (uint64, error)
	LastIndex() (uint64, error)
	GetLog(index uint64, l *raft.Log) error
	StoreLogs(logs []*raft.Log) error
	DeleteRange(minIndex, maxIndex uint64) error
}

// tailSaver is the part of tailFile that the log store needs.
type tailSaver interface {
	save(t tail, durable bool) error
}

// logStore stands between Raft and the store of its log, so that damage cannot pass for a shorter or another log:
//
//   - the entries are a chain of checksums, see chain.go: none can be another or miss in between;
//   - raft.tail, written after each append and before each deletion, says what the log holds at least: entries cannot
//     vanish from an end.
//
// Raft writes from its main goroutine and its snapshot goroutine, and reads from many.
type logStore struct {
	// fileOf names the file that holds an entry, or would, for messages.
	fileOf func(index uint64) string
	inner  entryStore
	saver  tailSaver
	// onState is called after entries are on disk, before Raft may speak of them.
	onState func() error
	hooks   Hooks

	mu   sync.Mutex // for writers; held while the disk syncs, so readers use the bounds only
	tail tail       // what the log holds; the record on disk may say less
	// unsure: a deletion was reported as failed, and the log may hold less than tail says.
	unsure bool
	// first and last bound what readers see, 0 = empty.
	first, last atomic.Uint64
	base        atomic.Pointer[snapshotEnd] // of the newest snapshot, nil when there is none

	growth *growth // in bytes of data, since the newest snapshot's last entry
	latest unanswered
	fence  atomic.Pointer[error]

	waiting sync.Mutex
	grown   chan struct{} // closed at the next append, nil when nobody waits for one
}

// newLogStore makes a log over a store of entries and the record of what that holds at least. Nothing can be read
// before it was opened.
func newLogStore(fileOf func(index uint64) string, inner entryStore, saver tailSaver, onState func() error) *logStore {
	return &logStore{fileOf: fileOf, inner: inner, saver: saver, onState: onState, growth: newGrowth()}
}

// read gives an entry and the checksums of the entry before it and of itself.
func (s *logStore) read(index uint64, l *raft.Log) (prev, own uint32, err error) {
	var stored raft.Log
	if err := s.inner.GetLog(index, &stored); err != nil {
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
func (s *logStore) GetLog(index uint64, l *raft.Log) error {
	// what a failed write may have left is not there
	if index >= s.first.Load() && index <= s.last.Load() && index != 0 {
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
func (s *logStore) FirstIndex() (uint64, error) { return s.first.Load(), nil }

// LastIndex implements raft.LogStore.
func (s *logStore) LastIndex() (uint64, error) { return s.last.Load(), nil }

func (s *logStore) publish(t tail) {
	s.tail = t
	s.first.Store(t.First)
	s.last.Store(t.Last)
}

// refuse makes every append from now on fail, for good.
func (s *logStore) refuse(why error) { s.fence.CompareAndSwap(nil, &why) }

// StoreLog implements raft.LogStore.
func (s *logStore) StoreLog(l *raft.Log) error { return s.StoreLogs([]*raft.Log{l}) }

// StoreLogs implements raft.LogStore. Entries must follow the last one, or begin a log that is empty. When it fails
// they count as not written, even if they have reached the disk, and the next write deletes them.
func (s *logStore) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if why := s.fence.Load(); why != nil {
		return *why
	}
	if err := s.dropLeftover(); err != nil {
		return fmt.Errorf("writing %s: deleting what a failed write has left: %w", s.fileOf(s.tail.Last), err)
	}
	next := s.tail
	if first := logs[0].Index; next.Last == 0 && first > 0 {
		next.First, next.Last = first, first-1
	}
	copies, entries := make([]raft.Log, len(logs)), make([]*raft.Log, len(logs))
	for i, l := range logs {
		if l.Index != next.Last+1 {
			return fmt.Errorf("%s: entry %d does not follow entry %d", s.fileOf(l.Index), l.Index, next.Last)
		}
		copies[i], next.Chain = linked(l, next.Chain)
		entries[i] = &copies[i]
		next.Last = l.Index
		if size := wal.EncodedSize(entries[i]); size > maxStored && !s.hooks.AnySize {
			return fmt.Errorf("%s: entry %d is not written, because it takes %d bytes and at most %d can be read back",
				s.fileOf(l.Index), l.Index, size, maxStored)
		}
	}
	if err := s.append(entries); err != nil {
		return fmt.Errorf("writing %s: %w", s.fileOf(s.tail.Last), err)
	}
	if err := s.onState(); err != nil {
		return err
	}
	// Not durable: if it is lost, the record says less than the log holds, which it may.
	if err := s.saver.save(next, false); err != nil {
		return fmt.Errorf("writing the record of what %s holds: %w", s.fileOf(s.tail.Last), err)
	}
	if why := s.fence.Load(); why != nil {
		return *why // meanwhile
	}
	s.publish(next)
	for _, l := range logs {
		s.growth.add(l.Index, uint64(len(l.Data)))
		s.latest.add(l.Index, uint64(len(l.Data)))
	}
	s.waiting.Lock()
	if s.grown != nil {
		close(s.grown)
		s.grown = nil
	}
	s.waiting.Unlock()
	return nil
}

func (s *logStore) append(entries []*raft.Log) error {
	if s.hooks.Append != nil {
		if err := s.hooks.Append(entries); err != nil {
			return err
		}
	}
	return s.inner.StoreLogs(entries)
}

// wait returns nil when the log reaches to the index, and the context's error when it ends before that.
func (s *logStore) wait(ctx context.Context, index uint64) error {
	for {
		s.waiting.Lock()
		if s.last.Load() >= index {
			s.waiting.Unlock()
			return nil
		}
		if s.grown == nil {
			s.grown = make(chan struct{})
		}
		grown := s.grown
		s.waiting.Unlock()
		if s.hooks.Wait != nil {
			s.hooks.Wait()
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// dropLeftover deletes what a failed write may have left behind the end of the log. It may also have left its mark in
// the record, which therefore comes first.
func (s *logStore) dropLeftover() error {
	if s.unsure {
		if err := s.findEnds(); err != nil {
			return err
		}
	}
	last, err := s.inner.LastIndex()
	if err != nil || last <= s.tail.Last {
		return err
	}
	if err := s.saver.save(s.tail, true); err != nil {
		return err
	}
	return s.inner.DeleteRange(s.tail.Last+1, last)
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
		return s.shorten(tail{}, next.First, next.Last)
	case minIndex <= next.First:
		next.First = maxIndex + 1
		return s.shorten(next, s.tail.First, maxIndex)
	case maxIndex >= next.Last:
		next.Last = minIndex - 1
		var l raft.Log
		var err error
		if _, next.Chain, err = s.read(next.Last, &l); err != nil {
			return err
		}
		return s.shorten(next, minIndex, s.tail.Last)
	default:
		return fmt.Errorf("%s: deleting entries %d to %d would leave a hole in %d to %d", s.fileOf(s.tail.Last),
			minIndex, maxIndex, next.First, next.Last)
	}
}

// shorten makes the log what next says by deleting entries minIndex to maxIndex. The record is lowered first and on
// disk: it must never say more than the log holds.
//
// A deletion that has taken effect counts as done even if the store reports an error, in its last fsync say. Should it
// not survive a crash, the old entries are back, which is what Raft expects of a deletion that never happened; nothing
// is acknowledged because of one. When it fails nothing has changed; the record says less than it could until the next
// append.
func (s *logStore) shorten(next tail, minIndex, maxIndex uint64) error {
	if err := s.dropLeftover(); err != nil {
		return fmt.Errorf("writing %s: deleting what a failed write has left: %w", s.fileOf(s.tail.Last), err)
	}
	if err := s.saver.save(next, true); err != nil {
		return fmt.Errorf("writing the record of what %s holds: %w", s.fileOf(s.tail.Last), err)
	}
	s.unsure = true // until it is known what is left
	derr := s.inner.DeleteRange(minIndex, maxIndex)
	first, last, err := s.ends()
	if err != nil || first != next.First || last != next.Last {
		return fmt.Errorf("deleting entries %d to %d from %s: %w", minIndex, maxIndex, s.fileOf(s.tail.Last),
			cmp.Or(derr, err, fmt.Errorf("entries %d to %d remain, should be %d to %d", first, last, next.First,
				next.Last)))
	}
	s.unsure = false
	s.publish(next)
	return nil
}

// findEnds finds out what a deletion that was reported as failed has left. It may have taken effect: what is written
// into the record next must not speak of what is gone.
func (s *logStore) findEnds() error {
	first, last, err := s.ends()
	if err != nil {
		return err
	}
	left := s.tail
	switch {
	case last == 0 || last < left.First:
		left = tail{}
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
func (s *logStore) ends() (first, last uint64, err error) {
	if first, err = s.inner.FirstIndex(); err != nil {
		return 0, 0, err
	}
	last, err = s.inner.LastIndex()
	return first, last, err
}

// bytesSinceSnapshot is how much entry data came into the log after the newest snapshot's last entry, in bytes.
func (s *logStore) bytesSinceSnapshot() uint64 { return s.growth.bytes() }
