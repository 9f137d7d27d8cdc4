package cluster

import (
	"bytes"
	"errors"
	"math"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

func sameEntry(a, b *raft.Log) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && a.AppendedAt.Equal(b.AppendedAt) &&
		bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Extensions, b.Extensions)
}

func TestCallersEntriesAreNotChanged(t *testing.T) {
	s, _, closeLog := openTestLog(t, inBbolt, t.TempDir())
	defer closeLog()
	l, extended := entry(1, 1), entry(2, 1)
	extended.Extensions = append(make([]byte, 0, 64), "theirs"...) // with room behind: it must not be written to
	for _, l := range []*raft.Log{l, extended} {
		if err := s.StoreLog(l); err != nil {
			t.Fatal(err)
		}
	}
	if l.Extensions != nil {
		t.Fatalf("Extensions became %x", l.Extensions)
	}
	if room := extended.Extensions[:64]; string(extended.Extensions) != "theirs" || !bytes.Equal(room[6:], make([]byte, 58)) {
		t.Fatalf("Extensions became %x", room)
	}
}

// TestFollowersMakeAChainOfTheirOwn sends entries as Raft does, out of the cache or out of the store, and also with the
// leader's link still on them: a follower keeps what it is sent, in a chain of its own.
func TestFollowersMakeAChainOfTheirOwn(t *testing.T) {
	t.Parallel()
	leader, _, closeLeader := openTestLog(t, inBbolt, t.TempDir())
	defer closeLeader()
	cached, err := raft.NewLogCache(2, leader)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(6) {
		l := entry(i+1, 1)
		l.AppendedAt = time.Now()
		if i == 3 {
			l.Extensions = []byte("of the caller")
		}
		if err := cached.StoreLog(l); err != nil {
			t.Fatal(err)
		}
	}
	for name, source := range map[string]interface {
		GetLog(index uint64, l *raft.Log) error
	}{"through the cache": cached, "linked": leader.inner} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, _, closeLog := openTestLog(t, inBbolt, dir)
			// Another history behind it: its links are others than the leader's.
			if err := s.StoreLog(entry(1, 1)); err != nil {
				t.Fatal(err)
			}
			var sent []*raft.Log
			for i := uint64(2); i <= 6; i++ {
				l := new(raft.Log)
				if err := source.GetLog(i, l); err != nil {
					t.Fatal(err)
				}
				sent = append(sent, l)
				if name == "through the cache" && (len(l.Extensions) != 0) != (i == 4) {
					t.Errorf("entry %d leaves with Extensions %x", i, l.Extensions)
				}
			}
			if err := s.StoreLogs(sent); err != nil {
				t.Fatal(err)
			}
			closeLog()
			s, _, closeLog = openTestLog(t, inBbolt, dir) // checks the chain
			defer closeLog()
			for _, want := range sent {
				var got raft.Log
				if err := s.GetLog(want.Index, &got); err != nil || !sameEntry(&got, want) {
					t.Errorf("entry %d: %+v, %v; want %+v", want.Index, got, err, want)
				}
			}
		})
	}
}

// TestEveryBitOfAStoredEntryCounts stores one entry many times and changes another bit of each.
func TestEveryBitOfAStoredEntryCounts(t *testing.T) {
	dir := t.TempDir()
	s, _, closeLog := openTestLog(t, inBbolt, dir)
	at := time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC)
	var logs []*raft.Log
	for i := range uint64(2000) {
		l := entry(1000+i, 7)
		l.AppendedAt, l.Extensions = at, []byte("theirs")
		logs = append(logs, l)
	}
	if err := s.StoreLogs(logs); err != nil {
		t.Fatal(err)
	}
	closeLog()
	all := false
	changeEntries(t, dir, func(i int, value []byte) {
		value[i/8%len(value)] ^= 1 << (i % 8)
		all = all || i/8 >= len(value)
	})
	if !all {
		t.Fatal("there are more bits than entries")
	}
	bolt, file, _, err := openTestStores(t, inBbolt, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = bolt.Close(), file.Close() }()
	refused := 0
	for i, want := range logs {
		var l raft.Log
		_, _, err := (&logStore{fileOf: func(uint64) string { return dir }, inner: bolt}).read(want.Index, &l)
		if err == nil && !sameEntry(&l, want) {
			t.Errorf("bit %d: %+v, was %+v", i, l, want)
		}
		if err != nil {
			refused++
		}
	}
	t.Logf("%d of %d refused", refused, len(logs))
}

// changeEntries changes the stored values of a log, one after the other, under the hands of everyone.
func changeEntries(t testing.TB, dir string, change func(i int, value []byte)) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, raftFile), 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte(bucketLogs))
		var keys, values [][]byte
		err := bucket.ForEach(func(k, v []byte) error {
			keys, values = append(keys, bytes.Clone(k)), append(values, bytes.Clone(v))
			return nil
		})
		for i, k := range keys {
			change(i, values[i])
			err = errors.Join(err, bucket.Put(k, values[i]))
		}
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// FuzzStoredEntry: an entry comes back as it was given, whatever is in it; a changed one does not come back as another.
func FuzzStoredEntry(f *testing.F) {
	f.Add(uint64(1), uint8(0), int64(0), int64(0), []byte("data"), []byte(nil), uint32(0), byte(1))
	f.Add(uint64(math.MaxUint64), uint8(255), int64(math.MaxInt64), int64(999_999_999), []byte(nil), []byte("x"), uint32(70), byte(0x80))
	f.Add(uint64(7), uint8(5), int64(-62135596800), int64(0), []byte{}, []byte{}, uint32(20), byte(0xff)) // the zero time
	f.Add(uint64(7), uint8(5), int64(1<<34), int64(1), []byte{0}, []byte{0}, uint32(9), byte(4))
	f.Fuzz(func(t *testing.T, term uint64, kind uint8, sec, nsec int64, data, extensions []byte, at uint32, mask byte) {
		want := &raft.Log{
			Index: 1, Term: term, Type: raft.LogType(kind), AppendedAt: time.Unix(sec, nsec), Data: data, Extensions: extensions,
		}
		dir := t.TempDir()
		s, _, closeLog := openTestLog(t, inBbolt, dir)
		if err := s.StoreLog(want); err != nil {
			t.Fatal(err)
		}
		var got raft.Log
		if err := s.GetLog(1, &got); err != nil || !sameEntry(&got, want) {
			t.Fatalf("got %+v, %v; want %+v", got, err, want)
		}
		closeLog()

		changeEntries(t, dir, func(_ int, value []byte) { value[int(at)%len(value)] ^= mask })
		bolt, file, _, err := openTestStores(t, inBbolt, dir)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _, _ = bolt.Close(), file.Close() }()
		var l raft.Log
		if _, _, err := (&logStore{fileOf: func(uint64) string { return dir }, inner: bolt}).read(1, &l); err == nil && !sameEntry(&l, want) {
			t.Fatalf("byte %d changed by %#02x: %+v, was %+v", at, mask, l, want)
		}
	})
}
