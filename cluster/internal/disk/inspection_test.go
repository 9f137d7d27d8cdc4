package disk

import (
	"slices"
	"testing"

	"pushquorum/cluster/internal/testkit"

	"github.com/hashicorp/raft"
)

// Whatever is damaged, what is kept was written so, and is a beginning of it or, beside a snapshot, an end.
func TestAnInspectionKeepsOnlyWhatWasWritten(t *testing.T) {
	const last = 20
	whole := func() (*entriesOnDisk, map[uint64]raft.Log, Tail) {
		log, record := map[uint64]raft.Log{}, Tail{First: 1}
		for _, l := range testkit.Entries(1, last, 3) {
			var own uint32
			log[l.Index], own = Linked(l, record.Chain)
			record.Last, record.Chain = l.Index, own
		}
		return &entriesOnDisk{
			first: 1, last: last, fileOf: func(uint64) string { return "file" }, readable: func([]byte) error { return nil },
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
			found.Snapshot = &snapshotInfo{Index: tc.snapshot}
		}
		found.read(log, record)
		begins := func(u *Unreadable) uint64 {
			if u == nil {
				return 0
			}
			return u.Index
		}
		if found.Keep.First != tc.first || found.Keep.Last != tc.last || begins(found.Lost) != tc.lost || begins(found.InSnapshot) != tc.inBefore {
			t.Errorf("without %s: %+v is kept, lost from %d, not needed from %d; want %+v", tc.name, found.Keep, begins(found.Lost), begins(found.InSnapshot), tc)
		}
		if found.Lost != nil && found.Lost.Last != last {
			t.Errorf("without %s: lost up to %d", tc.name, found.Lost.Last)
		}
		if slices.Contains(tc.missing, found.Keep.Last) || (found.Keep.Last != 0 && found.End.Index != found.Keep.Last) {
			t.Errorf("without %s: %+v is kept, which ends with %+v", tc.name, found.Keep, found.End)
		}
	}
}
