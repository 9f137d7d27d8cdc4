package disk

import (
	"bytes"
	"errors"
	"math"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/types"

	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/cluster/internal/testkit"
)

// limitedDisk is a file system with room for so many writes.
type limitedDisk struct {
	types.VFS
	writes atomic.Int64
}

func (d *limitedDisk) limit(f types.WritableFile, err error) (types.WritableFile, error) {
	return limitedFile{f, d}, err
}

func (d *limitedDisk) Create(dir, name string, size uint64) (types.WritableFile, error) {
	return d.limit(d.VFS.Create(dir, name, size))
}

func (d *limitedDisk) OpenWriter(dir, name string) (types.WritableFile, error) {
	return d.limit(d.VFS.OpenWriter(dir, name))
}

type limitedFile struct {
	types.WritableFile
	disk *limitedDisk
}

func (f limitedFile) WriteAt(b []byte, at int64) (int, error) {
	if f.disk.writes.Add(-1) < 0 {
		return 0, errors.New("no space left on the test's disk")
	}
	return f.WritableFile.WriteAt(b, at)
}

// The disk is full when a part of an append is written already: none of it counts, and it can be written once there is
// space.
func TestAnAppendOfWhichAPartWasWritten(t *testing.T) {
	t.Parallel()
	dir, disk := t.TempDir(), &limitedDisk{VFS: walfs.New()}
	disk.writes.Store(math.MaxInt64)
	w, err := wal.Open(dir, 64<<10, disk, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	file, err := openTailFile(filepath.Join(dir, TailFileName))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	s := newLogStore(w.FileOf, w, file, func() error { return nil })
	large := func(term uint64) (logs []*raft.Log) {
		for i := range uint64(4) {
			// two are more than goes at once
			logs = append(logs, &raft.Log{Index: 11 + i, Term: term, Data: bytes.Repeat([]byte{byte(term)}, 340<<10)})
		}
		return logs
	}
	if err := s.StoreLogs(testkit.Entries(1, 10, 1)); err != nil {
		t.Fatal(err)
	}
	disk.writes.Store(1)
	if err := s.StoreLogs(large(2)); err == nil {
		t.Fatal("an append came to its end on a full disk")
	}
	disk.writes.Store(math.MaxInt64)
	if stored, err := w.LastIndex(); err != nil || stored <= 10 || stored >= 14 {
		t.Fatalf("the log ends with %d (%v): no part was written, or all: this tests nothing", stored, err)
	}
	if last, err := s.LastIndex(); err != nil || last != 10 {
		t.Errorf("after a failed append to 10 entries the last is %d, %v", last, err)
	}
	if err := s.StoreLogs(large(3)); err != nil {
		t.Fatal(err)
	}
	for _, want := range append(testkit.Entries(1, 10, 1), large(3)...) {
		var got raft.Log
		if err := s.GetLog(want.Index, &got); err != nil || got.Term != want.Term || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("entry %d is of term %d, %v", want.Index, got.Term, err)
		}
	}
}
