package cluster

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
)

// snapshotInfo is what the newest snapshot says.
type snapshotInfo struct {
	Index, Term   uint64
	Configuration raft.Configuration
}

// verifyRaftFile reads raft.db page by page before bbolt maps it: see verifybolt.go. It gives the first and the last
// index of the entries, and whether the file holds any Raft state at all. A missing or empty file holds none.
func verifyRaftFile(path string) (first, last uint64, hasState bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, 0, false, nil
	}
	if err != nil {
		return 0, 0, false, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, false, err
	}
	if info.Size() == 0 {
		return 0, 0, false, nil
	}
	first, last, hasState, err = verifyBolt(f, info.Size())
	if err != nil {
		return 0, 0, false, damaged(path, "damaged: %w", err)
	}
	return first, last, hasState, nil
}

func verifyBolt(r io.ReaderAt, size int64) (first, last uint64, hasState bool, err error) {
	file, err := openBoltFile(r, size)
	if err != nil {
		return 0, 0, false, err
	}
	buckets, err := file.buckets()
	if err != nil {
		return 0, 0, false, err
	}
	if len(buckets) == 0 {
		return 0, 0, false, nil // made, and never used
	}
	logs, conf := buckets[bucketLogs], buckets[bucketConf]
	if logs == nil || conf == nil || len(buckets) != 2 {
		return 0, 0, false, fmt.Errorf("buckets are missing or unknown: there are %d", len(buckets))
	}
	err = file.bucket(logs, func(k, _ []byte) error {
		if len(k) != 8 {
			return fmt.Errorf("a log key has %d bytes", len(k))
		}
		index := binary.BigEndian.Uint64(k)
		switch {
		case index == 0:
			return errors.New("there is an entry 0")
		case first == 0:
			first = index
		case index != last+1:
			return fmt.Errorf("entries %d to %d are missing", last+1, index-1)
		}
		last = index
		return nil
	})
	if err != nil {
		return 0, 0, false, err
	}
	found := map[string][]byte{}
	err = file.bucket(conf, func(k, v []byte) error {
		if string(k) != keyStable && string(k) != keyTail {
			return fmt.Errorf("unexpected key %q", k)
		}
		found[string(k)] = bytes.Clone(v)
		return nil
	})
	if err != nil {
		return 0, 0, false, err
	}
	var t tail
	if b := found[keyTail]; b != nil || last != 0 {
		if t, err = decodeTail(b); err != nil {
			return 0, 0, false, err
		}
	}
	if first != t.First || last != t.Last {
		return 0, 0, false, fmt.Errorf("the log has entries %d to %d, should have %d to %d", first, last, t.First, t.Last)
	}
	if found[keyStable] == nil && found[keyTail] != nil {
		return 0, 0, false, errors.New("term and vote are missing")
	}
	return first, last, found[keyStable] != nil, nil
}

// verifySnapshots checks every finished snapshot and gives the newest, nil when there is none. Unfinished ones are
// rubbish and removed later.
func verifySnapshots(dataDir string) (*snapshotInfo, error) {
	dir := filepath.Join(dataDir, snapshotsDir)
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
		if newest == nil || info.Term > newest.Term || (info.Term == newest.Term && info.Index > newest.Index) {
			newest = info
		}
	}
	return newest, nil
}

func verifySnapshot(dir string) (*snapshotInfo, error) {
	metaPath, statePath, sumPath := filepath.Join(dir, snapshotMeta), filepath.Join(dir, snapshotState), filepath.Join(dir, snapshotSum)
	metaBytes, err := os.ReadFile(metaPath)
	if err != nil {
		return nil, damaged(metaPath, "cannot be read: %w", err)
	}
	meta, err := decodeSnapshotMeta(metaBytes)
	if err != nil {
		return nil, damaged(metaPath, "damaged: %w", err)
	}
	if meta.ID != filepath.Base(dir) {
		return nil, damaged(metaPath, "damaged: it is about the snapshot %q", meta.ID)
	}
	sum, err := os.ReadFile(sumPath)
	switch {
	case errors.Is(err, fs.ErrNotExist): // a crash between the snapshot and its sidecar: nothing was dropped from the log yet
	case err != nil:
		return nil, damaged(sumPath, "cannot be read: %w", err)
	case !bytes.Equal(sum, encodeSum(metaBytes)):
		return nil, damaged(sumPath, "does not fit %s: one of the two is damaged", metaPath)
	}
	f, err := os.Open(statePath)
	if err != nil {
		return nil, damaged(statePath, "cannot be read: %w", err)
	}
	defer func() { _ = f.Close() }()
	h := crc64.New(crc64.MakeTable(crc64.ECMA))
	n, err := io.Copy(h, f)
	if err != nil {
		return nil, damaged(statePath, "cannot be read: %w", err)
	}
	if n != meta.Size {
		return nil, damaged(statePath, "damaged: %d bytes long, should be %d", n, meta.Size)
	}
	if !bytes.Equal(h.Sum(nil), meta.CRC) {
		return nil, damaged(statePath, "damaged: its checksum does not fit the one in %s", metaPath)
	}
	return &snapshotInfo{Index: meta.Index, Term: meta.Term, Configuration: meta.Configuration}, nil
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
