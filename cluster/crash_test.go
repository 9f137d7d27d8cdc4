package cluster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// crashDisk stands below a log store and calls at at every point where a crash may leave another state. raft.db is
// durable after each of its transactions; of raft.tail any content since the last that was to be durable may be on disk.
type crashDisk struct {
	*raftboltdb.BoltStore
	file    *tailFile
	records [][]byte
	at      func(when string)
}

func (d *crashDisk) StoreLogs(logs []*raft.Log) error {
	defer d.at("after an append")
	return d.BoltStore.StoreLogs(logs)
}

func (d *crashDisk) DeleteRange(minIndex, maxIndex uint64) error {
	d.at("before a deletion")
	defer d.at("after a deletion")
	return d.BoltStore.DeleteRange(minIndex, maxIndex)
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

// TestEveryCrashPointOfTheLog: whatever a crash leaves, of the process or of the machine, is opened, and it holds every
// entry that was acknowledged and not deleted.
func TestEveryCrashPointOfTheLog(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it opens a log for each point where a crash may come")
	}
	points, behind := 0, 0
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 3))
		dir := t.TempDir()
		bolt, file, found, err := openTestStores(t, inBbolt, dir)
		if err != nil {
			t.Fatal(err)
		}
		var must []*raft.Log // acknowledged, and not about to be deleted
		disk := &crashDisk{BoltStore: bolt, file: file, records: [][]byte{encodeTail(tail{})}}
		disk.at = func(when string) {
			content, err := os.ReadFile(filepath.Join(dir, raftFile))
			if err != nil {
				t.Fatal(err)
			}
			points++
			// The oldest, the newest and one in between; a process that is killed leaves the newest.
			for _, i := range slices.Compact([]int{0, len(disk.records) / 2, len(disk.records) - 1}) {
				crashed := t.TempDir()
				writeFile(t, filepath.Join(crashed, raftFile), content)
				writeFile(t, filepath.Join(crashed, tailFileName), disk.records[i])
				s, _, closeLog := openTestLog(t, inBbolt, crashed)
				if record, err := decodeTail(disk.records[i]); err == nil && record.Last < s.last.Load() {
					behind++
				}
				for _, want := range must {
					var got raft.Log
					if err := s.GetLog(want.Index, &got); err != nil || !sameEntry(&got, want) {
						t.Fatalf("seed %d, a crash %s: entry %d is %+v, %v; want %+v", seed, when, want.Index, got, err, want)
					}
				}
				// It goes on from there.
				if err := s.StoreLog(entry(s.last.Load()+1, 1000)); err != nil {
					t.Fatalf("seed %d, a crash %s: %v", seed, when, err)
				}
				closeLog()
				_, _, closeLog = openTestLog(t, inBbolt, crashed)
				closeLog()
			}
		}
		s := newLogStore(func(uint64) string { return raftFile }, disk, disk, func() error { disk.at("before the record"); return nil })
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
					batch = append(batch, entry(next, term))
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
		_, _ = bolt.Close(), file.Close()
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
		"nothing yet":       func(string) {},
		"raft.tail half":    func(dir string) { writeFile(t, filepath.Join(dir, tailFileName+".tmp"), []byte("x")) },
		"raft.tail made":    func(dir string) { writeFile(t, filepath.Join(dir, tailFileName), encodeTail(tail{})) },
		"raft.db half made": func(dir string) { writeFile(t, filepath.Join(dir, raftFile+".tmp"), make([]byte, 4096)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			do(dir)
			found, err := verifyRaftFile(dir, LogBbolt)
			if err != nil || found.hasStable {
				t.Fatalf("%+v, %v", found, err)
			}
			file, err := openTailFile(filepath.Join(dir, tailFileName))
			if err != nil {
				t.Fatal(err)
			}
			bolt, err := openBoltStore(filepath.Join(dir, raftFile))
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
	path := filepath.Join(t.TempDir(), raftFile)
	if err := os.MkdirAll(filepath.Join(path+".tmp", "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := openBoltStore(path)
	if err == nil || !strings.Contains(err.Error(), raftFile) {
		t.Fatalf("got %v, want an error that names the file", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Fatalf("%s exists: %v", path, err)
	}
}

// TestOtherLogsAreRefused puts files of another moment beside each other, each of them whole.
func TestOtherLogsAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _, closeLog := openTestLog(t, inBbolt, dir)
	at := func(do ...func() error) (raftDB, record []byte) {
		for _, f := range do {
			if err := f(); err != nil {
				t.Fatal(err)
			}
		}
		raftDB, err := os.ReadFile(filepath.Join(dir, raftFile))
		if err != nil {
			t.Fatal(err)
		}
		if record, err = os.ReadFile(filepath.Join(dir, tailFileName)); err != nil {
			t.Fatal(err)
		}
		return raftDB, record
	}
	store := func(l *raft.Log) func() error { return func() error { return s.StoreLog(l) } }
	cut := func(first, last uint64) func() error { return func() error { return s.DeleteRange(first, last) } }
	five, _ := at(store(entry(1, 1)), store(entry(2, 1)), store(entry(3, 1)), store(entry(4, 1)), store(entry(5, 1)))
	six, sixRecord := at(store(entry(6, 1)))
	fork, forkRecord := at(cut(5, 6), store(entry(5, 2)))
	longFork, _ := at(store(entry(6, 2)))
	compacted, _ := at(cut(1, 3))
	closeLog()
	empty, _ := raftFileContent(t, 0)
	for name, c := range map[string]struct {
		raftDB, record []byte
		want           string // "" = healthy
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
			path := filepath.Join(mixed, raftFile)
			writeFile(t, path, c.raftDB)
			writeFile(t, filepath.Join(mixed, tailFileName), c.record)
			bolt, file, found, err := openTestStores(t, inBbolt, mixed)
			if err == nil {
				_, err = newLogStore(func(uint64) string { return path }, bolt, file, nil).open(found.record, 0)
				_, _ = bolt.Close(), file.Close()
			}
			if (c.want == "") != (err == nil) || !strings.Contains(fmt.Sprint(err), c.want) || (err != nil && !strings.Contains(err.Error(), path)) {
				t.Fatalf("got %v, want %q and the file's name", err, c.want)
			}
		})
	}
}

func writeFile(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
