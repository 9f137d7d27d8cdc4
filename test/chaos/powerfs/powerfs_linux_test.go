package powerfs

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// mounted runs f with the disk mounted, and skips where this machine does not allow it.
func mounted(t *testing.T, d *Disk, f func(dir string)) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("no /dev/fuse")
	}
	dir := t.TempDir()
	m, err := d.Mount(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Unmount(); err != nil {
			t.Error(err)
		}
	}()
	f(dir)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func syncAll(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	must(t, f.Sync())
	must(t, f.Close())
}

func TestWhatIsFsyncedSurvivesAndWhatIsNotDoesNotAlways(t *testing.T) {
	lost, kept := 0, 0
	for seed := range uint64(20) {
		d := New(1 << 20)
		synced, later := bytes.Repeat([]byte("s"), 10_000), bytes.Repeat([]byte("L"), 10_000)
		mounted(t, d, func(dir string) {
			path := filepath.Join(dir, "file")
			must(t, os.WriteFile(path, synced, 0o600))
			syncAll(t, path)
			syncAll(t, dir)
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			must(t, err)
			_, err = f.WriteAt(later, 5000)
			must(t, err)
			must(t, f.Close())
			must(t, os.WriteFile(filepath.Join(dir, "unsynced"), later, 0o600))
		})
		d.CutPower(rand.New(rand.NewPCG(seed, 0)))
		mounted(t, d, func(dir string) {
			got, err := os.ReadFile(filepath.Join(dir, "file"))
			must(t, err)
			if len(got) < len(synced) || !bytes.Equal(got[:5000], synced[:5000]) {
				t.Fatalf("seed %d: what was fsynced is gone", seed)
			}
			for _, c := range got[5000:10_000] {
				switch c {
				case 's':
					lost++
				case 'L':
					kept++
				default:
					t.Fatalf("seed %d: a byte that nobody wrote: %q", seed, c)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "unsynced")); err == nil {
				kept++
			} else {
				lost++
			}
		})
	}
	if lost == 0 || kept == 0 {
		t.Errorf("lost %d, kept %d: chance should do both", lost, kept)
	}
}

func TestARenameIsDurableWithItsDirectory(t *testing.T) {
	for seed := range uint64(10) {
		d := New(1 << 20)
		mounted(t, d, func(dir string) {
			for _, text := range []string{"old", "new"} {
				must(t, os.WriteFile(filepath.Join(dir, "tmp"), []byte(text), 0o600))
				syncAll(t, filepath.Join(dir, "tmp"))
				must(t, os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, "file")))
				if text == "old" {
					syncAll(t, dir)
				}
			}
		})
		d.CutPower(rand.New(rand.NewPCG(seed, 0)))
		mounted(t, d, func(dir string) {
			got, err := os.ReadFile(filepath.Join(dir, "file"))
			must(t, err)
			if s := string(got); s != "old" && s != "new" {
				t.Errorf("seed %d: the file holds %q", seed, s)
			}
		})
	}
}

func TestAFullDiskRefusesAndAnErasedOneIsEmpty(t *testing.T) {
	d := New(1 << 20)
	mounted(t, d, func(dir string) {
		path := filepath.Join(dir, "file")
		must(t, os.WriteFile(path, make([]byte, 1000), 0o600))
		d.SetFree(100)
		if err := os.WriteFile(filepath.Join(dir, "more"), make([]byte, 1000), 0o600); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("1000 bytes into 100: %v", err)
		}
		d.SetFree(1 << 20)
		must(t, os.WriteFile(filepath.Join(dir, "more"), make([]byte, 1000), 0o600))
	})
	d.Erase()
	mounted(t, d, func(dir string) {
		names, err := os.ReadDir(dir)
		must(t, err)
		if len(names) != 0 {
			t.Errorf("an erased disk holds %v", names)
		}
	})
}

// TestADeletedFileHasNoName: as on any file system it can still be written by whoever has it open, and says that it has
// no link.
func TestADeletedFileHasNoName(t *testing.T) {
	mounted(t, New(1<<20), func(dir string) {
		sub := filepath.Join(dir, "sub")
		must(t, os.Mkdir(sub, 0o700))
		file, err := os.Create(filepath.Join(sub, "file"))
		must(t, err)
		defer file.Close()
		linked := func() bool {
			_, err := file.WriteString("more")
			must(t, errors.Join(err, file.Sync()))
			info, err := file.Stat()
			must(t, err)
			return info.Sys().(*syscall.Stat_t).Nlink > 0
		}
		if !linked() {
			t.Error("a file has no link")
		}
		must(t, os.RemoveAll(sub))
		if linked() {
			t.Error("a deleted file has a link")
		}
		if err := os.WriteFile(filepath.Join(sub, "another"), nil, 0o600); !errors.Is(err, syscall.ENOENT) {
			t.Errorf("a file in a deleted directory: %v", err)
		}
	})
}
