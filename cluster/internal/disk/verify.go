package disk

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/cluster/internal/durable"
)

// snapshotInfo is what the newest snapshot says.
type snapshotInfo struct {
	Index, Term   uint64
	Configuration raft.Configuration
	size          uint64 // of the state, in bytes
	path          string // of its directory
}

// raftContent is what the files of the log and of term and vote hold; indexes are 0 when there are no entries.
type raftContent struct {
	first, last uint64
	hasStable   bool // term and vote
	record      tail // what raft.tail says
}

// verifyRaftFile reads raft.tail, and raft.db page by page before bbolt maps it: see verifybolt.go. Neither exists yet
// in a directory that was never used; raft.tail is made first.
//
// The log is in the place that the flag says, or nowhere yet: it is not moved.
func verifyRaftFile(dir, logStore string) (raftContent, error) {
	path, tailPath, segments := filepath.Join(dir, RaftFile), filepath.Join(dir, TailFileName), filepath.Join(dir,
		wal.Dir)
	_, err := os.Lstat(segments)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return raftContent{}, err
	}
	inWAL := err == nil
	if inWAL && logStore != LogWAL {
		return raftContent{}, fmt.Errorf("%s holds the log: start with --storage.log=%s, or delete the whole data "+
			"directory so that this replica joins anew", segments, LogWAL)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		_, err := readTail(tailPath, path, false)
		return raftContent{}, err
	}
	if err != nil {
		return raftContent{}, durable.Damaged(path, "cannot be read: %w", err)
	}
	defer func() { _ = f.Close() }()
	record, err := readTail(tailPath, path, true)
	if err != nil {
		return raftContent{}, err
	}
	info, err := f.Stat()
	if err != nil {
		return raftContent{}, durable.Damaged(path, "cannot be read: %w", err)
	}
	least := record
	if logStore == LogWAL {
		least = tail{} // raft.db holds term and vote only
	}
	c, err := verifyBolt(f, info.Size(), least)
	if err != nil {
		return raftContent{}, durable.Damaged(path, "damaged: %w", err)
	}
	c.record = record
	switch {
	case logStore != LogWAL:
	case c.last != 0:
		return c, fmt.Errorf("%s holds the log: start with --storage.log=%s, or delete the whole data directory so "+
			"that this replica joins anew", path, LogBbolt)
	case !inWAL && record.Last != 0:
		return c, durable.Damaged(segments, "missing, though it should hold entries %d to %d", record.First,
			record.Last)
	}
	return c, nil
}

// verifyBolt walks a bbolt file, which must hold the entries that the record speaks of.
func verifyBolt(r io.ReaderAt, size int64, record tail) (raftContent, error) {
	var c raftContent
	file, err := openBoltFile(r, size)
	if err != nil {
		return c, err
	}
	buckets, err := file.buckets()
	if err != nil {
		return c, err
	}
	logs, conf := buckets[bucketLogs], buckets[bucketConf]
	if logs == nil || conf == nil || len(buckets) != 2 {
		return c, fmt.Errorf("buckets are missing or unknown: there are %d", len(buckets))
	}
	err = file.bucket(logs, func(k, _ []byte) error {
		if len(k) != 8 {
			return fmt.Errorf("a log key has %d bytes", len(k))
		}
		index := binary.BigEndian.Uint64(k)
		switch {
		case index == 0:
			return errors.New("there is an entry 0")
		case c.first == 0:
			c.first = index
		case index != c.last+1:
			return fmt.Errorf("entries %d to %d are missing", c.last+1, index-1)
		}
		c.last = index
		return nil
	})
	if err != nil {
		return c, err
	}
	if err := record.missing(c.first, c.last); err != nil {
		return c, err
	}
	if !isInline(conf) {
		return c, errors.New("term and vote do not lie in the page they belong to")
	}
	err = file.bucket(conf, func(k, _ []byte) error {
		if string(k) != keyStable {
			return fmt.Errorf("unexpected key %q", k)
		}
		c.hasStable = true
		return nil
	})
	if err != nil {
		return c, err
	}
	if c.last != 0 && !c.hasStable {
		return c, errors.New("term and vote are missing")
	}
	return c, nil
}

// verifySnapshots checks every finished snapshot and gives the newest, nil when there is none. Unfinished ones are
// rubbish and removed later.
func verifySnapshots(dataDir string) (*snapshotInfo, error) {
	dir := filepath.Join(dataDir, SnapshotsDir)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the snapshots: %w", err)
	}
	var newest *snapshotInfo
	for _, e := range entries {
		if !e.IsDir() || strings.HasSuffix(e.Name(), snapshotTmp) {
			continue
		}
		info, err := verifySnapshot(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		// Of two that end with the same entry the later one counts, as in Raft: a recovery makes such a one. Entries
		// come in order of their names, which end with the time.
		if newest == nil || info.Term > newest.Term || (info.Term == newest.Term && info.Index >= newest.Index) {
			newest = info
		}
	}
	return newest, nil
}

func verifySnapshot(dir string) (*snapshotInfo, error) {
	metaPath, statePath, sumPath := filepath.Join(dir, snapshotMeta), filepath.Join(dir,
		snapshotState), filepath.Join(dir, snapshotSum)
	metaBytes, err := os.ReadFile(metaPath)
	if err != nil {
		return nil, durable.Damaged(metaPath, "cannot be read: %w", err)
	}
	meta, err := decodeSnapshotMeta(metaBytes)
	if err != nil {
		return nil, durable.Damaged(metaPath, "damaged: %w", err)
	}
	if meta.ID != filepath.Base(dir) {
		return nil, durable.Damaged(metaPath, "damaged: it is about the snapshot %q", meta.ID)
	}
	sum, err := os.ReadFile(sumPath)
	switch {
	// a crash between the snapshot and its sidecar: nothing was dropped from the log yet
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, durable.Damaged(sumPath, "cannot be read: %w", err)
	case !bytes.Equal(sum, encodeSum(metaBytes)):
		return nil, durable.Damaged(sumPath, "checksum mismatch with %s: one of the two is damaged", metaPath)
	}
	f, err := os.Open(statePath)
	if err != nil {
		return nil, durable.Damaged(statePath, "cannot be read: %w", err)
	}
	defer func() { _ = f.Close() }()
	h := crc64.New(crc64.MakeTable(crc64.ECMA))
	n, err := io.Copy(h, f)
	if err != nil {
		return nil, durable.Damaged(statePath, "cannot be read: %w", err)
	}
	if n != meta.Size {
		return nil, durable.Damaged(statePath, "damaged: %d bytes long, should be %d", n, meta.Size)
	}
	if !bytes.Equal(h.Sum(nil), meta.CRC) {
		return nil, durable.Damaged(statePath, "damaged: checksum mismatch with the one in %s", metaPath)
	}
	return &snapshotInfo{
		Index: meta.Index, Term: meta.Term, Configuration: meta.Configuration, size: uint64(meta.Size),
		path: dir,
	}, nil
}

// snapshotMetaRecord is meta.json as raft.FileSnapshotStore writes it.
type snapshotMetaRecord struct {
	raft.SnapshotMeta
	CRC []byte
}

// decodeSnapshotMeta reads the bytes of meta.json.
func decodeSnapshotMeta(b []byte) (snapshotMetaRecord, error) {
	var m snapshotMetaRecord
	if err := json.Unmarshal(b, &m); err != nil {
		return m, err
	}
	if m.Version < raft.SnapshotVersionMin || m.Version > raft.SnapshotVersionMax || m.Index == 0 || m.Size < 0 {
		return m, fmt.Errorf("version %d, index %d, size %d", m.Version, m.Index, m.Size)
	}
	return m, nil
}
