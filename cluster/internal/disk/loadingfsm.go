package disk

import (
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"
)

// Loading gives Raft a state machine that hands every entry with its data to the one given, because the log defers
// large data. An entry that cannot be read has the result nil and is told to fail, unless a snapshot holds it, which
// Raft then restores next. It is called after [Dir.WatchedBy].
func (s *Dir) Loading(machine raft.BatchingFSM, fail func(error)) raft.BatchingFSM {
	return &loadingFSM{
		BatchingFSM: machine, logs: s.logs, fail: fail,
		dropped: func(index uint64) bool { return index <= s.SnapshotIndex() },
	}
}

// loadingFSM reads the data of entries where it was deferred, one after the other.
type loadingFSM struct {
	raft.BatchingFSM
	logs *logCache
	// dropped tells whether an entry is missing because a snapshot has taken its place, which is restored next.
	dropped func(index uint64) bool
	fail    func(error)
}

// Apply implements raft.FSM.
func (f *loadingFSM) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM.
func (f *loadingFSM) ApplyBatch(logs []*raft.Log) []any {
	results := make([]any, 0, len(logs))
	for len(logs) > 0 {
		n := slices.IndexFunc(logs, isDeferred)
		switch {
		case n < 0:
			n = len(logs)
			results = append(results, f.BatchingFSM.ApplyBatch(logs)...)
		case n > 0:
			results = append(results, f.BatchingFSM.ApplyBatch(logs[:n])...)
		default:
			n = 1
			results = append(results, f.load(logs[0]))
		}
		logs = logs[n:]
	}
	return results
}

func (f *loadingFSM) load(l *raft.Log) any {
	whole, err := f.logs.full(l)
	switch {
	case err == nil:
		return f.BatchingFSM.ApplyBatch([]*raft.Log{whole})[0]
	case !errors.Is(err, raft.ErrLogNotFound) || !f.dropped(l.Index):
		f.fail(fmt.Errorf("log entry %d cannot be read: %w", l.Index, err))
	}
	return nil
}
