package disk

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	walfs "github.com/hashicorp/raft-wal/fs"

	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/cluster/internal/testkit"
)

// failure makes writes fail, before or after they have taken effect.
type failure struct {
	store, record, state bool // what fails: the store below, raft.tail, or what comes between them
	after                bool
	blind                bool // nor can it be asked what it holds
}

var errDisk = errors.New("no space left on device")

func (f *failure) during(fails bool, do func() error) error {
	if fails && !f.after {
		return errDisk
	}
	err := do()
	if fails {
		return errors.Join(err, errDisk)
	}
	return err
}

type failingStore struct {
	entryStore
	*failure
}

func (f failingStore) StoreLogs(logs []*raft.Log) error {
	return f.during(f.store, func() error { return f.entryStore.StoreLogs(logs) })
}

func (f failingStore) DeleteRange(minIndex, maxIndex uint64) error {
	return f.during(f.store, func() error { return f.entryStore.DeleteRange(minIndex, maxIndex) })
}

func (f failingStore) FirstIndex() (uint64, error) {
	if f.blind {
		return 0, errDisk
	}
	return f.entryStore.FirstIndex()
}

type failingTail struct {
	*tailFile
	*failure
}

func (f failingTail) save(t tail, durable bool) error {
	return f.during(f.record, func() error { return f.tailFile.save(t, durable) })
}

// openTestStores opens raft.db and raft.tail in a directory, checked as a start would. raft.db is not synced.
func openTestStores(t testing.TB, where LogOptions, dir string) (*raftboltdb.BoltStore, *tailFile, raftContent, error) {
	t.Helper()
	path, tailPath := filepath.Join(dir, RaftFile), filepath.Join(dir, TailFileName)
	found, err := verifyRaftFile(dir, where.Store)
	if err != nil {
		return nil, nil, found, err
	}
	file, err := openTailFile(tailPath)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		if err := makeBoltStore(path); err != nil {
			t.Fatal(err)
		}
	}
	options := boltOptions(path)
	options.NoSync = true
	bolt, err := raftboltdb.New(options)
	if err != nil {
		t.Fatal(err)
	}
	if !found.hasStable {
		if err := bolt.Set([]byte(keyStable), encodeStable(map[string]string{termKey: "12345678"})); err != nil {
			t.Fatal(err)
		}
	}
	return bolt, file, found, nil
}

// everyLog are the places where a log can be. Segments are so small that a test fills some.
var everyLog = []LogOptions{{Store: LogWAL, SegmentSize: 4 << 10}, inBbolt}

var inBbolt = LogOptions{Store: LogBbolt}

// openTestEntries opens the stores of a directory, checked as a start would, and gives that of the entries.
func openTestEntries(t testing.TB, where LogOptions, dir string) (entryStore, *tailFile, raftContent, func(), error) {
	t.Helper()
	bolt, file, found, err := openTestStores(t, where, dir)
	if err != nil {
		return nil, nil, found, nil, err
	}
	if where.Store != LogWAL {
		return bolt, file, found, func() { _, _ = bolt.Close(), file.Close() }, nil
	}
	w, err := wal.Open(dir, where.SegmentSize, walfs.New(), hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return w, file, found, func() { _, _, _ = w.Close(), bolt.Close(), file.Close() }, nil
}

// openTestLog opens the log in a directory as a start would: pages or segments, then entries.
func openTestLog(t testing.TB, where LogOptions, dir string) (*logStore, *failure, func()) {
	t.Helper()
	inner, file, found, closeAll, err := openTestEntries(t, where, dir)
	if err != nil {
		t.Fatal(err)
	}
	fail := &failure{}
	s := newLogStore(func(uint64) string { return dir }, failingStore{inner, fail}, failingTail{file, fail},
		func() error {
			return fail.during(fail.state, func() error { return nil })
		})
	if _, err := s.open(found.record, 0); err != nil {
		t.Fatal(err)
	}
	return s, fail, closeAll
}

// TestLogStoreAgainstAModel does what Raft may do to a log, with writes that fail and restarts at any point, and
// compares it with a slice. A failed write may have taken effect or not; what was there before must be there
// afterwards, and what is behind it can only be the last write.
func TestLogStoreAgainstAModel(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it takes thousands of random steps")
	}
	for _, where := range everyLog {
		t.Run(where.Store, func(t *testing.T) { testLogStoreAgainstAModel(t, where) })
	}
}

func testLogStoreAgainstAModel(t *testing.T, where LogOptions) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 2))
		dir := t.TempDir()
		s, fail, closeLog := openTestLog(t, where, dir)
		var model []*raft.Log // contiguous
		term := uint64(1)
		next := uint64(1)
		check := func(when string) {
			t.Helper()
			first, _ := s.FirstIndex()
			last, _ := s.LastIndex()
			wantFirst, wantLast := uint64(0), uint64(0)
			if len(model) > 0 {
				wantFirst, wantLast = model[0].Index, model[len(model)-1].Index
			}
			if first != wantFirst || last != wantLast {
				t.Fatalf("seed %d, %s: entries %d to %d, want %d to %d", seed, when, first, last, wantFirst, wantLast)
			}
			for _, want := range model {
				var got raft.Log
				if err := s.GetLog(want.Index, &got); err != nil || got.Term != want.Term ||
					!bytes.Equal(got.Data, want.Data) || got.Extensions != nil {
					t.Fatalf("seed %d, %s: entry %d is %+v, %v; want %+v", seed, when, want.Index, got, err, want)
				}
			}
			var got raft.Log
			if err := s.GetLog(wantLast+1, &got); !errors.Is(err, raft.ErrLogNotFound) {
				t.Fatalf("seed %d, %s: entry %d exists: %+v, %v", seed, when, wantLast+1, got, err)
			}
		}
		for step := range 60 {
			what := ""
			fail.store, fail.record, fail.state = rng.IntN(8) == 0, rng.IntN(8) == 0, rng.IntN(8) == 0
			fail.after = rng.IntN(2) == 0
			var err error
			switch n := rng.IntN(10); {
			case n < 5: // append
				var batch []*raft.Log
				for range 1 + rng.IntN(5) {
					batch = append(batch, testkit.Entry(next+uint64(len(batch)), term))
				}
				what = fmt.Sprintf("step %d: append %d..", step, next)
				if err = s.StoreLogs(batch); err == nil {
					model = append(model, batch...)
					next += uint64(len(batch))
				}
			case n < 7 && len(model) > 1: // conflict
				keep := 1 + rng.IntN(len(model)-1)
				term++
				what = fmt.Sprintf("step %d: cut from %d", step, model[keep].Index)
				if err = s.DeleteRange(model[keep].Index, model[len(model)-1].Index); err == nil {
					next = model[keep].Index
					model = model[:keep]
				}
			case n < 8 && len(model) > 1: // compaction
				drop := 1 + rng.IntN(len(model)-1)
				what = fmt.Sprintf("step %d: compact to %d", step, model[drop-1].Index)
				if err = s.DeleteRange(model[0].Index, model[drop-1].Index); err == nil {
					model = model[drop:]
				}
			case n < 9 && len(model) > 0 && rng.IntN(3) == 0: // a snapshot from the leader replaces all
				what = fmt.Sprintf("step %d: drop all", step)
				if err = s.DeleteRange(model[0].Index, model[len(model)-1].Index); err == nil {
					model, next = nil, next+10
				}
			}
			*fail = failure{}
			check(what) // after an error the log is as before
			if rng.IntN(6) == 0 {
				// A restart may find that a failed write has taken effect, or not; both are legal.
				closeLog()
				s, fail, closeLog = openTestLog(t, where, dir)
				model, next = readBack(t, s, model, next)
			}
		}
		closeLog()
	}
}

// readBack makes the model what the log says after a failed write: what it was, and perhaps that write.
func readBack(t *testing.T, s *logStore, model []*raft.Log, next uint64) ([]*raft.Log, uint64) {
	t.Helper()
	var out []*raft.Log
	for i := s.first.Load(); i != 0 && i <= s.last.Load(); i++ {
		var l raft.Log
		if err := s.GetLog(i, &l); err != nil {
			t.Fatal(err)
		}
		out = append(out, &l)
	}
	if len(out) < len(model) || len(out) > len(model)+5 {
		t.Fatalf("%d entries after a restart, %d before", len(out), len(model))
	}
	for i, want := range model {
		if got := out[i]; got.Index != want.Index || got.Term != want.Term || !bytes.Equal(got.Data, want.Data) {
			t.Fatalf("after a restart entry %d is %+v, want %+v", want.Index, got, want)
		}
	}
	if len(out) > 0 {
		return out, out[len(out)-1].Index + 1
	}
	return nil, next
}

// TestFailedWriteLeavesNothingBehind: a write fails though it has reached the disk, and shorter ones of another term
// follow.
func TestFailedWriteLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for name, what := range map[string]failure{
		"the entries":              {store: true, after: true},
		"the record":               {record: true, after: true},
		"the record, not written":  {record: true},
		"between them":             {state: true},
		"the entries, not written": {store: true},
	} {
		for _, where := range everyLog {
			t.Run(name+", "+where.Store, func(t *testing.T) { testFailedWrite(t, where, what) })
		}
	}
}

func testFailedWrite(t *testing.T, where LogOptions, what failure) {
	dir := t.TempDir()
	s, fail, closeLog := openTestLog(t, where, dir)
	if err := s.StoreLogs([]*raft.Log{testkit.Entry(1, 1)}); err != nil {
		t.Fatal(err)
	}
	*fail = what
	err := s.StoreLogs([]*raft.Log{testkit.Entry(2, 1), testkit.Entry(3, 1), testkit.Entry(4, 1)})
	if err == nil || (!what.state && !strings.Contains(err.Error(), dir)) {
		t.Fatalf("got %v, want an error that names the file", err)
	}
	*fail = failure{}
	if err := s.StoreLogs([]*raft.Log{testkit.Entry(2, 2)}); err != nil {
		t.Fatal(err)
	}
	closeLog()
	s, _, closeLog = openTestLog(t, where, dir)
	defer closeLog()
	if last, _ := s.LastIndex(); last != 2 {
		t.Fatalf("the log ends at %d, want 2", last)
	}
	var l raft.Log
	if err := s.GetLog(2, &l); err != nil || l.Term != 2 {
		t.Fatalf("entry 2: %+v, %v", l, err)
	}
}

func TestGapsAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(s *logStore) error
	}{
		{"a gap before a batch", func(s *logStore) error { return s.StoreLogs([]*raft.Log{testkit.Entry(9, 1)}) }},
		{"a gap inside a batch", func(s *logStore) error {
			return s.StoreLogs([]*raft.Log{testkit.Entry(8, 1), testkit.Entry(10, 1)})
		}},
		{"an entry stored again", func(s *logStore) error { return s.StoreLogs([]*raft.Log{testkit.Entry(7, 1)}) }},
		{"index zero", func(s *logStore) error { return s.StoreLogs([]*raft.Log{testkit.Entry(0, 1)}) }},
		{"a hole in the middle", func(s *logStore) error { return s.DeleteRange(6, 6) }},
		{"entries from elsewhere", func(s *logStore) error { return s.StoreLogs([]*raft.Log{testkit.Entry(1, 1)}) }},
	} {
		for _, where := range everyLog {
			t.Run(c.name+", "+where.Store, func(t *testing.T) {
				s, _, closeLog := openTestLog(t, where, t.TempDir())
				defer closeLog()
				if err := s.StoreLogs([]*raft.Log{
					testkit.Entry(5, 1), testkit.Entry(6, 1),
					testkit.Entry(7, 1),
				}); err != nil {
					t.Fatal(err)
				}
				if err := c.do(s); err == nil {
					t.Error("goes through")
				}
			})
		}
	}
}

// A deletion may take effect though it is reported as failed, and the store may not even be able to say what is left.
// What is written after that must be what a start finds.
func TestWhatAFailedDeletionHasLeftIsFoundOutBeforeTheNextWrite(t *testing.T) {
	t.Parallel()
	for _, where := range everyLog {
		for name, c := range map[string]struct {
			after               bool // it took effect
			first, last         uint64
			next                *raft.Log
			wantFirst, wantLast uint64
		}{
			"the front is gone":      {true, 1, 5, testkit.Entry(11, 1), 6, 11},
			"the front is there":     {false, 1, 5, testkit.Entry(11, 1), 1, 11},
			"the end is gone":        {true, 8, 10, testkit.Entry(8, 2), 1, 8},
			"all of it is gone":      {true, 1, 10, testkit.Entry(40, 2), 40, 40},
			"all is gone, and begun": {true, 1, 10, testkit.Entry(11, 2), 11, 11},
		} {
			t.Run(where.Store+", "+name, func(t *testing.T) {
				dir := t.TempDir()
				s, fail, closeLog := openTestLog(t, where, dir)
				for i := range uint64(10) {
					if err := s.StoreLog(testkit.Entry(i+1, 1)); err != nil {
						t.Fatal(err)
					}
				}
				*fail = failure{store: true, after: c.after, blind: true}
				if err := s.DeleteRange(c.first, c.last); err == nil {
					t.Fatal("the deletion did not fail")
				}
				*fail = failure{}
				if err := s.StoreLog(c.next); err != nil {
					t.Fatalf("nothing can be written any more: %v", err)
				}
				closeLog()
				s, _, closeLog = openTestLog(t, where, dir)
				defer closeLog()
				if first, last := s.first.Load(), s.last.Load(); first != c.wantFirst || last != c.wantLast {
					t.Errorf("the log holds entries %d to %d, want %d to %d", first, last, c.wantFirst, c.wantLast)
				}
			})
		}
	}
}
