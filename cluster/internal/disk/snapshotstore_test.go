package disk

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"pushquorum/fsm"
)

// ownWith finishes a snapshot as one of this replica's own, with that content.
func (s *snapshotSink) ownWith(content []byte) error {
	s.own = true
	if _, err := s.Write(content); err != nil {
		return err
	}
	return s.Close()
}

// snapshotAt is what a leader sends of a state at that index.
func snapshotAt(t *testing.T, index uint64) []byte {
	t.Helper()
	state := fsm.New(slog.New(slog.DiscardHandler))
	for _, l := range entriesOf(1, 1, index) {
		state.Apply(l)
	}
	snap, err := state.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var sink memorySink
	if err := snap.Persist(&sink); err != nil {
		t.Fatal(err)
	}
	return sink.Bytes()
}

// openTestSnapshots opens the snapshots of a directory, and collects what becomes the base of the log.
func openTestSnapshots(t *testing.T, saved *[]snapshotEnd) *snapshotStore {
	t.Helper()
	store, err := newSnapshotStore(t.TempDir(), hclog.NewNullLogger(), fsm.VerifySnapshot, func() error { return nil },
		func(b snapshotEnd) error { *saved = append(*saved, b); return nil },
		func(path string) { _ = os.RemoveAll(path) })
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func begin(t *testing.T, store *snapshotStore, last snapshotEnd) *snapshotSink {
	t.Helper()
	_, trans := raft.NewInmemTransport("a")
	sink, err := store.Create(raft.SnapshotVersionMax, last.Index, last.Term,
		raft.Configuration{Servers: []raft.Server{{ID: "a", Address: "a"}}}, 1, trans)
	if err != nil {
		t.Fatal(err)
	}
	return sink.(*snapshotSink)
}

// A replica's own snapshot takes as long as its disk and the rests need; the leader's may come meanwhile.
func TestASnapshotThatEndsAfterANewerOneIsDropped(t *testing.T) {
	t.Parallel()
	for name, older := range map[string]snapshotEnd{"of an earlier entry": {10, 2}, "of an earlier term": {6000, 1}} {
		t.Run(name, func(t *testing.T) {
			var saved []snapshotEnd
			store := openTestSnapshots(t, &saved)
			var disk []error // what is said of the disk
			store.wrote = func(err error) { disk = append(disk, err) }
			own, leaders := begin(t, store, older), begin(t, store, snapshotEnd{5000, 2})
			content := snapshotAt(t, 5000)
			if _, err := leaders.Write(content); err != nil {
				t.Fatal(err)
			}
			if err := leaders.Close(); err != nil {
				t.Fatal(err)
			}
			if err := own.ownWith([]byte("older")); err == nil ||
				!strings.Contains(err.Error(), "holds one up to entry 5000") {
				t.Errorf("it ends with %v", err)
			}
			list, err := store.List()
			if err != nil || len(list) != 1 || list[0].Index != 5000 {
				t.Errorf("snapshots %v, %v", list, err)
			}
			if store.newest.Load() != 5000 || store.term.Load() != 2 || store.size.Load() != uint64(len(content)) ||
				len(saved) != 1 {
				t.Errorf("newest is %d of term %d with %d bytes, the log's base was %v", store.newest.Load(),
					store.term.Load(), store.size.Load(), saved)
			}
			if left, err := os.ReadDir(store.dir); err != nil || len(left) != 1 {
				t.Errorf("left behind: %v, %v", left, err)
			}
			if len(disk) != 1 || disk[0] != nil {
				t.Errorf("the disk has taken a snapshot, and of it is said %v", disk)
			}
		})
	}
}

func TestASnapshotThatTheDiskDoesNotTakeIsSaidOfTheDisk(t *testing.T) {
	var saved []snapshotEnd
	store := openTestSnapshots(t, &saved)
	var said error
	store.wrote = func(err error) { said = err }
	own := begin(t, store, snapshotEnd{10, 2})
	if err := os.RemoveAll(filepath.Join(store.dir, own.ID()+snapshotTmp)); err != nil {
		t.Fatal(err)
	}
	if err := own.ownWith([]byte("x")); err == nil || said == nil {
		t.Errorf("it ends with %v, and of the disk is said %v", err, said)
	}
}

func TestOfSnapshotsThatEndAtOnceTheNewestStays(t *testing.T) {
	t.Parallel()
	var saved []snapshotEnd
	store := openTestSnapshots(t, &saved)
	const count = 8
	sinks := make([]*snapshotSink, 0, count)
	for i := range uint64(count) {
		sinks = append(sinks, begin(t, store, snapshotEnd{i + 1, 1}))
	}
	var all sync.WaitGroup
	for i, sink := range sinks {
		all.Go(func() { _ = sink.ownWith(make([]byte, i+1)) }) // those that are too late say so
	}
	all.Wait()
	if store.newest.Load() != count || store.size.Load() != count {
		t.Errorf("newest is %d with %d bytes, want %d", store.newest.Load(), store.size.Load(), count)
	}
	for i := range len(saved) - 1 {
		if saved[i+1].Index <= saved[i].Index {
			t.Errorf("the log's base went back: %v", saved)
		}
	}
}

// What another replica sends is read before it counts: one that is stored and cannot be read keeps a replica from
// starting.
func TestASnapshotFromAnotherReplicaIsReadBeforeItCounts(t *testing.T) {
	t.Parallel()
	good := snapshotAt(t, 50)
	for _, tc := range []struct {
		name    string
		last    snapshotEnd
		content []byte
		says    string // "" for one that is good
	}{
		{"good", snapshotEnd{50, 2}, good, ""},
		{"of a state with Raft's own entries behind it", snapshotEnd{52, 2}, good, ""},
		{"bogus", snapshotEnd{50, 2}, []byte("bogus"), "does not begin with"},
		{"empty", snapshotEnd{50, 2}, nil, "does not begin with"},
		{"cut off", snapshotEnd{50, 2}, good[:len(good)-1], "unexpected EOF"},
		{"damaged", snapshotEnd{50, 2}, append(append(bytes.Clone(good[:len(good)/2]), good[len(good)/2]^1),
			good[len(good)/2+1:]...), "record"},
		{"large and bogus", snapshotEnd{50, 2}, bytes.Repeat([]byte("bogus"), 1<<20), "does not begin with"},
		{"of a later state than it says", snapshotEnd{49, 2}, good, "holds the state at entry 50"},
		{"with an index that leaps", snapshotEnd{50 + maxUncounted + 1, 2}, good, "holds the state at entry 50"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var saved []snapshotEnd
			store := openTestSnapshots(t, &saved)
			sink := begin(t, store, tc.last)
			_, err := io.Copy(sink, bytes.NewReader(tc.content))
			if err != nil { // as Raft does
				_ = sink.Cancel()
			} else {
				err = sink.Close()
			}
			list, lerr := store.List()
			if lerr != nil {
				t.Fatal(lerr)
			}
			if tc.says == "" {
				if err != nil || len(list) != 1 || len(saved) != 1 {
					t.Errorf("it is refused: %v; snapshots %v", err, list)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.says) ||
				!strings.Contains(err.Error(), fmt.Sprintf("up to entry %d", tc.last.Index)) {
				t.Errorf("it ends with %v, want %q", err, tc.says)
			}
			if left, err := os.ReadDir(store.dir); err != nil || len(left) != 0 || len(list) != 0 || len(saved) != 0 ||
				store.newest.Load() != 0 {
				t.Errorf("it counts: snapshots %v, files %v, base %v, %v", list, left, saved, err)
			}
		})
	}
}

// A bad snapshot changes nothing in a replica that holds a state, and the next good one is taken.
func TestABadSnapshotLeavesAFollowerAsItIs(t *testing.T) {
	t.Parallel()
	f := newFollower(t)
	f.mustAppend(snapshotEnd{}, entriesOf(leaderTerm, 1, 20))
	if err := f.send(snapshotEnd{50, leaderTerm}, []byte("bogus")); err == nil ||
		!strings.Contains(err.Error(), "cannot be used") {
		t.Fatalf("a bogus snapshot: %v", err)
	}
	f.expectLog("after a bogus snapshot", 1, 20)
	f.restart()
	f.expectLog("after a restart", 1, 20)
	f.mustAppend(snapshotEnd{20, leaderTerm}, entriesOf(leaderTerm, 21, 22))
	f.mustInstall(snapshotEnd{50, leaderTerm})
	f.expectLog("after a good snapshot", 0, 0)
}
