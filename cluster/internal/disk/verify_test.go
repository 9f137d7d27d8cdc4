package disk

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/testkit"
	"pushquorum/fsm"
)

// raftFileContent is a raft.db with entries written one by one, so that many stale pages lie in it, and what raft.tail
// says of it.
func raftFileContent(t testing.TB, entries uint64) ([]byte, tail) {
	t.Helper()
	dir := t.TempDir()
	s, _, closeLog := openTestLog(t, inBbolt, dir)
	for i := range entries {
		if err := s.StoreLog(testkit.Entry(i+1, 1)); err != nil {
			t.Fatal(err)
		}
	}
	closeLog()
	content, err := os.ReadFile(filepath.Join(dir, RaftFile))
	if err != nil {
		t.Fatal(err)
	}
	record, err := os.ReadFile(filepath.Join(dir, TailFileName))
	if err != nil {
		t.Fatal(err)
	}
	says, err := decodeTail(record)
	if err != nil {
		t.Fatal(err)
	}
	return content, says
}

// TestPointerToAStalePageIsRefused: of all damage the least visible, an old tree that is whole in itself.
func TestPointerToAStalePageIsRefused(t *testing.T) {
	t.Parallel()
	const entries = 60
	content, record := raftFileContent(t, entries)
	stale := 0
	for at := 0; ; at++ {
		next := bytes.Index(content[at:], []byte(bucketLogs))
		if next < 0 {
			break
		}
		at += next
		for i := at + len(bucketLogs); i < min(at+len(bucketLogs)+8, len(content)); i++ {
			for mask := 1; mask < 256; mask++ {
				b := bytes.Clone(content)
				b[i] ^= byte(mask)
				c, err := verifyBolt(bytes.NewReader(b), int64(len(b)), record)
				if err == nil && (c.first != 1 || c.last != entries || !c.hasStable) {
					t.Fatalf("byte %d changed by %#02x: %+v", i, mask, c)
				}
				if err != nil && strings.Contains(err.Error(), "should have") {
					stale++
				}
			}
		}
	}
	if stale == 0 {
		t.Fatal("no change led to a stale page: this test shows nothing")
	}
}

// TestEitherMetaPageMustBeWhole: bbolt would take the older one without a word, and the last write with it would be
// gone.
func TestEitherMetaPageMustBeWhole(t *testing.T) {
	for entries := range uint64(2) {
		content, record := raftFileContent(t, 10+entries)
		pageSize := int(binary.NativeEndian.Uint32(content[boltHeader+8:]))
		for _, page := range []int{0, 1} {
			for i := range boltHeader + boltMetaSize {
				if i >= 10 && i < boltHeader {
					continue // count and overflow of a meta page mean nothing
				}
				b := bytes.Clone(content)
				b[page*pageSize+i] ^= 4
				if _, err := verifyBolt(bytes.NewReader(b), int64(len(b)), record); err == nil {
					t.Errorf("%d entries, meta page %d, byte %d changed: goes through", 10+entries, page, i)
				}
			}
		}
	}
}

func TestOfTwoSnapshotsWithTheSameEndTheLaterCounts(t *testing.T) {
	dir := t.TempDir()
	store, err := newSnapshotStore(dir, hclog.NewNullLogger(), fsm.VerifySnapshot, func() error { return nil },
		func(snapshotEnd) error { return nil },
		func(path string) { _ = os.RemoveAll(path) })
	if err != nil {
		t.Fatal(err)
	}
	_, trans := raft.NewInmemTransport("a")
	for _, id := range []raft.ServerID{"before", "after"} {
		// The store names a snapshot by the millisecond, and two of one name are one.
		testkit.Eventually(t, "a snapshot has a name of its own", func() bool {
			sink, err := store.Create(raft.SnapshotVersionMax, 7, 2,
				raft.Configuration{Servers: []raft.Server{{ID: id, Address: "a"}}}, 1, trans)
			return err == nil && sink.(*snapshotSink).ownWith(nil) == nil
		})
	}
	newest, err := verifySnapshots(dir)
	if err != nil || len(newest.Configuration.Servers) != 1 || newest.Configuration.Servers[0].ID != "after" {
		t.Fatalf("got %+v, %v", newest, err)
	}
}

// TestTermAndVoteOutOfTheirPageAreRefused: what lies in a page of its own could be a stale one.
func TestTermAndVoteOutOfTheirPageAreRefused(t *testing.T) {
	dir := t.TempDir()
	bolt, file, _, err := openTestStores(t, inBbolt, dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := bolt.Set([]byte(keyStable),
		encodeStable(map[string]string{termKey: strings.Repeat("x", 2048)})); err != nil {
		t.Fatal(err)
	}
	_, _ = bolt.Close(), file.Close()
	_, err = verifyRaftFile(dir, LogBbolt)
	if err == nil || !strings.Contains(err.Error(), RaftFile) {
		t.Fatalf("got %v, want an error that names the file", err)
	}
}
