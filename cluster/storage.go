package cluster

import (
	"errors"
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

// logOptions is where the log is kept.
type logOptions struct {
	store       string // LogWAL or LogBbolt
	segmentSize int    // bytes, LogWAL only
	readOnly    bool   // nothing on the disk may change: what has to be put right is put right in memory
}

// storage is a checked data directory, open.
type storage struct {
	path   string // of raft.db
	eraser *eraser
	id     *identity
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
	// replaced is closed when Raft's idea of the end of the log is wrong until the next start: see covered.
	replaced     chan struct{}
	replacedOnce sync.Once
}

// openStorage checks the directory from the outside in: identity, raft.tail, pages of raft.db, snapshots, then every
// entry through the same code that Raft will use. It changes nothing but interrupted work until everything has been checked.
func openStorage(dir string, id *identity, where logOptions, logger hclog.Logger) (*storage, error) {
	s := &storage{path: filepath.Join(dir, raftFile), id: id, replaced: make(chan struct{}), eraser: newEraser(logger)}
	found, err := verifyRaftFile(dir, where.store)
	if err != nil {
		return nil, err
	}
	snapshot, err := verifySnapshots(dir)
	if err != nil {
		return nil, err
	}
	if !found.hasStable && (id.get().HasRaftState || snapshot != nil) {
		return nil, durable.Damaged(s.path, "holds no entries, no term and no vote though this replica was a member of a cluster; it must not start empty")
	}
	s.snapshot, s.readOnly = snapshot, where.readOnly
	if snapshot != nil {
		s.configuration = snapshot.Configuration
	}
	if err := s.open(dir, where, logger, snapshot, found); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// checkGap tells whether snapshot and log are all of it.
func (s *storage) checkGap(dir string, snapshot *snapshotInfo) error {
	first := s.log.first.Load()
	switch {
	case snapshot == nil && first > 1:
		return durable.Damaged(filepath.Join(dir, snapshotsDir), "no snapshot, though the log begins at entry %d", first)
	case snapshot != nil && first > snapshot.Index+1:
		return durable.Damaged(s.log.fileOf(first), "entries %d to %d are in no snapshot and missing in the log", snapshot.Index+1, first-1)
	}
	return nil
}

// open opens the files, raft.tail first: there must never be a raft.db without it.
func (s *storage) open(dir string, where logOptions, logger hclog.Logger, snapshot *snapshotInfo, found raftContent) (err error) {
	if where.readOnly {
		if err := s.openToRead(dir, where, logger); err != nil {
			return err
		}
		return s.load(dir, logger, snapshot, found)
	}
	if s.tail, err = openTailFile(filepath.Join(dir, tailFileName)); err != nil {
		return err
	}
	if s.bolt, err = openBoltStore(s.path); err != nil {
		return err
	}
	if where.store == LogWAL {
		if s.wal, err = wal.Open(dir, where.segmentSize, wal.NewErasingFS(s.eraser.erase), logger); err != nil {
			return err
		}
	}
	return s.load(dir, logger, snapshot, found)
}

// openToRead opens them so that nothing on the disk changes.
func (s *storage) openToRead(dir string, where logOptions, logger hclog.Logger) (err error) {
	s.tail = &tailFile{}
	if s.bolt, err = readBoltStore(s.path); err != nil {
		return err
	}
	if where.store == LogWAL {
		s.wal, err = wal.Open(dir, where.segmentSize, wal.NewReadingFS(), logger)
	}
	return err
}

// openSnapshots opens the store of the snapshots, which takes none when nothing may change: it would clean up.
func (s *storage) openSnapshots(dir string, logger hclog.Logger) (*snapshotStore, error) {
	if s.readOnly {
		return &snapshotStore{dir: filepath.Join(dir, snapshotsDir)}, nil
	}
	return newSnapshotStore(dir, logger, s.id.setHasRaftState, s.saved, s.eraser.erase)
}

// load reads everything once through the stores.
func (s *storage) load(dir string, logger hclog.Logger, snapshot *snapshotInfo, found raftContent) (err error) {
	// The pages have been checked, so bbolt should have no reason to stumble; should it, the message is to name the file.
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
		if _, err := s.cover(base{Index: snapshot.Index, Term: snapshot.Term}); err != nil {
			return err
		}
	}
	s.hasState = snapshot != nil || last != 0 || s.stable.hasState()
	if s.id.get().HasRaftState && !s.hasState {
		return durable.Damaged(s.path, "holds no entries and no term though this replica was a member of a cluster; it must not start empty")
	}
	if last != 0 && !s.stable.hasState() {
		return durable.Damaged(s.path, "the current term is missing")
	}
	return s.finishForming()
}

// finishForming does again what a crash has left undone of founding a cluster: see [identityRecord.Forming]. What
// raft.BootstrapCluster writes is term 1 and then the configuration, as the first entry. In term 1 nobody votes and
// nothing is acknowledged. So without the entry it is as if Raft had not been told yet; but not in a later term, which
// only comes after the entry.
func (s *storage) finishForming() error {
	servers, err := s.id.get().forming()
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
	if err := s.logs.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(configuration)}); err != nil {
		return err
	}
	s.configuration, s.hasState = configuration, true
	return nil
}

// Close releases the files.
func (s *storage) Close() (err error) {
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
func (s *storage) replacedFiles() []string {
	if s.wal == nil {
		return []string{identityFile, snapshotsDir}
	}
	return []string{identityFile, snapshotsDir, filepath.Join(wal.Dir, wal.SegmentsFile)}
}

// snapshotIndex is the last log index in the newest snapshot, 0 when there is none.
func (s *storage) snapshotIndex() uint64 { return s.snaps.newest.Load() }

// clusterID is the cluster this replica is bound to, uuid.Nil before.
func (s *storage) clusterID() uuid.UUID { return s.id.get().Cluster }
