package disk

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// snapshotEnd is the last entry in the newest snapshot; zero without one.
type snapshotEnd struct{ Index, Term uint64 }

// entry stands in for the last entry in the snapshot, of which only index and term are known. Raft (1.8) asks for it to
// see whether the leader's entries fit when the leader begins right after the snapshot, but has more entries than that
// in its log: it compares with the last entry of the log, and never with the snapshot. Without an answer it refuses the
// leader's entries and is sent the same snapshot again and again, until there is another (hashicorp/raft issues 205 and
// 697).
//
// It must never be sent to another replica, and is not: Raft asks for the entry before the first that it sends, which
// is not there. For entry 1 it does not ask, so that one is never stood in for.
func (b *snapshotEnd) entry(index uint64) (raft.Log, bool) {
	if b == nil || index != b.Index || index < 2 {
		return raft.Log{}, false
	}
	return raft.Log{Index: b.Index, Term: b.Term, Type: raft.LogNoop}, true
}

// ErrReplaced ends the process, because Raft goes on with the entry that was last before: see [Dir.Replaced].
var ErrReplaced = errors.New("the last entry of this replica's log was replaced by a snapshot from the leader, which " +
	"Raft only sees at its start: start this replica again")

// onSnapshotSaved is called with a snapshot that has become final.
func (s *Dir) onSnapshotSaved(snapshot snapshotEnd) error {
	replaced, err := s.reconcileLog(snapshot)
	if err != nil {
		return err
	}
	s.log.growth.startAfter(snapshot.Index)
	if replaced {
		// Raft keeps in memory where its log ends, and the entry there is another one now: it would refuse all that
		// follows.
		s.replacedOnce.Do(func() { close(s.replaced) })
	}
	return nil
}

// reconcileLog makes the log fit the newest snapshot: entries that the snapshot holds are dropped if they may be others
// than those in it, and what follows them stays. Raft itself would keep the wrong ones, or, of a log that calls itself
// monotonic, drop the right ones too. It tells whether the last entry of the log was a wrong one.
//
// A snapshot that this replica took of its own state drops nothing: its last entry is in the log.
func (s *Dir) reconcileLog(snapshot snapshotEnd) (replacedLast bool, err error) {
	first, last := s.log.first.Load(), s.log.last.Load()
	if last != 0 && snapshot.Index >= first {
		var l raft.Log
		err := s.logs.GetLog(snapshot.Index, &l)
		if err != nil && !errors.Is(err, raft.ErrLogNotFound) {
			return false, err
		}
		if err != nil || snapshot.Index > last || l.Term != snapshot.Term {
			if err := s.logs.DeleteRange(first, min(last, snapshot.Index)); err != nil {
				return false, fmt.Errorf("dropping the entries that a snapshot has replaced: %w", err)
			}
			replacedLast = last == snapshot.Index
		}
	}
	s.log.base.Store(&snapshot)
	return replacedLast, nil
}
