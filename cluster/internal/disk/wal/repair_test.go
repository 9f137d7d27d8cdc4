package wal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"

	"pushquorum/cluster/internal/testkit"
)

// fullDisk is a file system on which not everything can be written.
type fullDisk struct {
	types.VFS
	full    atomic.Bool // nothing can be written
	crammed atomic.Bool // no file can be made
}

var errFull = errors.New("no space left on the test's disk")

func (d *fullDisk) wrap(f types.WritableFile, err error) (types.WritableFile, error) {
	return fullFile{f, d}, err
}

func (d *fullDisk) Create(dir, name string, size uint64) (types.WritableFile, error) {
	if d.full.Load() || d.crammed.Load() {
		return nil, errFull
	}
	return d.wrap(d.VFS.Create(dir, name, size))
}

func (d *fullDisk) OpenWriter(dir, name string) (types.WritableFile, error) {
	return d.wrap(d.VFS.OpenWriter(dir, name))
}

type fullFile struct {
	types.WritableFile
	disk *fullDisk
}

func (f fullFile) WriteAt(b []byte, at int64) (int, error) {
	if f.disk.full.Load() {
		return 0, errFull
	}
	return f.WritableFile.WriteAt(b, at)
}

func openTestWAL(t *testing.T, dir string, disk *fullDisk) *Store {
	t.Helper()
	w, err := Open(dir, 64<<10, disk, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// mustRead checks that a log holds entries 1 to last and no others, and that each can be read.
func mustRead(t *testing.T, w *Store, last uint64) {
	t.Helper()
	gotFirst, _ := w.FirstIndex()
	gotLast, err := w.LastIndex()
	if gotFirst != 1 || gotLast != last || err != nil {
		t.Fatalf("the log holds %d to %d (%v), want 1 to %d", gotFirst, gotLast, err, last)
	}
	for i := uint64(1); i <= last; i++ {
		var l raft.Log
		if err := w.GetLog(i, &l); err != nil || l.Index != i {
			t.Fatalf("entry %d: %+v, %v", i, l.Index, err)
		}
	}
}

// The disk is full just when a conflicting end has to be cut off: nothing may be cut, and once there is space, it is.
func TestAnEndThatCouldNotBeCutIsCutLater(t *testing.T) {
	t.Parallel()
	dir, disk := t.TempDir(), &fullDisk{VFS: walfs.New()}
	w := openTestWAL(t, dir, disk)
	if err := w.StoreLogs(testkit.Entries(1, 50, 1)); err != nil {
		t.Fatal(err)
	}
	disk.full.Store(true)
	for range 3 {
		if err := w.DeleteRange(41, 50); err == nil {
			t.Fatal("an end was cut on a full disk")
		}
		mustRead(t, w, 50)
	}
	disk.full.Store(false)
	if err := w.DeleteRange(41, 50); err != nil {
		t.Fatal(err)
	}
	mustRead(t, w, 40)
	if err := w.StoreLogs(testkit.Entries(41, 60, 2)); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		mustRead(t, w, 60)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		w = openTestWAL(t, dir, disk)
	}
	_ = w.Close()
}

// The next segment cannot be made: what was written is kept, and once there is space the log goes on.
func TestALogGoesOnAfterASegmentCouldNotBeMade(t *testing.T) {
	t.Parallel()
	dir, disk := t.TempDir(), &fullDisk{VFS: walfs.New()}
	w := openTestWAL(t, dir, disk)
	next, failures := uint64(1), 0
	for range 500 { // many segments, of which none can be made at first
		disk.crammed.Store(true)
		for w.StoreLogs(testkit.Entries(next, next+9, 1)) != nil {
			failures++
			disk.crammed.Store(false)
		}
		next += 10
	}
	if failures < 3 {
		t.Fatalf("%d writes failed, of 500: this test shows nothing", failures)
	}
	mustRead(t, w, next-1)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w = openTestWAL(t, dir, disk)
	mustRead(t, w, next-1)
	_ = w.Close()
}

// A crash at any byte of the write that fills a segment, or between it and the making of the next one, leaves a log
// that opens with all that was acknowledged and takes more.
func TestACrashWhileASegmentIsSealed(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it opens a log for each point where a crash may come")
	}
	dir := t.TempDir()
	w := openTestWAL(t, dir, &fullDisk{VFS: walfs.New()})
	file := filepath.Join(dir, Dir, "00000000000000000001-0000000000000000.wal")
	var before []byte
	last := uint64(0)
	for segments := 1; segments == 1; {
		var err error
		if before, err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
		list, err := os.ReadFile(filepath.Join(dir, Dir, SegmentsFile))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "list"), list, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.StoreLogs(testkit.Entries(last+1, last+5, 1)); err != nil {
			t.Fatal(err)
		}
		last += 5
		if _, err := w.LastIndex(); err != nil {
			t.Fatal(err)
		}
		found, err := filepath.Glob(filepath.Join(dir, Dir, "*.wal"))
		if err != nil {
			t.Fatal(err)
		}
		segments = len(found)
		if after, _ := os.ReadFile(file); hasIndex(after) {
			segments = 2 // sealed; the next one may not be there yet
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(filepath.Join(dir, "list"))
	if err != nil {
		t.Fatal(err)
	}
	before = append(before, make([]byte, max(0, len(after)-len(before)))...)
	from, to := differing(before, after)
	t.Logf("sealed by the write of bytes %d to %d, entries %d to %d", from, to, last-4, last)
	try := func(content []byte, wantLast uint64) {
		t.Helper()
		crashed := t.TempDir()
		if err := os.Mkdir(filepath.Join(crashed, Dir), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{filepath.Base(file): content, SegmentsFile: list} {
			if err := os.WriteFile(filepath.Join(crashed, Dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		was := testkit.Contents(t, crashed)
		reading, err := Open(crashed, 64<<10, NewReadingFS(), hclog.NewNullLogger())
		if err != nil {
			t.Fatalf("it cannot be opened to be read: %v", err)
		}
		mustRead(t, reading, wantLast)
		if err := reading.Close(); err != nil {
			t.Fatal(err)
		}
		if now := testkit.Contents(t, crashed); now != was {
			t.Fatalf("opened to be read, it was changed from\n%s\nto\n%s", was, now)
		}
		for _, more := range []uint64{3, 0} {
			w := openTestWAL(t, crashed, &fullDisk{VFS: walfs.New()})
			mustRead(t, w, wantLast)
			if more > 0 {
				if err := w.StoreLogs(testkit.Entries(wantLast+1, wantLast+more, 2)); err != nil {
					t.Fatalf("after a crash it takes nothing: %v", err)
				}
				wantLast += more
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	try(after, last) // acknowledged, and the list does not know
	for at := from; at < to; at += max(1, (to-from)/97) {
		torn := append(append([]byte(nil), after[:at]...), before[at:]...)
		try(torn, last-5)
		torn = append(append([]byte(nil), before[:at]...), after[at:]...)
		if at > from {
			try(torn, last-5)
		}
	}
}

// differing gives the range of bytes in which two files differ.
func differing(a, b []byte) (from, to int) {
	from, to = len(b), 0
	for i := range b {
		if i >= len(a) || a[i] != b[i] {
			from, to = min(from, i), i+1
		}
	}
	return from, to
}

func hasIndex(content []byte) bool {
	found, err := findSeal(bytes.NewReader(content))
	return err == nil && found.frame > 0
}

// heldFiles tells which files of the log are open, and what is asked of it while any is.
type heldFiles struct {
	types.VFS
	open, opens atomic.Int64
	twice       atomic.Int64 // files opened, while others were, since opens was set to 0
}

func (h *heldFiles) hold(f types.WritableFile, err error) (types.WritableFile, error) {
	if err != nil {
		return nil, err
	}
	h.open.Add(1)
	return &heldFile{f, h}, nil
}

func (h *heldFiles) Create(dir, name string, size uint64) (types.WritableFile, error) {
	return h.hold(h.VFS.Create(dir, name, size))
}

// OpenWriter opens the last segment, once for each opening of the log.
func (h *heldFiles) OpenWriter(dir, name string) (types.WritableFile, error) {
	h.opens.Add(1)
	if h.open.Load() > 0 {
		h.twice.Add(1)
	}
	return h.hold(h.VFS.OpenWriter(dir, name))
}

type heldFile struct {
	types.WritableFile
	all *heldFiles
}

func (f *heldFile) Close() error {
	f.all.open.Add(-1)
	return f.WritableFile.Close()
}

// Two that write to the same files undo each other's work, and what the first has made and not named takes room on a
// full disk.
func TestALogIsClosedBeforeItIsOpenedAnewAndCanBeReadAllTheWhile(t *testing.T) {
	t.Parallel()
	held := &heldFiles{VFS: walfs.New()}
	disk := &fullDisk{VFS: held}
	w := openTestWAL(t, t.TempDir(), disk)
	defer func() { _ = w.Close() }()
	if err := w.StoreLogs(testkit.Entries(1, 400, 1)); err != nil { // more than a segment
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() { // as Raft reads, from many goroutines
		for i := uint64(1); ; i = i%400 + 1 {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			var l raft.Log
			if err := w.GetLog(i, &l); err != nil || l.Index != i {
				done <- fmt.Errorf("entry %d: %d, %w", i, l.Index, err)
				return
			}
		}
	}()
	next := uint64(401)
	for range 10 {
		disk.full.Store(true)
		if err := w.StoreLogs(testkit.Entries(next, next, 1)); err == nil {
			t.Fatal("an entry was written on a full disk")
		}
		disk.full.Store(false)
		if err := w.StoreLogs(testkit.Entries(next, next, 1)); err != nil {
			t.Fatal(err)
		}
		next++
	}
	close(stop)
	if err := <-done; err != nil {
		t.Errorf("while the log was opened anew: %v", err)
	}
	if opens, twice := held.opens.Load(), held.twice.Load(); opens < 10 || twice > 0 {
		t.Errorf("the log was opened %d times, %d of them while it was open", opens, twice)
	}
	mustRead(t, w, next-1)
}

// A log that cannot be opened anew yet, on a disk that is still full, is read nevertheless: Raft ends the process over
// an entry that it cannot read.
func TestALogThatCannotBeOpenedAnewYetIsReadNevertheless(t *testing.T) {
	dir, disk := t.TempDir(), &fullDisk{VFS: walfs.New()}
	w := openTestWAL(t, dir, disk)
	defer func() { _ = w.Close() }()
	// Nor can the list of segments be written: its new version's name is taken.
	inTheWay := filepath.Join(dir, Dir, SegmentsFile+".tmp")
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	next, failures := uint64(1), 0
	for failures < 3 {
		if w.StoreLogs(testkit.Entries(next, next, 1)) != nil {
			failures++
			continue
		}
		if next++; next > 10_000 {
			t.Fatal("a segment that cannot be named is made")
		}
	}
	if w.log != nil {
		t.Fatal("the log was opened anew without a list: this test shows nothing")
	}
	for i := uint64(1); i < next; i++ {
		var l raft.Log
		if err := w.GetLog(i, &l); err != nil || l.Index != i {
			t.Fatalf("entry %d: %d, %v", i, l.Index, err)
		}
	}
	var l raft.Log
	if err := w.GetLog(next, &l); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("an entry behind the end: %v", err)
	}
	if _, err := w.LastIndex(); err == nil {
		t.Error("it tells where it ends, though it could not be opened")
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	mustRead(t, w, next-1) // whoever writes asks for the end first
	if err := w.StoreLogs(testkit.Entries(next, next+400, 1)); err != nil {
		t.Fatal(err)
	}
	mustRead(t, w, next+400)
}
