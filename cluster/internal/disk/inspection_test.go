package disk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/cluster/internal/testkit"
)

// Whatever is damaged, what is kept was written so, and is a beginning of it or, beside a snapshot, an end.
func TestAnInspectionKeepsOnlyWhatWasWritten(t *testing.T) {
	const last = 20
	whole := func() (*entriesOnDisk, map[uint64]raft.Log, tail) {
		log, record := map[uint64]raft.Log{}, tail{First: 1}
		for _, l := range testkit.Entries(1, last, 3) {
			var own uint32
			log[l.Index], own = linked(l, record.Chain)
			record.Last, record.Chain = l.Index, own
		}
		return &entriesOnDisk{
			first: 1, last: last, fileOf: func(uint64) string { return "file" },
			readable: func([]byte) error { return nil },
			get: func(index uint64, l *raft.Log) error {
				stored, ok := log[index]
				if !ok {
					return raft.ErrLogNotFound
				}
				*l = stored
				return nil
			},
		}, log, record
	}
	for _, tc := range []struct {
		name           string
		snapshot       uint64
		missing        []uint64
		first, last    uint64 // that are kept
		lost, inBefore uint64 // where the parts begin, 0 for none
	}{
		{"nothing", 0, nil, 1, last, 0, 0},
		{"the first", 0, []uint64{1}, 0, 0, 1, 0},
		{"the last", 0, []uint64{last}, 1, last - 1, last, 0},
		{"one in the middle", 0, []uint64{7}, 1, 6, 7, 0},
		{"two", 0, []uint64{7, 12}, 1, 6, 7, 0},
		{"one in the snapshot", 10, []uint64{7}, 8, last, 0, 7},
		{"the last in the snapshot", 10, []uint64{10}, 11, last, 0, 10},
		{"the first after the snapshot", 10, []uint64{11}, 1, 10, 11, 0},
		{"two in the snapshot", 10, []uint64{3, 7}, 8, last, 0, 3},
		{"one in the snapshot and one after it", 10, []uint64{7, 15}, 8, 14, 15, 7},
		{"those around the end of the snapshot", 10, []uint64{10, 11}, 0, 0, 11, 10},
		{"all", 0, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, 0, 0, 1, 0},
	} {
		log, stored, record := whole()
		for _, index := range tc.missing {
			delete(stored, index)
		}
		found := Inspection{}
		if tc.snapshot > 0 {
			found.snapshot = &snapshotInfo{Index: tc.snapshot}
		}
		found.read(log, record)
		begins := func(u *Unreadable) uint64 {
			if u == nil {
				return 0
			}
			return u.Index
		}
		if found.keep.First != tc.first || found.keep.Last != tc.last || begins(found.Lost) != tc.lost ||
			begins(found.InSnapshot) != tc.inBefore {
			t.Errorf("without %s: %+v is kept, lost from %d, not needed from %d; want %+v", tc.name, found.keep,
				begins(found.Lost), begins(found.InSnapshot), tc)
		}
		if found.Lost != nil && found.Lost.Last != last {
			t.Errorf("without %s: lost up to %d", tc.name, found.Lost.Last)
		}
		if slices.Contains(tc.missing, found.keep.Last) ||
			(found.keep.Last != 0 && found.end.Index != found.keep.Last) {
			t.Errorf("without %s: %+v is kept, which ends with %+v", tc.name, found.keep, found.end)
		}
	}
}

// A cut that stops half way leaves a directory that is refused as before or a good one, never one that is taken for
// whole and is not.
func TestACutThatStopsHalfWayCanBeRepeated(t *testing.T) {
	t.Parallel()
	const entries, damaged = 400, 200
	dir, where := t.TempDir(), LogOptions{Store: LogWAL, SegmentSize: 4 << 10}
	logger := hclog.NewNullLogger()
	open := func() (*Dir, error) {
		id, err := OpenIdentity(dir)
		if err != nil {
			return nil, err
		}
		if err := id.Started(false); err != nil {
			return nil, err
		}
		return Open(dir, id, where, nil, logger)
	}
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stable().SetUint64([]byte(termKey), 1); err != nil {
		t.Fatal(err)
	}
	text := func(index uint64) string { return fmt.Sprintf("entry %04d of many", index) }
	for index := uint64(1); index <= entries; index++ {
		l := &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: []byte(text(index))}
		if err := s.Log().StoreLog(l); err != nil {
			t.Fatal(err)
		}
	}
	path := s.wal.FileOf(damaged)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte(text(damaged)))
	if at < 0 {
		t.Fatalf("%s does not hold entry %d", path, damaged)
	}
	b[at] ^= 1
	testkit.WriteFile(t, path, b)
	inspect := func() (Inspection, error) { return Inspect(dir, where, func([]byte) error { return nil }) }
	found, err := inspect()
	if err != nil || found.Lost == nil || found.Lost.Index != damaged || found.keep.Last != damaged-1 {
		t.Fatalf("found %+v, %v", found, err)
	}
	for _, stop := range []struct {
		name string
		do   func() error
	}{
		{"nowhere", func() error { return nil }},
		{"after the record", func() error {
			file, err := openTailFile(filepath.Join(dir, TailFileName))
			if err != nil {
				return err
			}
			return errors.Join(file.save(found.keep, true), file.Close())
		}},
		{"after the list", func() error { return wal.Cut(dir, found.keep.First, found.keep.Last) }},
	} {
		if err := stop.do(); err != nil {
			t.Fatalf("%s: %v", stop.name, err)
		}
		again, err := inspect()
		if err != nil || again.keep != found.keep {
			t.Fatalf("%s: %+v can be kept, before it was %+v; %v", stop.name, again.keep, found.keep, err)
		}
		if s, err := open(); err == nil && s.LastIndex() != damaged-1 {
			t.Errorf("%s: it opens with %d entries", stop.name, s.LastIndex())
		} else if err == nil {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := found.Cut(dir, where, logger); err != nil {
		t.Fatal(err)
	}
	if s, err = open(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	var l raft.Log
	if err := s.Log().GetLog(damaged-1, &l); err != nil || string(l.Data) != text(damaged-1) ||
		s.LastIndex() != damaged-1 {
		t.Errorf("after the cut the log ends with entry %d, %q, %v", s.LastIndex(), l.Data, err)
	}
}
