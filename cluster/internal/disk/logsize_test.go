package disk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/fsm"
)

// What is written must be read back: an entry that is not keeps every replica from starting.
func TestTheLogReadsBackTheLargestEntryThatItTakes(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it stores entries of many megabytes")
	}
	for _, where := range everyLog {
		t.Run(where.Store, func(t *testing.T) {
			dir := t.TempDir()
			open := func() (*Dir, error) {
				id, err := OpenIdentity(dir)
				if err == nil {
					err = id.Started(id.Get().HasRaftState)
				}
				if err != nil {
					t.Fatal(err)
				}
				return Open(dir, id, where, fsm.VerifySnapshot, hclog.NewNullLogger())
			}
			s, err := open()
			if err != nil {
				t.Fatal(err)
			}
			if err := s.stable.SetUint64([]byte(termKey), 1); err != nil {
				t.Fatal(err)
			}
			largest := MaxSealed
			if where.Store == LogBbolt {
				largest = 2 << 20 // it has no limit of its own, and takes minutes under the race detector
			}
			data := make([]byte, MaxSealed+1)
			data[0], data[largest-1] = 1, 2
			now := time.Now().In(time.FixedZone("with seconds", 3601)) // which takes the most bytes
			at := func(index uint64, size int) *raft.Log {
				return &raft.Log{Index: index, Term: 1 << 60, Type: raft.LogCommand, Data: data[:size], AppendedAt: now}
			}
			if err := s.logs.StoreLogs([]*raft.Log{at(1, 10), at(2, MaxSealed+1)}); err == nil ||
				!strings.Contains(err.Error(), "can be read back") {
				t.Errorf("an entry of one byte more than can be read back: %v", err)
			}
			if last := s.log.last.Load(); last != 0 {
				t.Errorf("a refused append leaves entries up to %d", last)
			}
			if err := s.logs.StoreLogs([]*raft.Log{at(1, 10), at(2, largest), at(3, 10)}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if s, err = open(); err != nil { // and reads every entry
				t.Fatalf("after a restart: %v", err)
			}
			var l raft.Log
			if err := s.logs.GetLog(2, &l); err != nil || len(l.Data) != largest || l.Data[0] != 1 ||
				l.Data[largest-1] != 2 {
				t.Errorf("the largest entry comes back with %d bytes: %v", len(l.Data), err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAFollowerThatRefusesAnEntryIsAsItWas(t *testing.T) {
	t.Parallel()
	f := newFollower(t)
	f.mustAppend(snapshotEnd{}, entriesOf(leaderTerm, 1, 20))
	files := func() (size int64) {
		_ = filepath.Walk(filepath.Join(f.dir, wal.Dir), func(_ string, info os.FileInfo, err error) error {
			if err == nil && !info.IsDir() {
				size += info.Size()
			}
			return nil
		})
		return size
	}
	before := files()
	tooLarge := entriesOf(leaderTerm, 21, 23)
	tooLarge[1].Data = make([]byte, MaxSealed+1)
	if f.append(snapshotEnd{20, leaderTerm}, 0, tooLarge) {
		t.Error("an entry that cannot be read back was taken")
	}
	f.expectLog("after an entry that was refused", 1, 20)
	if files() != before {
		t.Error("something of it was written")
	}
	f.restart()
	f.mustAppend(snapshotEnd{20, leaderTerm}, entriesOf(leaderTerm, 21, 23))
	f.expectLog("after entries that fit", 1, 23)
}
