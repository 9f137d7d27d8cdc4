package cluster

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"
)

// fullDisk is a file system on which not everything can be written.
type fullDisk struct {
	types.VFS
	full    atomic.Bool // nothing can be written
	crammed atomic.Bool // no file can be made

	fullAt atomic.Int64 // the write from now on at which it is full; 0 for none
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
	if f.disk.fullAt.Load() > 0 && f.disk.fullAt.Add(-1) == 0 {
		f.disk.full.Store(true)
	}
	if f.disk.full.Load() {
		return 0, errFull
	}
	return f.WritableFile.WriteAt(b, at)
}

func entries(from, to, term uint64) (out []*raft.Log) {
	for i := from; i <= to; i++ {
		out = append(out, entry(i, term))
	}
	return out
}

func openTestWAL(t *testing.T, dir string, disk *fullDisk) *walStore {
	t.Helper()
	w, err := openWAL(dir, 64<<10, disk, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// mustRead checks that a log holds entries 1 to last and no others, and that each can be read.
func mustRead(t *testing.T, w *walStore, last uint64) {
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
	dir, disk := t.TempDir(), &fullDisk{VFS: walfs.New()}
	w := openTestWAL(t, dir, disk)
	if err := w.StoreLogs(entries(1, 50, 1)); err != nil {
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
	if err := w.StoreLogs(entries(41, 60, 2)); err != nil {
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
	dir, disk := t.TempDir(), &fullDisk{VFS: walfs.New()}
	w := openTestWAL(t, dir, disk)
	next, failures := uint64(1), 0
	for range 500 { // many segments, of which none can be made at first
		disk.crammed.Store(true)
		for w.StoreLogs(entries(next, next+9, 1)) != nil {
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

// A crash at any byte of the write that fills a segment, or between it and the making of the next one, leaves a log that opens with
// all that was acknowledged and takes more.
func TestACrashWhileASegmentIsSealed(t *testing.T) {
	dir := t.TempDir()
	w := openTestWAL(t, dir, &fullDisk{VFS: walfs.New()})
	file := filepath.Join(dir, walDir, "00000000000000000001-0000000000000000.wal")
	var before []byte
	last := uint64(0)
	for segments := 1; segments == 1; {
		var err error
		if before, err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
		list, err := os.ReadFile(filepath.Join(dir, walDir, walSegmentsFile))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "list"), list, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.StoreLogs(entries(last+1, last+5, 1)); err != nil {
			t.Fatal(err)
		}
		last += 5
		if _, err := w.LastIndex(); err != nil {
			t.Fatal(err)
		}
		found, err := filepath.Glob(filepath.Join(dir, walDir, "*.wal"))
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
		if err := os.Mkdir(filepath.Join(crashed, walDir), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, b := range map[string][]byte{filepath.Base(file): content, walSegmentsFile: list} {
			if err := os.WriteFile(filepath.Join(crashed, walDir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		was := contents(t, crashed)
		reading, err := openWAL(crashed, 64<<10, newReadingFS(), hclog.NewNullLogger())
		if err != nil {
			t.Fatalf("it cannot be opened to be read: %v", err)
		}
		mustRead(t, reading, wantLast)
		if err := reading.Close(); err != nil {
			t.Fatal(err)
		}
		if now := contents(t, crashed); now != was {
			t.Fatalf("opened to be read, it was changed from\n%s\nto\n%s", was, now)
		}
		for _, more := range []uint64{3, 0} {
			w := openTestWAL(t, crashed, &fullDisk{VFS: walfs.New()})
			mustRead(t, w, wantLast)
			if more > 0 {
				if err := w.StoreLogs(entries(wantLast+1, wantLast+more, 2)); err != nil {
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
