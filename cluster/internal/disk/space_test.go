package disk

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pushquorum/cluster/internal/testkit"
)

func noSnapshot() uint64 { return 0 }

func TestHowMuchMustBeFree(t *testing.T) {
	for name, c := range map[string]struct {
		minFree int64
		size    uint64
		least   uint64
	}{
		"a small file system":        {0, 64 << 20, (64 << 20) / 20},
		"a large one":                {0, 1 << 40, 200 << 20},
		"as much as the operator":    {1 << 30, 64 << 20, 1 << 30},
		"nothing":                    {-1, 1 << 40, 0},
		"a file system without size": {0, 0, 0},
	} {
		w := NewSpace("/data", "r1", c.minFree, 1, func(string) (FileSystem, error) {
			return FileSystem{Size: c.size}, nil
		}, noSnapshot, slog.New(slog.DiscardHandler))
		w.Measure()
		if got := w.least(); got != c.least {
			t.Errorf("%s: %d bytes must be free, want %d", name, got, c.least)
		}
	}
}

func TestAShortageBeginsAndEndsOnce(t *testing.T) {
	logs := &testkit.LogBuffer{}
	free, broken := uint64(100), error(nil)
	w := NewSpace("/data", "r1", 100, 1, func(string) (FileSystem, error) {
		return FileSystem{Size: 1000, Free: free}, broken
	},
		noSnapshot, slog.New(slog.NewTextHandler(logs, nil)))
	for _, step := range []struct {
		free   uint64
		broken error
		short  bool
	}{
		{100, nil, false},
		{99, nil, true},
		{0, nil, true},
		{100, nil, true},
		{500, io.ErrUnexpectedEOF, true},
		{111, nil, true},
		{112, nil, false},
		{100, nil, false},
		{0, io.ErrUnexpectedEOF, false},
	} {
		free, broken = step.free, step.broken
		w.Measure()
		if why := w.Shortage(); (why != "") != step.short || strings.Contains(why, "\n") {
			t.Errorf("with %d bytes free, %v: %q", step.free, step.broken, why)
		}
	}
	if s := logs.String(); strings.Count(s, "nearly full") != 1 || strings.Count(s, "room on the disk again") != 1 {
		t.Errorf("not said once each:\n%s", s)
	}
}

func TestAReserveThatCannotBeKeptIsSaidOnce(t *testing.T) {
	logs, dir := &testkit.LogBuffer{}, t.TempDir()
	w := NewSpace(dir, "r1", 0, 1, func(string) (FileSystem, error) {
		return FileSystem{Size: 1 << 30, Free: 1 << 29}, nil
	},
		noSnapshot, slog.New(slog.NewTextHandler(logs, nil)))
	w.Measure()
	if err := os.Mkdir(w.reserve.path+".tmp", 0o700); err != nil { // so that it cannot be made
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.reserve.path+".tmp", "a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.keepReserve()
	}
	if err := os.RemoveAll(w.reserve.path + ".tmp"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.keepReserve()
	}
	if s := logs.String(); strings.Count(s, "cannot keep a reserve") != 1 ||
		strings.Count(s, "can be kept again") != 1 {
		t.Errorf("not said once each:\n%s", s)
	}
}
