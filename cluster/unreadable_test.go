package cluster

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/fsm"
)

// contentOf is what the files of a directory hold, by name.
func contentOf(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	out := map[string][32]byte{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out[path] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// mustLookOnly looks at a directory, and checks that nothing in it changes.
func mustLookOnly(t *testing.T, r *replicaT) Recovery {
	t.Helper()
	before := contentOf(t, r.cfg.DataDir)
	rec, err := recoverIt(t, r, false)
	if err == nil || !strings.Contains(err.Error(), "only looking") {
		t.Fatalf("looking: %v", err)
	}
	for path, sum := range contentOf(t, r.cfg.DataDir) {
		if before[path] != sum {
			t.Errorf("looking changes %s", path)
		}
	}
	return rec
}

// appendUnreadable puts an entry into the log that no state machine of this version can read, as an earlier version did
// with one from a newer one, and something behind it.
func appendUnreadable(t *testing.T, r *replicaT) (index uint64) {
	t.Helper()
	f := r.raft.Apply([]byte{99, 0, 0, 0, 0, 0}, time.Second)
	if err := f.Error(); err != nil {
		t.Fatal(err)
	}
	if err := r.raft.Apply(fsm.Seal([][]byte{pushCommand(r, "behind", 1)}, time.Now()),
		time.Second).Error(); err != nil {
		t.Fatal(err)
	}
	return f.Index()
}

func TestASoleReplicaGoesOnWithoutAnEntryThatItCannotApply(t *testing.T) {
	t.Parallel()
	for _, where := range allLogs {
		t.Run(where.Store, func(t *testing.T) {
			r := newReplica(t, nil, "alone", "", 1)
			r.cfg.LogStore = where.Store
			r.start()
			waitReady(t, r)
			push(t, r, "before", 1)
			cluster, self := r.store.ClusterID(), r.self
			index := appendUnreadable(t, r)
			_ = r.stop() // it has halted, and says so
			if err := r.open(); err != nil {
				t.Fatal(err)
			}
			<-r.cfg.FSM.Halted()
			_ = r.stop() // again after each restart

			rec := mustLookOnly(t, r)
			if u := rec.Unreadable; !rec.Sole || rec.InSnapshot != nil || u == nil || u.Index != index ||
				u.Last < index+1 || u.Entries() != u.Last-index+1 || u.Bytes == 0 ||
				u.From.IsZero() || u.To.Before(u.From) ||
				!strings.Contains(u.Why.Error(), "cannot be applied by this program") || rec.LastIndex != index-1 {
				t.Fatalf("the report is %+v, %+v", rec, u)
			}
			if _, err := recoverIt(t, r, true); err != nil {
				t.Fatal(err)
			}
			if _, err := recoverIt(t, r, true); err == nil || !strings.Contains(err.Error(), "only member") {
				t.Errorf("once more, with nothing left to do: %v", err)
			}
			r.start()
			waitReady(t, r)
			if r.store.ClusterID() != cluster || r.self != self || !hasJob(r, "before") || hasJob(r, "behind") {
				t.Errorf("cluster %s, was %s; id %s, was %s; before: %v, behind: %v", r.store.ClusterID(), cluster,
					r.self, self, hasJob(r, "before"), hasJob(r, "behind"))
			}
			push(t, r, "after", 1)
			r.crash()
			r.start()
			waitReady(t, r)
			if !hasJob(r, "before") || !hasJob(r, "after") {
				t.Error("after another restart something is missing")
			}
		})
	}
}

func TestOneOfThreeGoesOnWithoutAnEntryThatNoneCanApply(t *testing.T) {
	t.Parallel()
	_, replicas := trio(t)
	push(t, replicas[0], "before", 1)
	sameState(t, replicas...)
	leader, _ := leaderOf(t, replicas)
	index := appendUnreadable(t, leader)
	for _, r := range replicas {
		eventually(t, r.cfg.Name+" has halted", func() bool {
			return r.cfg.FSM.Err() != nil && r.store.LastIndex() > index
		})
	}
	for _, r := range replicas {
		_ = r.stop() // and says why
	}
	rec := mustLookOnly(t, leader)
	if rec.Sole || len(rec.Others) != 2 || rec.Unreadable == nil || rec.Unreadable.Index != index ||
		rec.LastIndex != index-1 {
		t.Fatalf("the report is %+v", rec)
	}
	if _, err := recoverIt(t, leader, true); err != nil {
		t.Fatal(err)
	}
	leader.start()
	waitReady(t, leader)
	if !exactly([]*replicaT{leader}, leader) || leader.store.ClusterID() == rec.Cluster || !hasJob(leader, "before") ||
		hasJob(leader, "behind") {
		t.Errorf("members %v, cluster %s, was %s", configured(leader), leader.store.ClusterID(), rec.Cluster)
	}
	push(t, leader, "after", 1)
}

const damagedPushes = 700 // some segments

// damagedReplica makes the directory of a stopped standalone replica with many pushes, numbered by their jobs.
func damagedReplica(t *testing.T, store string, snapshotEntries uint64) *replicaT {
	t.Helper()
	r := newReplica(t, nil, "alone", "", 1)
	r.cfg.LogStore, r.cfg.SnapshotEntries = store, snapshotEntries
	r.tune.reconcile = time.Hour // no snapshot by itself
	r.start()
	waitReady(t, r)
	for i := range damagedPushes {
		push(t, r, jobAt(i), float64(i))
		if snapshotEntries > 0 && i == damagedPushes-100 {
			if err := r.raft.Snapshot().Error(); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.crash()
	return r
}

func jobAt(i int) string { return fmt.Sprintf("job-%04d-of-many", i) }

// segmentOf finds the segment, or the file, in which a push stands, and where.
func segmentOf(t *testing.T, r *replicaT, push int) (path string, content []byte, at int) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(r.cfg.DataDir, wal.Dir, "*.wal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(files, filepath.Join(r.cfg.DataDir, disk.RaftFile)) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(b, []byte(jobAt(push))); at >= 0 {
			return path, b, at
		}
	}
	t.Fatalf("push %d is in no file", push)
	return "", nil, 0
}

func rewrite(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestALogThatCannotBeReadToItsEndIsCutAtTheLastGoodEntry(t *testing.T) {
	t.Parallel()
	flipped := func(push int) func(*testing.T, *replicaT) {
		return func(t *testing.T, r *replicaT) {
			path, b, at := segmentOf(t, r, push)
			b[at+2] ^= 1
			rewrite(t, path, b)
		}
	}
	for _, tc := range []struct {
		name, store string
		snapshot    bool // of all but the last hundred pushes
		damage      func(t *testing.T, r *replicaT)
		lost        int // the first push that is lost; what is before it is there
		inSnapshot  bool
	}{
		{"a byte of a full segment", disk.LogWAL, false, flipped(20), 20, false},
		{"a byte of the last segment", disk.LogWAL, false, flipped(damagedPushes - 10), damagedPushes - 10, false},
		{"a byte of the last entry", disk.LogWAL, false, flipped(damagedPushes - 1), damagedPushes - 1, false},
		{"a byte in bbolt", disk.LogBbolt, false, flipped(300), 300, false},
		{"a full segment that is cut off", disk.LogWAL, false, func(t *testing.T, r *replicaT) {
			path, b, at := segmentOf(t, r, 30)
			rewrite(t, path, b[:at])
		}, 0, false}, // its index is at its end
		{"a segment in the middle that is empty", disk.LogWAL, false, func(t *testing.T, r *replicaT) {
			path, _, _ := segmentOf(t, r, damagedPushes/2)
			rewrite(t, path, nil)
		}, -1, false},
		{"a segment in the middle that is gone", disk.LogWAL, false, func(t *testing.T, r *replicaT) {
			path, _, _ := segmentOf(t, r, damagedPushes/2)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, -1, false},
		{"a last segment that is cut off", disk.LogWAL, false, func(t *testing.T, r *replicaT) {
			path, b, at := segmentOf(t, r, damagedPushes-5)
			rewrite(t, path, b[:at])
		}, damagedPushes - 5, false},
		{"a last segment without its head", disk.LogWAL, false, func(t *testing.T, r *replicaT) {
			path, b, _ := segmentOf(t, r, damagedPushes-1)
			b[9] ^= 1
			rewrite(t, path, b)
		}, -1, false},
		{"a length that cannot be", disk.LogWAL, false, func(t *testing.T, r *replicaT) {
			path, b, at := segmentOf(t, r, 40)
			for at%8 != 0 || b[at] != 1 || // an entry begins with its type, at a multiple of eight
				b[at+1] != 0 || b[at+2] != 0 || b[at+3] != 0 {
				at--
			}
			b[at+7] = 0x10 // 256 MiB
			rewrite(t, path, b)
		}, 40, false},
		{"a byte behind a snapshot", disk.LogWAL, true, flipped(damagedPushes - 50), damagedPushes - 50, false},
		{"a byte that is in the snapshot", disk.LogWAL, true, flipped(damagedPushes - 150), damagedPushes, true},
		{
			"a byte in bbolt that is in the snapshot", disk.LogBbolt, true, flipped(damagedPushes - 150), damagedPushes,
			true,
		},
		{"a byte in the snapshot and one behind it", disk.LogWAL, true, func(t *testing.T, r *replicaT) {
			flipped(damagedPushes-150)(t, r)
			flipped(damagedPushes-50)(t, r)
		}, damagedPushes - 50, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			entries := uint64(0)
			if tc.snapshot {
				entries = 300
			}
			r := damagedReplica(t, tc.store, entries)
			tc.damage(t, r)
			if err := r.open(); err == nil {
				t.Fatal("it opens: this test shows nothing")
			}
			if tc.lost == 0 {
				// Nothing before it, no snapshot: there is nothing to go on with.
				if _, err := recoverIt(t, r, true); err == nil ||
					!strings.Contains(err.Error(), "nothing can be recovered") {
					t.Errorf("without a single entry: %v", err)
				}
				return
			}
			rec := mustLookOnly(t, r)
			lost := tc.lost
			if lost < 0 { // a whole segment, wherever it begins
				lost = 1
				for lost < damagedPushes && pushIndex(lost) < rec.Unreadable.Index {
					lost++
				}
			}
			if !rec.Sole || (rec.InSnapshot != nil) != tc.inSnapshot {
				t.Errorf("the report is %+v, %+v", rec, rec.InSnapshot)
			}
			if u := rec.Unreadable; (u != nil) != (lost < damagedPushes) ||
				(u != nil && (u.Index != pushIndex(lost) || u.Last != pushIndex(damagedPushes-1))) {
				t.Errorf("lost is %+v, want entries %d to %d", u, pushIndex(lost), pushIndex(damagedPushes-1))
			}
			if rec.LastIndex != pushIndex(lost)-1 {
				t.Errorf("what can be read ends with %d, want %d", rec.LastIndex, pushIndex(lost)-1)
			}
			if _, err := recoverIt(t, r, true); err != nil {
				t.Fatal(err)
			}
			for range 2 { // it is a good directory, and stays one
				r.start()
				waitReady(t, r)
				for i := range damagedPushes {
					if hasJob(r, jobAt(i)) != (i < lost) {
						t.Fatalf("push %d is there: %v; the first %d are to be", i, hasJob(r, jobAt(i)), lost)
					}
				}
				push(t, r, "after", 1)
				r.crash()
			}
		})
	}
}

// pushIndex is the entry of a push: the configuration and the leader's first entries come before the first.
func pushIndex(push int) uint64 { return uint64(push) + 4 }

// An earlier version wrote entries of any size, of which the log reads none back beyond 64 MiB.
func TestALogWithAnEntryThatIsTooLargeIsCutBeforeIt(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1)
	r.tune.disk.AnySize = true
	r.start()
	waitReady(t, r)
	push(t, r, "before", 1)
	large := &raft.Log{
		Index: r.store.LastIndex() + 1, Term: 2, Type: raft.LogCommand,
		Data: make([]byte, wal.MaxEntry+1), AppendedAt: time.Now(),
	}
	if err := r.store.Log().StoreLog(large); err != nil {
		t.Fatal(err)
	}
	r.crash()
	if err := r.open(); err == nil || !strings.Contains(err.Error(), "MaxEntrySize") {
		t.Fatalf("it opens with %v: this test shows nothing", err)
	}
	if rec := mustLookOnly(t, r); rec.Unreadable == nil || rec.Unreadable.Index != large.Index ||
		rec.Unreadable.Entries() != 1 || rec.LastIndex != large.Index-1 {
		t.Errorf("the report is %+v, %+v", rec, rec.Unreadable)
	}
	if _, err := recoverIt(t, r, true); err != nil {
		t.Fatal(err)
	}
	r.start()
	waitReady(t, r)
	push(t, r, "after", 1)
	if !hasJob(r, "before") || !hasJob(r, "after") {
		t.Error("something is missing")
	}
}
