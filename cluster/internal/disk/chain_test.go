package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"

	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/cluster/internal/testkit"
)

func sameEntry(a, b *raft.Log) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && a.AppendedAt.Equal(b.AppendedAt) &&
		bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Extensions, b.Extensions)
}

func TestCallersEntriesAreNotChanged(t *testing.T) {
	for _, where := range everyLog {
		t.Run(where.Store, func(t *testing.T) { testCallersEntries(t, where) })
	}
}

func testCallersEntries(t *testing.T, where LogOptions) {
	s, _, closeLog := openTestLog(t, where, t.TempDir())
	defer closeLog()
	l, extended := testkit.Entry(1, 1), testkit.Entry(2, 1)
	extended.Extensions = append(make([]byte, 0, 64), "theirs"...) // with room behind: it must not be written to
	for _, l := range []*raft.Log{l, extended} {
		if err := s.StoreLog(l); err != nil {
			t.Fatal(err)
		}
	}
	if l.Extensions != nil {
		t.Fatalf("Extensions became %x", l.Extensions)
	}
	if room := extended.Extensions[:64]; string(extended.Extensions) != "theirs" ||
		!bytes.Equal(room[6:], make([]byte, 58)) {
		t.Fatalf("Extensions became %x", room)
	}
}

// TestFollowersMakeAChainOfTheirOwn sends entries as Raft does, out of the cache or out of the store, and also with the
// leader's link still on them: a follower keeps what it is sent, in a chain of its own.
func TestFollowersMakeAChainOfTheirOwn(t *testing.T) {
	t.Parallel()
	for _, where := range everyLog {
		t.Run(where.Store, func(t *testing.T) { testFollowersChain(t, where) })
	}
}

func testFollowersChain(t *testing.T, where LogOptions) {
	leader, _, closeLeader := openTestLog(t, where, t.TempDir())
	defer closeLeader()
	cached, err := raft.NewLogCache(2, leader)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(6) {
		l := testkit.Entry(i+1, 1)
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
			s, _, closeLog := openTestLog(t, where, dir)
			// Another history behind it: its links are others than the leader's.
			if err := s.StoreLog(testkit.Entry(1, 1)); err != nil {
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
			s, _, closeLog = openTestLog(t, where, dir) // checks the chain
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
	for _, where := range everyLog {
		t.Run(where.Store, func(t *testing.T) { testEveryBit(t, where) })
	}
}

func testEveryBit(t *testing.T, where LogOptions) {
	dir := t.TempDir()
	s, _, closeLog := openTestLog(t, where, dir)
	at := time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC)
	var logs []*raft.Log
	for i := range uint64(2000) {
		l := testkit.Entry(1000+i, 7)
		l.AppendedAt, l.Extensions = at, []byte("theirs")
		logs = append(logs, l)
	}
	// so that there are many segments, of which only the last is checked by raft-wal
	for batch := range slices.Chunk(logs, 20) {
		if err := s.StoreLogs(batch); err != nil {
			t.Fatal(err)
		}
	}
	closeLog()
	all := false
	change := func(i int, value []byte) {
		value[i/8%len(value)] ^= 1 << (i % 8)
		all = all || i/8 >= len(value)
	}
	if where.Store == LogWAL {
		changeFrames(t, dir, change)
	} else {
		changeEntries(t, dir, change)
	}
	if !all {
		t.Fatal("there are more bits than entries")
	}
	inner, _, _, closeAll, err := openTestEntries(t, where, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll()
	refused, missing := 0, 0
	for i, want := range logs {
		var l raft.Log
		_, _, err := (&logStore{fileOf: func(uint64) string { return dir }, inner: inner}).read(want.Index, &l)
		switch {
		case errors.Is(err, raft.ErrLogNotFound):
			missing++
		case err != nil:
			refused++
		case !sameEntry(&l, want):
			t.Errorf("bit %d: %+v, was %+v", i, l, want)
		}
	}
	t.Logf("%d of %d refused, %d missing", refused, len(logs), missing)
	if refused < len(logs)*3/4 {
		t.Errorf("%d of %d were refused and %d are missing: this test shows little", refused, len(logs), missing)
	}
}

// changeFrames changes the stored values of a log in segments, one after the other. An entry's frame has its type, 1,
// in the first byte and the value's length in the fifth to eighth; all are padded to eight bytes.
func changeFrames(t *testing.T, dir string, change func(i int, value []byte)) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, wal.Dir, "*.wal"))
	if err != nil || len(segments) < 10 {
		t.Fatalf("%d segments, %v", len(segments), err)
	}
	n := 0
	for _, path := range segments { // named by their first entry
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for at := 32; at+8 <= len(b) && (b[at] == 1 || b[at] == 3); {
			if b[at] == 3 { // a commit
				at += 8
				continue
			}
			size := int(binary.LittleEndian.Uint32(b[at+4:]))
			change(n, b[at+8:at+8+size])
			n++
			at += 8 + (size+7)/8*8
		}
		testkit.WriteFile(t, path, b)
	}
}

// changeEntries changes the stored values of a log, one after the other, under the hands of everyone.
func changeEntries(t testing.TB, dir string, change func(i int, value []byte)) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, RaftFile), 0o600, &bbolt.Options{NoSync: true})
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
	f.Add(uint64(math.MaxUint64), uint8(255), int64(math.MaxInt64), int64(999_999_999), []byte(nil), []byte("x"),
		uint32(70), byte(0x80))
	// the zero time
	f.Add(uint64(7), uint8(5), int64(-62135596800), int64(0), []byte{}, []byte{}, uint32(20), byte(0xff))
	f.Add(uint64(7), uint8(5), int64(1<<34), int64(1), []byte{0}, []byte{0}, uint32(9), byte(4))
	f.Fuzz(func(t *testing.T, term uint64, kind uint8, sec, nsec int64, data, extensions []byte, at uint32, mask byte) {
		want := &raft.Log{
			Index: 1, Term: term, Type: raft.LogType(kind), AppendedAt: time.Unix(sec, nsec), Data: data,
			Extensions: extensions,
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
		if _, _, err := (&logStore{fileOf: func(uint64) string { return dir }, inner: bolt}).read(1, &l); err == nil &&
			!sameEntry(&l, want) {
			t.Fatalf("byte %d changed by %#02x: %+v, was %+v", at, mask, l, want)
		}
	})
}
