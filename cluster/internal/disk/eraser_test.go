package disk

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/cluster/internal/testkit"
	"pushquorum/fsm"
)

// fill makes a file of so many pieces.
func fill(t *testing.T, path string, pieces int) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte{'x'}, pieces*erasePiece+1), 0o644); err != nil {
		t.Fatal(err)
	}
}

func sizeOf(path string) int64 {
	info, err := os.Lstat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func TestEraserDeletesPieceByPiece(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	segment, snapshot := filepath.Join(dir, "segment"), filepath.Join(dir, "snapshot")
	fill(t, segment, 20)
	fill(t, filepath.Join(snapshot, "state"), 3)
	before := sizeOf(segment)
	e := newEraser(hclog.NewNullLogger())
	defer e.Close()
	for _, path := range []string{segment, filepath.Join(dir, "missing"), snapshot, segment} {
		e.erase(path)
	}
	var seen int64
	testkit.Eventually(t, "part of a file is gone", func() bool {
		seen = sizeOf(segment)
		return seen < before
	})
	if seen == 0 {
		t.Error("the file was deleted at once")
	}
	testkit.Eventually(t, "all is gone", func() bool {
		left, err := os.ReadDir(dir)
		return err == nil && len(left) == 0
	})
	again := filepath.Join(dir, "again")
	fill(t, again, 0)
	e.erase(again)
	testkit.Eventually(t, "what comes when nothing was left to do is gone", func() bool { return sizeOf(again) == 0 })
}

func TestEraserThatIsClosedLeavesTheRest(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "large")
	fill(t, path, 100)
	e := newEraser(hclog.NewNullLogger())
	e.erase(path)
	e.erase(path)
	e.Close()
	left := sizeOf(path)
	if left == 0 {
		t.Fatal("Close waited until all was gone")
	}
	e.erase(path) // after the end
	e.Close()
	if now := sizeOf(path); now != left {
		t.Errorf("%d bytes after Close, %d later", left, now)
	}
}

func TestLeftoverSegmentsGoAtTheNextStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func(e *eraser) *wal.Store {
		w, err := wal.Open(dir, 64<<10, wal.NewErasingFS(e.erase), hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	segments := func() int {
		found, err := filepath.Glob(filepath.Join(dir, wal.Dir, "*.wal"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	closed := newEraser(hclog.NewNullLogger())
	closed.Close() // the process ends before anything is deleted
	w := open(closed)
	for i := range uint64(200) {
		if err := w.StoreLogs(
			[]*raft.Log{{Index: i + 1, Term: 1, Data: bytes.Repeat([]byte{'x'}, 2<<10)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.DeleteRange(1, 150); err != nil {
		t.Fatal(err)
	}
	all := segments()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	e := newEraser(hclog.NewNullLogger())
	defer e.Close()
	w = open(e)
	defer func() { _ = w.Close() }() // nothing is written any more
	testkit.Eventually(t, "segments without entries go", func() bool { return segments() <= all-3 })
	if first, err := w.FirstIndex(); err != nil || first != 151 {
		t.Errorf("the log begins at %d: %v", first, err)
	}
}

func TestASnapshotThatIsBeingReadIsWholeToTheEnd(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := newEraser(hclog.NewNullLogger())
	defer e.Close()
	store, err := newSnapshotStore(dir, hclog.NewNullLogger(), fsm.VerifySnapshot, func() error { return nil },
		func(snapshotEnd) error { return nil }, e.erase)
	if err != nil {
		t.Fatal(err)
	}
	_, trans := raft.NewInmemTransport("a")
	content := bytes.Repeat([]byte("0123456789abcdef"), 4*erasePiece/16)
	take := func(index uint64) (id string) {
		sink, err := store.Create(raft.SnapshotVersionMax, index, 1, raft.Configuration{}, 1, trans)
		if err != nil {
			t.Fatal(err)
		}
		if err := sink.(*snapshotSink).ownWith(content); err != nil {
			t.Fatal(err)
		}
		return sink.ID()
	}
	_, sent, err := store.Open(take(1)) // as for a follower that takes its time
	if err != nil {
		t.Fatal(err)
	}
	left := func() int {
		found, err := os.ReadDir(store.dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	for index := range uint64(4) {
		take(index + 2)
	}
	testkit.Eventually(t, "old snapshots are gone", func() bool { return left() == snapshotRetain })
	got, err := io.ReadAll(sent)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("of a snapshot of %d bytes %d could be read: %v", len(content), len(got), err)
	}
	if len(store.readers) != 1 || sent.Close() != nil || sent.Close() == nil || len(store.readers) != 0 {
		t.Errorf("after the reader has gone: %v", store.readers)
	}
}
