package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"pushquorum/cluster/internal/durable"
)

// The buckets of raft.db, which raft-boltdb names, and the only key of the second. bbolt keeps so small a bucket inside
// the page that the file's checksummed meta page points to: its content cannot be taken from a stale page.
const (
	bucketLogs = "logs" // index, big endian → entry, msgpack
	bucketConf = "conf"
	keyStable  = "stable" // Raft's term and vote
)

func boltOptions(path string) raftboltdb.Options {
	return raftboltdb.Options{
		Path: path,
		BoltOptions: &bbolt.Options{
			Timeout: boltLockWait, NoFreelistSync: true,
			FreelistType: bbolt.FreelistMapType,
		},
		MsgpackUseNewTimeFormat: true,
	}
}

// openBoltStore opens raft.db, or makes it. An existing one must have been verified: bbolt trusts what it reads.
func openBoltStore(path string) (*raftboltdb.BoltStore, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := makeBoltStore(path); err != nil {
			return nil, fmt.Errorf("making %s: %w", path, err)
		}
	}
	return boltStore(boltOptions(path))
}

// readBoltStore opens an existing raft.db, and changes nothing in it.
func readBoltStore(path string) (*raftboltdb.BoltStore, error) {
	o := boltOptions(path)
	o.BoltOptions.ReadOnly = true
	return boltStore(o)
}

func boltStore(o raftboltdb.Options) (*raftboltdb.BoltStore, error) {
	store, err := raftboltdb.New(o)
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%s: in use by another process: stop it, or give this replica a directory of its own "+
			"with --storage.path", o.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", o.Path, err)
	}
	return store, nil
}

// makeBoltStore makes the file under another name: a crash must not leave one that is half a bbolt file, which could
// not be told from a damaged one.
func makeBoltStore(path string) error {
	tmp := path + ".tmp"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	store, err := raftboltdb.New(boltOptions(tmp))
	if err != nil {
		return err
	}
	if err := store.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(path))
}
