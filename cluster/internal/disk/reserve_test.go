package disk

import (
	"os"
	"path/filepath"
	"testing"

	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/cluster/internal/durable"
)

func TestAReserveIsWholeOrNotThere(t *testing.T) {
	dir := t.TempDir()
	r := newReserve(dir, 64<<10)
	if was, err := r.giveUp(); was || err != nil {
		t.Errorf("there was one: %t, %v", was, err)
	}
	for range 2 {
		if err := r.keep(); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(r.path); err != nil || uint64(info.Size()) != r.size || info.Mode() != durable.Mode {
			t.Errorf("it is %v, %v", info, err)
		}
	}
	if was, err := r.giveUp(); !was || err != nil {
		t.Errorf("there was none: %t, %v", was, err)
	}
	if err := os.Mkdir(r.path, 0o700); err != nil { // so that it cannot be made
		t.Fatal(err)
	}
	if err := r.keep(); err == nil {
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
	}{"full": {0, false}, "less than a start may write": {reserveRest, false}, "room": {1 << 29, true}} {
		dir := t.TempDir()
		measure := func(string) (FileSystem, error) { return FileSystem{Size: 1 << 30, Free: c.free}, nil }
		r := newReserve(dir, 64<<10)
		if err := r.keep(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.path+".tmp", []byte("half of one"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := GiveUpReserve(dir, 64<<10, measure); err != nil {
			t.Fatal(err)
		}
		if was, err := r.giveUp(); was != c.left || err != nil {
			t.Errorf("%s: it is left: %t, %v", name, was, err)
		}
		if _, err := os.Stat(r.path + ".tmp"); err == nil {
			t.Errorf("%s: half of one is left", name)
		}
	}
}

func TestASegmentSuitsItsFileSystem(t *testing.T) {
	for size, want := range map[uint64]int{
		0: 16 << 20, 1 << 20: 1 << 20, 64 << 20: 2 << 20, 512 << 20: 16 << 20,
		1 << 40: 16 << 20,
	} {
		measure := func(string) (FileSystem, error) { return FileSystem{Size: size}, nil }
		if got := SuitedSegmentSize("/data", wal.SegmentSize, measure); got != want {
			t.Errorf("on %d bytes it has %d, want %d", size, got, want)
		}
	}
}
