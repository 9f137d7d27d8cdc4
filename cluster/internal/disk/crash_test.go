package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/cluster/internal/testkit"
)

// crashDisk stands below a log store and calls at at every point where a crash may leave another state. The store is
// durable after each of its writes; of raft.tail any content since the last that was to be durable may be on disk.
type crashDisk struct {
	entryStore
	file    *tailFile
	records [][]byte
	at      func(when string)
}

func (d *crashDisk) StoreLogs(logs []*raft.Log) error {
	defer d.at("after an append")
	return d.entryStore.StoreLogs(logs)
}

func (d *crashDisk) DeleteRange(minIndex, maxIndex uint64) error {
	d.at("before a deletion")
	defer d.at("after a deletion")
	return d.entryStore.DeleteRange(minIndex, maxIndex)
}

func (d *crashDisk) save(t tail, durable bool) error {
	defer d.at("after the record")
	d.records = append(d.records, encodeTail(t))
	if durable {
		d.at("before the record is durable")
		d.records = d.records[len(d.records)-1:]
	}
	return d.file.save(t, durable)
}

// moment is what the files of a log hold at one time: path → content, without raft.tail.
type moment map[string][]byte

// momentOf reads them. Raft-wal makes its next segment in the background: what it was half way in is read again,
// because a crash leaves a moment and no mixture of two.
func momentOf(t *testing.T, dir string) moment {
	t.Helper()
	for before := moment(nil); ; {
		now := moment{}
		for _, pattern := range []string{RaftFile, filepath.Join(wal.Dir, "*")} {
			paths, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range paths {
				b, err := os.ReadFile(path)
				if errors.Is(err, fs.ErrNotExist) {
					continue // gone meanwhile: the next reading tells
				}
				if err != nil {
					t.Fatal(err)
				}
				now[strings.TrimPrefix(path, dir)] = b
			}
		}
		if before != nil && maps.EqualFunc(before, now, bytes.Equal) {
			return now
		}
		before = now
	}
}

// write leaves them, and what raft.tail says, in a directory.
func (m moment) write(t *testing.T, dir string, record []byte) {
	t.Helper()
	for name, content := range m {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		testkit.WriteFile(t, path, content)
	}
	testkit.WriteFile(t, filepath.Join(dir, TailFileName), record)
}

// TestEveryCrashPointOfTheLog: whatever a crash leaves, of the process or of the machine, is opened, and it holds every
// entry that was acknowledged and not deleted.
func TestEveryCrashPointOfTheLog(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it opens a log for each point where a crash may come")
	}
	for _, where := range everyLog {
		t.Run(where.Store, func(t *testing.T) {
			t.Parallel()
			testEveryCrashPoint(t, where)
		})
	}
}

func testEveryCrashPoint(t *testing.T, where LogOptions) {
	points, behind := 0, 0
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 3))
		dir := t.TempDir()
		inner, file, found, closeAll, err := openTestEntries(t, where, dir)
		if err != nil {
			t.Fatal(err)
		}
		var must []*raft.Log // acknowledged, and not about to be deleted
		disk := &crashDisk{entryStore: inner, file: file, records: [][]byte{encodeTail(tail{})}}
		disk.at = func(when string) {
			points++
			now := momentOf(t, dir)
			// The oldest, the newest and one in between; a process that is killed leaves the newest.
			for _, i := range slices.Compact([]int{0, len(disk.records) / 2, len(disk.records) - 1}) {
				crashed := t.TempDir()
				now.write(t, crashed, disk.records[i])
				s, _, closeLog := openTestLog(t, where, crashed)
				if record, err := decodeTail(disk.records[i]); err == nil && record.Last < s.last.Load() {
					behind++
				}
				for _, want := range must {
					var got raft.Log
					if err := s.GetLog(want.Index, &got); err != nil || !sameEntry(&got, want) {
						t.Fatalf("seed %d, a crash %s: entry %d is %+v, %v; want %+v", seed, when, want.Index, got, err,
							want)
					}
				}
				// It goes on from there.
				if err := s.StoreLog(testkit.Entry(s.last.Load()+1, 1000)); err != nil {
					t.Fatalf("seed %d, a crash %s: %v", seed, when, err)
				}
				closeLog()
				_, _, closeLog = openTestLog(t, where, crashed)
				closeLog()
			}
		}
		s := newLogStore(func(uint64) string { return dir }, disk, disk, func() error {
			disk.at("before the record")
			return nil
		})
		if _, err := s.open(found.record, 0); err != nil {
			t.Fatal(err)
		}
		term, next := uint64(1), uint64(1)
		for range 30 {
			n := len(must)
			var err error
			switch what := rng.IntN(10); {
			case what < 6:
				var batch []*raft.Log
				for range 1 + rng.IntN(3) {
					batch = append(batch, testkit.Entry(next, term))
					next++
				}
				err = s.StoreLogs(batch)
				must = append(must, batch...)
			case what < 8 && n > 1: // conflict
				keep := 1 + rng.IntN(n-1)
				last := must[n-1].Index
				next, term = must[keep].Index, term+1
				must = must[:keep]
				err = s.DeleteRange(next, last)
			case what < 9 && n > 1: // compaction
				first := must[0].Index
				must = must[1+rng.IntN(n-1):]
				err = s.DeleteRange(first, must[0].Index-1)
			case n > 0 && rng.IntN(2) == 0: // a snapshot from the leader
				first := must[0].Index
				must, next = nil, next+5
				err = s.DeleteRange(first, next-1)
			}
			if err != nil {
				t.Fatal(err)
			}
			disk.at("between two writes")
		}
		closeAll()
	}
	t.Logf("%d points, the record was behind the log %d times", points, behind)
	if behind == 0 {
		t.Error("the record was never behind the log: this test shows nothing")
	}
}

// TestCrashDuringTheFirstStart: what was made so far is taken as it is.
func TestCrashDuringTheFirstStart(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(dir string){
		"nothing yet": func(string) {},
		"raft.tail half": func(dir string) {
			testkit.WriteFile(t, filepath.Join(dir, TailFileName+".tmp"), []byte("x"))
		},
		"raft.tail made": func(dir string) {
			testkit.WriteFile(t, filepath.Join(dir, TailFileName), encodeTail(tail{}))
		},
		"raft.db half made": func(dir string) {
			testkit.WriteFile(t, filepath.Join(dir, RaftFile+".tmp"), make([]byte, 4096))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			do(dir)
			found, err := verifyRaftFile(dir, LogBbolt)
			if err != nil || found.hasStable {
				t.Fatalf("%+v, %v", found, err)
			}
			file, err := openTailFile(filepath.Join(dir, TailFileName))
			if err != nil {
				t.Fatal(err)
			}
			bolt, err := openBoltStore(filepath.Join(dir, RaftFile))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = bolt.Close(), file.Close()
			if _, err := verifyRaftFile(dir, LogBbolt); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestFilesAppearWhole: until it is finished, raft.db has another name.
func TestFilesAppearWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), RaftFile)
	if err := os.MkdirAll(filepath.Join(path+".tmp", "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := openBoltStore(path)
	if err == nil || !strings.Contains(err.Error(), RaftFile) {
		t.Fatalf("got %v, want an error that names the file", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Fatalf("%s exists: %v", path, err)
	}
}

// TestOtherLogsAreRefused puts files of another moment beside each other, each of them whole.
func TestOtherLogsAreRefused(t *testing.T) {
	t.Parallel()
	for _, where := range everyLog {
		t.Run(where.Store, func(t *testing.T) { testOtherLogs(t, where) })
	}
}

func testOtherLogs(t *testing.T, where LogOptions) {
	fresh := t.TempDir()
	_, _, closeLog := openTestLog(t, where, fresh)
	closeLog()
	empty := momentOf(t, fresh)
	dir := t.TempDir()
	s, _, closeLog := openTestLog(t, where, dir)
	at := func(do ...func() error) (log moment, record []byte) {
		for _, f := range do {
			if err := f(); err != nil {
				t.Fatal(err)
			}
		}
		record, err := os.ReadFile(filepath.Join(dir, TailFileName))
		if err != nil {
			t.Fatal(err)
		}
		return momentOf(t, dir), record
	}
	store := func(l *raft.Log) func() error { return func() error { return s.StoreLog(l) } }
	cut := func(first, last uint64) func() error { return func() error { return s.DeleteRange(first, last) } }
	five, _ := at(store(testkit.Entry(1, 1)), store(testkit.Entry(2, 1)), store(testkit.Entry(3, 1)),
		store(testkit.Entry(4, 1)), store(testkit.Entry(5, 1)))
	six, sixRecord := at(store(testkit.Entry(6, 1)))
	fork, forkRecord := at(cut(5, 6), store(testkit.Entry(5, 2)))
	longFork, _ := at(store(testkit.Entry(6, 2)))
	compacted, _ := at(cut(1, 3))
	closeLog()
	for name, c := range map[string]struct {
		log    moment
		record []byte
		want   string // "" = healthy
	}{
		"the last entry is missing":          {five, sixRecord, "should have 1 to 6"},
		"all entries are missing":            {empty, sixRecord, "should have 1 to 6"},
		"the first entries are missing":      {compacted, forkRecord, "should have 1 to 5"},
		"the last entry is another":          {longFork, sixRecord, "not the one the log ended with"},
		"a longer log with another last one": {six, forkRecord, "not the one the log ended with"},
		"a longer log":                       {longFork, forkRecord, ""},
		"the same":                           {fork, forkRecord, ""},
	} {
		t.Run(name, func(t *testing.T) {
			mixed := t.TempDir()
			path := filepath.Join(mixed, RaftFile)
			c.log.write(t, mixed, c.record)
			inner, file, found, closeAll, err := openTestEntries(t, where, mixed)
			if err == nil {
				_, err = newLogStore(func(uint64) string { return path }, inner, file, nil).open(found.record, 0)
				closeAll()
			}
			named := err == nil || strings.Contains(err.Error(), path)
			if (c.want == "") != (err == nil) || !strings.Contains(fmt.Sprint(err), c.want) || !named {
				t.Fatalf("got %v, want %q and the file's name", err, c.want)
			}
		})
	}
}
