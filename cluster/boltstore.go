package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// The buckets and keys of raft.db. bbolt keeps the small bucket inside the page that also says where the big one begins,
// and that page hangs on bbolt's own checksummed meta page: this is why the tail of the log lies beside it and not in it.
const (
	bucketLogs = "logs" // index, big endian → entry
	bucketConf = "conf"
	keyStable  = "stable" // Raft's term and vote
	keyTail    = "tail"   // where the log begins and ends
)

// boltStore is raft.db: transactions over raw bytes, whose meaning is the log store's and the stable store's business.
type boltStore struct{ db *bbolt.DB }

// openBoltStore opens or makes the file. It must have been verified: bbolt trusts what it reads.
func openBoltStore(path string) (*boltStore, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		if errors.Is(err, bolterrors.ErrTimeout) {
			return nil, fmt.Errorf("%s: in use by another process; stop it, or give this replica a directory of its own with --storage.path", path)
		}
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	b := &boltStore{db: db}
	err = b.db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{bucketLogs, bucketConf} {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), db.Close())
	}
	return b, nil
}

func indexKey(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }

// rewrite changes the log in one transaction, so that entries and tail always agree: entries below keepFrom and above
// keepTo are deleted (keepTo 0: all), then the new ones are put, then the tail.
func (b *boltStore) rewrite(keepFrom, keepTo, first uint64, entries [][]byte, tail []byte) error {
	return b.db.Update(func(tx *bbolt.Tx) error {
		logs := tx.Bucket([]byte(bucketLogs))
		logs.FillPercent = 0.95 // entries are appended: half-empty pages would stay so
		// The keys are collected first: a cursor may skip one when another is deleted under it.
		var drop [][]byte
		c := logs.Cursor()
		for k, _ := c.First(); k != nil && binary.BigEndian.Uint64(k) < keepFrom; k, _ = c.Next() {
			drop = append(drop, k)
		}
		for k, _ := c.Last(); k != nil && binary.BigEndian.Uint64(k) > keepTo; k, _ = c.Prev() {
			drop = append(drop, k)
		}
		for _, k := range drop {
			if err := logs.Delete(k); err != nil {
				return err
			}
		}
		for i, e := range entries {
			if err := logs.Put(indexKey(first+uint64(i)), e); err != nil {
				return err
			}
		}
		return tx.Bucket([]byte(bucketConf)).Put([]byte(keyTail), tail)
	})
}

// entry calls f with an entry's bytes, nil if there is none; they are only valid during the call.
func (b *boltStore) entry(index uint64, f func([]byte) error) error {
	return b.db.View(func(tx *bbolt.Tx) error { return f(tx.Bucket([]byte(bucketLogs)).Get(indexKey(index))) })
}

// put writes a value of the small bucket.
func (b *boltStore) put(key string, value []byte) error {
	return b.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucketConf)).Put([]byte(key), value) })
}

// get gives a copy of a value of the small bucket, nil if there is none.
func (b *boltStore) get(key string) (value []byte, err error) {
	err = b.db.View(func(tx *bbolt.Tx) error {
		if v := tx.Bucket([]byte(bucketConf)).Get([]byte(key)); v != nil {
			value = append([]byte{}, v...)
		}
		return nil
	})
	return value, err
}

// Close releases the file.
func (b *boltStore) Close() error { return b.db.Close() }
