package cluster

import (
	"os"
	"path/filepath"
	"testing"

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/cluster/internal/durable"
)

func TestAReserveIsWholeOrNotThere(t *testing.T) {
	dir := t.TempDir()
	r := disk.NewReserve(dir, 64<<10)
	if was, err := r.GiveUp(); was || err != nil {
		t.Errorf("there was one: %t, %v", was, err)
	}
	for range 2 {
		if err := r.Keep(); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(r.Path); err != nil || uint64(info.Size()) != r.Size || info.Mode() != durable.Mode {
			t.Errorf("it is %v, %v", info, err)
		}
	}
	if was, err := r.GiveUp(); !was || err != nil {
		t.Errorf("there was none: %t, %v", was, err)
	}
	if err := os.Mkdir(r.Path, 0o700); err != nil { // so that it cannot be made
		t.Fatal(err)
	}
	if err := r.Keep(); err == nil {
		t.Error("it was made over a directory")
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(files) > 0 {
		t.Errorf("%v is left", files)
	}
}

func TestAStartOnAFullDiskTakesTheReserve(t *testing.T) {
	for name, c := range map[string]struct {
		free uint64
		left bool
	}{"full": {0, false}, "less than a start may write": {disk.ReserveRest, false}, "room": {1 << 29, true}} {
		dir := t.TempDir()
		space := &fakeSpace{}
		space.free.Store(c.free)
		r := disk.NewReserve(dir, 64<<10)
		if err := r.Keep(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.Path+".tmp", []byte("half of one"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := disk.GiveUpReserve(dir, 64<<10, space.measure); err != nil {
			t.Fatal(err)
		}
		if was, err := r.GiveUp(); was != c.left || err != nil {
			t.Errorf("%s: it is left: %t, %v", name, was, err)
		}
		if _, err := os.Stat(r.Path + ".tmp"); err == nil {
			t.Errorf("%s: half of one is left", name)
		}
	}
}

func TestASegmentSuitsItsFileSystem(t *testing.T) {
	for size, want := range map[uint64]int{0: 16 << 20, 1 << 20: 1 << 20, 64 << 20: 2 << 20, 512 << 20: 16 << 20, 1 << 40: 16 << 20} {
		measure := func(string) (disk.FileSystem, error) { return disk.FileSystem{Size: size}, nil }
		if got := disk.SuitedSegmentSize("/data", wal.SegmentSize, measure); got != want {
			t.Errorf("on %d bytes it has %d, want %d", size, got, want)
		}
	}
}
