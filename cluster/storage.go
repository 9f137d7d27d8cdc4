package cluster

import "pushquorum/cluster/internal/disk"

// The values of [Config.LogStore].
const (
	LogWAL   = disk.LogWAL   // segments, appended to: one fsync for an append
	LogBbolt = disk.LogBbolt // in raft.db, beside term and vote
)

// ErrCannotWrite is wrapped by the error of [Open] when the data directory cannot be written: a full disk, a file
// system that is read-only, a directory that belongs to another user. What was in it still is; see [OpenReadOnly].
var ErrCannotWrite = disk.ErrCannotWrite

// HoldsReplica tells whether a replica was started in a data directory before, as far as that can be seen.
func HoldsReplica(dir string) bool { return disk.HoldsReplica(dir) }

// Unreadable is a part of a log that begins with an entry which cannot be read, by the log or by the state machine.
type Unreadable = disk.Unreadable
