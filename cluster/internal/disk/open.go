package disk

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"

	"github.com/google/uuid"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/cluster/internal/durable"
)

// The kinds of stores that a log is kept in.
const (
	LogWAL   = "wal"   // segments, appended to: one fsync for an append
	LogBbolt = "bbolt" // in raft.db, beside term and vote
)

// LogOptions is where the log is kept.
type LogOptions struct {
	Store       string // LogWAL or LogBbolt
	SegmentSize int    // bytes, LogWAL only
	ReadOnly    bool   // nothing on the disk may change: what has to be put right is put right in memory
	Hooks       Hooks
}

// Hooks are how the test of a whole replica makes the disk slow, full or broken, and sees what comes to it. The zero
// value changes nothing. They are set before Open and called from any goroutine.
type Hooks struct {
	// Append is called before entries are appended, as they are stored, and Stable before term or vote is written. The
	// write waits for them, and fails with their error.
	Append func(entries []*raft.Log) error
	Stable func() error
	// Wait is called when somebody begins to wait for an entry.
	Wait func()
	// AnySize lets entries be appended that are too large to be read back.
	AnySize bool
}

// Dir is a checked data directory, open.
type Dir struct {
	path   string // of raft.db
	eraser *eraser
	id     *Identity
	bolt   *raftboltdb.BoltStore // term and vote, and the log unless wal has it
	wal    *wal.Store            // nil with LogBbolt
	tail   *tailFile
	log    *logStore
	logs   *logCache // of log
	stable *stableStore
	snaps  *snapshotStore
	// snapshot is the newest at the start, nil when there was none.
	snapshot *snapshotInfo
	readOnly bool
	// configuration is the latest in log or snapshot, empty when there is none.
	configuration raft.Configuration
	hasState      bool
	verify        snapshotVerifier
	hooks         Hooks
	// replaced is closed when Raft's idea of the end of the log is wrong until the next start: see onSnapshotSaved.
	replaced     chan struct{}
	replacedOnce sync.Once
}

// Open checks the directory from the outside in: identity, raft.tail, pages of raft.db, snapshots, then every entry
// through the same code that Raft will use. It changes nothing but interrupted work until everything has been checked.
// verify reads a snapshot that another replica sends to its end, and gives the index that it says it was taken at.
func Open(dir string, id *Identity, where LogOptions, verify func(io.Reader) (applied uint64, err error),
	logger hclog.Logger,
) (*Dir, error) {
	s := &Dir{
		path: filepath.Join(dir, RaftFile), id: id, replaced: make(chan struct{}), eraser: newEraser(logger),
		verify: verify, hooks: where.Hooks,
	}
	found, err := verifyRaftFile(dir, where.Store)
	if err != nil {
		return nil, err
	}
	snapshot, err := verifySnapshots(dir)
	if err != nil {
		return nil, err
	}
	if !found.hasStable && (id.Get().HasRaftState || snapshot != nil) {
		return nil, durable.Damaged(s.path, "holds no entries, no term and no vote though this replica was a member "+
			"of a cluster; it must not start empty")
	}
	s.snapshot, s.readOnly = snapshot, where.ReadOnly
	if snapshot != nil {
		s.configuration = snapshot.Configuration
	}
	if err := s.open(dir, where, logger, snapshot, found); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// checkGap tells whether snapshot and log are all of it.
func (s *Dir) checkGap(dir string, snapshot *snapshotInfo) error {
	first := s.log.first.Load()
	switch {
	case snapshot == nil && first > 1:
		return durable.Damaged(filepath.Join(dir, SnapshotsDir), "no snapshot, though the log begins at entry %d",
			first)
	case snapshot != nil && first > snapshot.Index+1:
		return durable.Damaged(s.log.fileOf(first), "entries %d to %d are in no snapshot and missing in the log",
			snapshot.Index+1, first-1)
	}
	return nil
}

// open opens the files, raft.tail first: there must never be a raft.db without it.
func (s *Dir) open(dir string, where LogOptions, logger hclog.Logger, snapshot *snapshotInfo,
	found raftContent,
) (err error) {
	if where.ReadOnly {
		if err := s.openToRead(dir, where, logger); err != nil {
			return err
		}
		return s.load(dir, logger, snapshot, found)
	}
	if s.tail, err = openTailFile(filepath.Join(dir, TailFileName)); err != nil {
		return err
	}
	if s.bolt, err = openBoltStore(s.path); err != nil {
		return err
	}
	if where.Store == LogWAL {
		if s.wal, err = wal.Open(dir, where.SegmentSize, wal.NewErasingFS(s.eraser.erase), logger); err != nil {
			return err
		}
	}
	return s.load(dir, logger, snapshot, found)
}

// openToRead opens them so that nothing on the disk changes.
func (s *Dir) openToRead(dir string, where LogOptions, logger hclog.Logger) (err error) {
	s.tail = &tailFile{}
	if s.bolt, err = readBoltStore(s.path); err != nil {
		return err
	}
	if where.Store == LogWAL {
		s.wal, err = wal.Open(dir, where.SegmentSize, wal.NewReadingFS(), logger)
	}
	return err
}

// openSnapshots opens the store of the snapshots, which takes none when nothing may change: it would clean up.
func (s *Dir) openSnapshots(dir string, logger hclog.Logger) (*snapshotStore, error) {
	if s.readOnly {
		return &snapshotStore{dir: filepath.Join(dir, SnapshotsDir)}, nil
	}
	return newSnapshotStore(dir, logger, s.verify, s.id.setHasRaftState, s.onSnapshotSaved, s.eraser.erase)
}

// load reads everything once through the stores.
func (s *Dir) load(dir string, logger hclog.Logger, snapshot *snapshotInfo, found raftContent) (err error) {
	// The pages have been checked, so bbolt should have no reason to stumble; should it, the message is to name the
	// file.
	defer func() {
		if r := recover(); r != nil {
			err = durable.Damaged(s.path, "damaged: %v", r)
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))

	if s.stable, err = openStableStore(s.path, s.bolt, s.id.setHasRaftState); err != nil {
		return err
	}
	if s.wal != nil {
		s.log = newLogStore(s.wal.FileOf, s.wal, s.tail, s.id.setHasRaftState)
	} else {
		s.log = newLogStore(func(uint64) string { return s.path }, s.bolt, s.tail, s.id.setHasRaftState)
	}
	s.log.hooks, s.stable.hooks = s.hooks, s.hooks
	covered := uint64(0)
	if snapshot != nil {
		covered = snapshot.Index
	}
	configuration, err := s.log.open(found.record, covered)
	if err != nil {
		return err
	}
	if err := s.checkGap(dir, snapshot); err != nil {
		return err
	}
	if configuration != nil {
		s.configuration = *configuration
	}
	last := s.log.last.Load()
	s.logs = newLogCache(s.log)
	if s.snaps, err = s.openSnapshots(dir, logger); err != nil {
		return err
	}
	if snapshot != nil {
		s.snaps.newest.Store(snapshot.Index)
		s.snaps.term.Store(snapshot.Term)
		s.snaps.size.Store(snapshot.size)
		// Again, because a crash may have come between a snapshot from the leader and this.
		if _, err := s.reconcileLog(snapshotEnd{Index: snapshot.Index, Term: snapshot.Term}); err != nil {
			return err
		}
	}
	s.hasState = snapshot != nil || last != 0 || s.stable.hasState()
	if s.id.Get().HasRaftState && !s.hasState {
		return durable.Damaged(s.path, "holds no entries and no term though this replica was a member of a cluster; "+
			"it must not start empty")
	}
	if last != 0 && !s.stable.hasState() {
		return durable.Damaged(s.path, "the current term is missing")
	}
	return s.finishForming()
}

// finishForming does again what a crash has left undone of founding a cluster: see [IdentityRecord.Forming]. What
// raft.BootstrapCluster writes is term 1 and then the configuration, as the first entry. In term 1 nobody votes and
// nothing is acknowledged. So without the entry it is as if Raft had not been told yet; but not in a later term, which
// only comes after the entry.
func (s *Dir) finishForming() error {
	servers, err := s.id.Get().formingServers()
	if err != nil {
		return durable.Damaged(s.id.path(), "what it says about forming a cluster cannot be read: %w", err)
	}
	if len(servers) == 0 || len(s.configuration.Servers) > 0 {
		return nil
	}
	switch term, err := s.stable.GetUint64([]byte(termKey)); {
	case err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound):
		return err
	case term > 1:
		return durable.Damaged(s.log.fileOf(1), "holds no entries though the term is %d; it must not start empty", term)
	}
	if err := s.stable.SetUint64([]byte(termKey), 1); err != nil {
		return err
	}
	configuration := raft.Configuration{Servers: servers}
	if err := s.logs.StoreLog(&raft.Log{
		Index: 1, Term: 1, Type: raft.LogConfiguration,
		Data: raft.EncodeConfiguration(configuration),
	}); err != nil {
		return err
	}
	s.configuration, s.hasState = configuration, true
	return nil
}

// Close releases the files.
func (s *Dir) Close() (err error) {
	s.eraser.Close()
	if s.wal != nil {
		err = s.wal.Close()
	}
	if s.bolt != nil {
		err = errors.Join(err, s.bolt.Close())
	}
	if s.tail != nil {
		err = errors.Join(err, s.tail.Close())
	}
	return err
}

// replacedFiles are what is always there, but not always the same: a file that changes as a whole, or what holds some
// that come and go.
func (s *Dir) replacedFiles() []string {
	if s.wal == nil {
		return []string{IdentityFile, SnapshotsDir}
	}
	return []string{IdentityFile, SnapshotsDir, filepath.Join(wal.Dir, wal.SegmentsFile)}
}

// Path is where raft.db is, for messages.
func (s *Dir) Path() string { return s.path }

// Log is what Raft takes for its log. Before WatchedBy every entry has its data.
func (s *Dir) Log() raft.LogStore { return s.logs }

// Stable is what Raft takes for term and vote. Set and SetUint64 return when it is durable.
func (s *Dir) Stable() raft.StableStore { return s.stable }

// Snapshots is what Raft takes for its snapshots, the newest first.
func (s *Dir) Snapshots() raft.SnapshotStore { return s.snaps }

// Term is the current term, and an error when there was none yet.
func (s *Dir) Term() (uint64, error) { return s.stable.GetUint64([]byte(termKey)) }

// HasState tells whether there was a snapshot, an entry or a term at the start, or the founding of a cluster was
// finished then.
func (s *Dir) HasState() bool { return s.hasState }

// Configuration is the latest in log or snapshot at the start, empty when there was none.
func (s *Dir) Configuration() raft.Configuration { return s.configuration }

// Replaced is closed when Raft's idea of the end of the log is wrong until the next start: see [ErrReplaced].
func (s *Dir) Replaced() <-chan struct{} { return s.replaced }

// KeepOnly removes the snapshots that hold another configuration than this one.
func (s *Dir) KeepOnly(configuration raft.Configuration) error {
	return s.snaps.keepOnly(configuration)
}

// Trim reduces a request to what goes to a follower at a time, which is at least its first entry, with its data.
func (s *Dir) Trim(request *raft.AppendEntriesRequest) error { return s.logs.cut(request) }

// SnapshotIndex is the last log index in the newest snapshot, 0 when there is none.
func (s *Dir) SnapshotIndex() uint64 { return s.snaps.newest.Load() }

// ClusterID is the cluster this replica is bound to, uuid.Nil before.
func (s *Dir) ClusterID() uuid.UUID { return s.id.Get().Cluster }

// NextSnapshot is how much the next snapshot takes at most, beside what has been written of it: what the last one
// holds, all that came since, and what of that stays in the log even so. Bytes.
func (s *Dir) NextSnapshot() uint64 {
	since := s.log.bytesSinceSnapshot()
	_, kept := s.log.latest.kept()
	most := s.snaps.size.Load() + since + min(since, kept)
	return most - min(most, s.snaps.coming.Load())
}

// Shorten deletes the log behind the newest snapshot, which is only kept for replicas that were away, but for what may
// be unanswered.
func (s *Dir) Shorten(applied uint64) error {
	first, last := s.log.first.Load(), s.log.last.Load()
	kept, _ := s.log.latest.kept()
	if end := min(s.SnapshotIndex(), last-min(last, kept), applied); first != 0 && end >= first {
		return s.logs.DeleteRange(first, end)
	}
	return nil
}

// ReapSnapshots deletes all snapshots but the newest, unless one is becoming the newest just now.
func (s *Dir) ReapSnapshots() error { return s.snaps.reapOld() }

// BytesSinceSnapshot is how much entry data came into the log after the newest snapshot's last entry, in bytes.
func (s *Dir) BytesSinceSnapshot() uint64 { return s.log.bytesSinceSnapshot() }

// SnapshotSize is the size of the newest snapshot's state, in bytes.
func (s *Dir) SnapshotSize() uint64 { return s.snaps.size.Load() }

// KeptEntries is how many of the last entries stay in the log, whatever the room, because a leader may go back to them.
func (s *Dir) KeptEntries() uint64 {
	entries, _ := s.log.latest.kept()
	return entries
}

// LastIndex is where the log ends, 0 when it is empty.
func (s *Dir) LastIndex() uint64 { return s.log.last.Load() }

// WaitForEntry returns nil when the log reaches to the index, and the context's error when it ends before that.
func (s *Dir) WaitForEntry(ctx context.Context, index uint64) error {
	return s.log.wait(ctx, index)
}

// WatchedBy has a watch hear of every write, and refuse them for good when the directory is gone, and has space count
// what is written; lock is [Lock.Info]. It is called once, before Raft has the stores; from then on [Dir.Log] gives
// large entries without their data.
func (s *Dir) WatchedBy(d *Watch, space *Space, lock os.FileInfo) error {
	d.fence, d.full, d.stored = s.log.refuse, space.full, space.wrote
	s.snaps.wrote = func(err error) { d.wrote(writeSnapshot, err) }
	s.logs = newLogCache(&notedLogs{s.log, d}).deferring()
	return d.expect(lock, []string{RaftFile, TailFileName}, s.replacedFiles())
}

// SnapshotContent opens the state in the snapshot that was the newest at the start, and gives its last index; both are
// zero when there was none.
func (s *Dir) SnapshotContent() (*os.File, uint64, error) {
	if s.snapshot == nil {
		return nil, 0, nil
	}
	state, err := os.Open(filepath.Join(s.snapshot.path, snapshotState))
	if err != nil {
		return nil, 0, err
	}
	return state, s.snapshot.Index, nil
}
