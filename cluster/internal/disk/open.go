package disk

import (
	"context"
	"errors"
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

// The values of [Config.LogStore].
const (
	LogWAL   = "wal"   // segments, appended to: one fsync for an append
	LogBbolt = "bbolt" // in raft.db, beside term and vote
)

// LogOptions is where the log is kept.
type LogOptions struct {
	Store       string // LogWAL or LogBbolt
	SegmentSize int    // bytes, LogWAL only
	ReadOnly    bool   // nothing on the disk may change: what has to be put right is put right in memory
}

// Dir is a checked data directory, open.
type Dir struct {
	Path   string // of raft.db
	eraser *eraser
	ID     *Identity
	bolt   *raftboltdb.BoltStore // term and vote, and the log unless wal has it
	wal    *wal.Store            // nil with LogBbolt
	tail   *TailFile
	Log    *LogStore
	Logs   *LogCache // of log
	Stable *stableStore
	Snaps  *snapshotStore
	// snapshot is the newest at the start, nil when there was none.
	snapshot *snapshotInfo
	readOnly bool
	// Configuration is the latest in log or snapshot, empty when there is none.
	Configuration raft.Configuration
	HasState      bool
	verify        snapshotVerifier
	// Replaced is closed when Raft's idea of the end of the log is wrong until the next start: see covered.
	Replaced     chan struct{}
	replacedOnce sync.Once
}

// Open checks the directory from the outside in: identity, raft.tail, pages of raft.db, snapshots, then every entry
// through the same code that Raft will use. It changes nothing but interrupted work until everything has been checked.
func Open(dir string, id *Identity, where LogOptions, verify snapshotVerifier, logger hclog.Logger) (*Dir, error) {
	s := &Dir{Path: filepath.Join(dir, RaftFile), ID: id, Replaced: make(chan struct{}), eraser: newEraser(logger), verify: verify}
	found, err := verifyRaftFile(dir, where.Store)
	if err != nil {
		return nil, err
	}
	snapshot, err := verifySnapshots(dir)
	if err != nil {
		return nil, err
	}
	if !found.hasStable && (id.Get().HasRaftState || snapshot != nil) {
		return nil, durable.Damaged(s.Path, "holds no entries, no term and no vote though this replica was a member of a cluster; it must not start empty")
	}
	s.snapshot, s.readOnly = snapshot, where.ReadOnly
	if snapshot != nil {
		s.Configuration = snapshot.Configuration
	}
	if err := s.open(dir, where, logger, snapshot, found); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// checkGap tells whether snapshot and log are all of it.
func (s *Dir) checkGap(dir string, snapshot *snapshotInfo) error {
	first := s.Log.First.Load()
	switch {
	case snapshot == nil && first > 1:
		return durable.Damaged(filepath.Join(dir, SnapshotsDir), "no snapshot, though the log begins at entry %d", first)
	case snapshot != nil && first > snapshot.Index+1:
		return durable.Damaged(s.Log.fileOf(first), "entries %d to %d are in no snapshot and missing in the log", snapshot.Index+1, first-1)
	}
	return nil
}

// open opens the files, raft.tail first: there must never be a raft.db without it.
func (s *Dir) open(dir string, where LogOptions, logger hclog.Logger, snapshot *snapshotInfo, found raftContent) (err error) {
	if where.ReadOnly {
		if err := s.openToRead(dir, where, logger); err != nil {
			return err
		}
		return s.load(dir, logger, snapshot, found)
	}
	if s.tail, err = OpenTailFile(filepath.Join(dir, TailFileName)); err != nil {
		return err
	}
	if s.bolt, err = OpenBoltStore(s.Path); err != nil {
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
	s.tail = &TailFile{}
	if s.bolt, err = readBoltStore(s.Path); err != nil {
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
	return newSnapshotStore(dir, logger, s.verify, s.ID.setHasRaftState, s.onSnapshotSaved, s.eraser.erase)
}

// load reads everything once through the stores.
func (s *Dir) load(dir string, logger hclog.Logger, snapshot *snapshotInfo, found raftContent) (err error) {
	// The pages have been checked, so bbolt should have no reason to stumble; should it, the message is to name the
	// file.
	defer func() {
		if r := recover(); r != nil {
			err = durable.Damaged(s.Path, "damaged: %v", r)
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))

	if s.Stable, err = openStableStore(s.Path, s.bolt, s.ID.setHasRaftState); err != nil {
		return err
	}
	if s.wal != nil {
		s.Log = NewLogStore(s.wal.FileOf, s.wal, s.tail, s.ID.setHasRaftState)
	} else {
		s.Log = NewLogStore(func(uint64) string { return s.Path }, s.bolt, s.tail, s.ID.setHasRaftState)
	}
	covered := uint64(0)
	if snapshot != nil {
		covered = snapshot.Index
	}
	configuration, err := s.Log.open(found.record, covered)
	if err != nil {
		return err
	}
	if err := s.checkGap(dir, snapshot); err != nil {
		return err
	}
	if configuration != nil {
		s.Configuration = *configuration
	}
	last := s.Log.last.Load()
	s.Logs = NewLogCache(s.Log)
	if s.Snaps, err = s.openSnapshots(dir, logger); err != nil {
		return err
	}
	if snapshot != nil {
		s.Snaps.newest.Store(snapshot.Index)
		s.Snaps.term.Store(snapshot.Term)
		s.Snaps.size.Store(snapshot.size)
		// Again, because a crash may have come between a snapshot from the leader and this.
		if _, err := s.reconcileLog(SnapshotEnd{Index: snapshot.Index, Term: snapshot.Term}); err != nil {
			return err
		}
	}
	s.HasState = snapshot != nil || last != 0 || s.Stable.hasState()
	if s.ID.Get().HasRaftState && !s.HasState {
		return durable.Damaged(s.Path, "holds no entries and no term though this replica was a member of a cluster; it must not start empty")
	}
	if last != 0 && !s.Stable.hasState() {
		return durable.Damaged(s.Path, "the current term is missing")
	}
	return s.finishForming()
}

// finishForming does again what a crash has left undone of founding a cluster: see [IdentityRecord.Forming]. What
// raft.BootstrapCluster writes is term 1 and then the configuration, as the first entry. In term 1 nobody votes and
// nothing is acknowledged. So without the entry it is as if Raft had not been told yet; but not in a later term, which
// only comes after the entry.
func (s *Dir) finishForming() error {
	servers, err := s.ID.Get().FormingServers()
	if err != nil {
		return durable.Damaged(s.ID.path(), "what it says about forming a cluster cannot be read: %w", err)
	}
	if len(servers) == 0 || len(s.Configuration.Servers) > 0 {
		return nil
	}
	switch term, err := s.Stable.GetUint64([]byte(TermKey)); {
	case err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound):
		return err
	case term > 1:
		return durable.Damaged(s.Log.fileOf(1), "holds no entries though the term is %d; it must not start empty", term)
	}
	if err := s.Stable.SetUint64([]byte(TermKey), 1); err != nil {
		return err
	}
	configuration := raft.Configuration{Servers: servers}
	if err := s.Logs.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(configuration)}); err != nil {
		return err
	}
	s.Configuration, s.HasState = configuration, true
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

// SnapshotIndex is the last log index in the newest snapshot, 0 when there is none.
func (s *Dir) SnapshotIndex() uint64 { return s.Snaps.newest.Load() }

// ClusterID is the cluster this replica is bound to, uuid.Nil before.
func (s *Dir) ClusterID() uuid.UUID { return s.ID.Get().Cluster }

// NextSnapshot is how much the next snapshot takes at most, beside what has been written of it: what the last one
// holds, all that came since, and what of that stays in the log even so. Bytes.
func (s *Dir) NextSnapshot() uint64 {
	since := s.Log.BytesSinceSnapshot()
	_, kept := s.Log.latest.kept()
	most := s.Snaps.size.Load() + since + min(since, kept)
	return most - min(most, s.Snaps.coming.Load())
}

// Shorten deletes the log behind the newest snapshot, which is only kept for replicas that were away, but for what may
// be unanswered.
func (s *Dir) Shorten(applied uint64) error {
	first, last := s.Log.First.Load(), s.Log.last.Load()
	kept, _ := s.Log.latest.kept()
	if end := min(s.SnapshotIndex(), last-min(last, kept), applied); first != 0 && end >= first {
		return s.Logs.DeleteRange(first, end)
	}
	return nil
}

// ReapSnapshots deletes all snapshots but the newest, unless one is becoming the newest just now.
func (s *Dir) ReapSnapshots() error { return s.Snaps.reapOld() }

// BytesSinceSnapshot is how much entry data came into the log after the newest snapshot's last entry, in bytes.
func (s *Dir) BytesSinceSnapshot() uint64 { return s.Log.BytesSinceSnapshot() }

// SnapshotSize is the size of the newest snapshot's state, in bytes.
func (s *Dir) SnapshotSize() uint64 { return s.Snaps.size.Load() }

// KeptEntries is how many of the last entries stay in the log, whatever the room, because a leader may go back to them.
func (s *Dir) KeptEntries() uint64 {
	entries, _ := s.Log.latest.kept()
	return entries
}

// LastIndex is where the log ends, 0 when it is empty.
func (s *Dir) LastIndex() uint64 { return s.Log.last.Load() }

// WaitForEntry returns nil when the log reaches to the index, and the context's error when it ends before that.
func (s *Dir) WaitForEntry(ctx context.Context, index uint64) error {
	return s.Log.wait(ctx, index)
}

// WatchedBy has a watch hear of every write, and refuse them for good when the directory is gone. It is called once,
// before Raft has the stores; from then on Raft gets large entries without their data.
func (s *Dir) WatchedBy(d *Watch, lock os.FileInfo) error {
	d.fence = s.Log.refuse
	s.Snaps.wrote = func(err error) { d.Wrote(WriteSnapshot, err) }
	s.Logs = NewLogCache(&notedLogs{s.Log, d}).Deferring()
	return d.expect(lock, []string{RaftFile, TailFileName}, s.replacedFiles())
}

// SnapshotContent opens the state in the snapshot that was the newest at the start, and gives its last index; both are
// zero when there was none.
func (s *Dir) SnapshotContent() (*os.File, uint64, error) {
	if s.snapshot == nil {
		return nil, 0, nil
	}
	state, err := os.Open(filepath.Join(s.snapshot.path, SnapshotState))
	if err != nil {
		return nil, 0, err
	}
	return state, s.snapshot.Index, nil
}
