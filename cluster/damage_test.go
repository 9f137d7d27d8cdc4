package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/fsm"
)

// dataDirectory makes the directory of a standalone replica with a snapshot and entries after it, and tells the hash of
// its state.
func dataDirectory(t *testing.T, store string) (dir, hash string) {
	t.Helper()
	r := newReplica(t, nil, "r1", "", 1)
	r.cfg.SnapshotEntries, r.cfg.LogStore = 100, store
	r.start()
	for i := range 150 {
		push(t, r, fmt.Sprintf("job%d", i%7), float64(i))
	}
	eventually(t, "a snapshot is taken", func() bool { return r.store.SnapshotIndex() > 0 })
	for i := range 5 {
		push(t, r, fmt.Sprintf("after%d", i), float64(i))
	}
	hash = r.cfg.FSM.View().Hash()
	r.crash()
	return r.cfg.DataDir, hash
}

// openedHash opens a directory and gives the hash of the state it holds, once all of it is applied. It must make no
// difference whether the directory is opened to be written or only to be read, when nothing in it may change.
func openedHash(t *testing.T, store, dir string) (string, error) {
	t.Helper()
	before := contents(t, dir)
	read, readErr := readHash(store, dir)
	if after := contents(t, dir); after != before {
		t.Errorf("opened to be read, the directory was changed from\n%s\nto\n%s", before, after)
	}
	written, err := writtenHash(t, store, dir)
	if read != written || fmt.Sprint(readErr) != fmt.Sprint(err) {
		t.Errorf("opened to be read: %s, %v; to be written: %s, %v", read, readErr, written, err)
	}
	return written, err
}

// readHash is the hash of what a replica that only reads serves.
func readHash(store, dir string) (string, error) {
	logger := slog.New(slog.DiscardHandler)
	r, err := openReadOnly(Config{Name: "r1", DataDir: dir, LogStore: store, FSM: fsm.New(logger), Logger: logger},
		testTuning(), full)
	if err != nil {
		return "", err
	}
	return r.cfg.FSM.View().Hash(), r.Close()
}

func writtenHash(t *testing.T, store, dir string) (string, error) {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	tune := testTuning()
	tune.alone = 5 * time.Millisecond
	r, err := open(Config{Name: "r1", DataDir: dir, LogStore: store, FSM: fsm.New(logger), Logger: logger}, tune)
	if err != nil {
		return "", err
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}()
	if err := r.ReadBarrier(testContext(t)); err != nil {
		t.Errorf("opened, but cannot be read: %v", err)
	}
	return r.cfg.FSM.View().Hash(), nil
}

// damage is one way to change a file.
type damage struct {
	name string
	do   func(content []byte) []byte
}

func flip(at int, mask byte) damage {
	return damage{fmt.Sprintf("byte %d flipped with %#02x", at, mask), func(b []byte) []byte {
		b[at] ^= mask
		return b
	}}
}

func cutTo(n int) damage {
	return damage{fmt.Sprintf("truncated to %d bytes", n), func(b []byte) []byte { return b[:n] }}
}

// damages picks what to do to a file of this size: cuts, the first and last bytes, and random places; in a bbolt file
// also the places that matter, which a random byte seldom hits: the meta pages, and head and elements of every page.
func damages(rng *rand.Rand, name string, content []byte) []damage {
	size := len(content)
	out := []damage{cutTo(0), cutTo(size / 2), cutTo(size - 1)}
	at := []int{0, 1, size - 1, size - 2}
	for range 50 {
		at = append(at, rng.IntN(size))
	}
	const boltHeader, boltBranch, boltLeaf = 16, 0x01, 0x02 // of bbolt's format, version 2
	if name == disk.RaftFile {
		pageSize := int(binary.NativeEndian.Uint32(content[boltHeader+8:]))
		for range 20 {
			at = append(at, rng.IntN(80), pageSize+rng.IntN(80))
		}
		for page := 2 * pageSize; page < size; page += pageSize {
			if flags := binary.NativeEndian.Uint16(content[page+8:]); flags == boltLeaf || flags == boltBranch {
				at = append(at, page+rng.IntN(16), page+8+rng.IntN(4), page+16+rng.IntN(16), page+16+rng.IntN(160))
			}
		}
	}
	for _, i := range at {
		out = append(out, flip(i, 1<<rng.IntN(8)), flip(i, byte(1+rng.IntN(255))))
	}
	return out
}

func TestDamagedDataDirectoryIsReadExactlyOrRefusedByName(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it opens a thousand damaged directories")
	}
	for _, where := range allLogs {
		t.Run(where.Store, func(t *testing.T) {
			t.Parallel()
			testDamagedDataDirectory(t, where.Store)
		})
	}
}

func testDamagedDataDirectory(t *testing.T, store string) {
	dir, hash := dataDirectory(t, store)
	if again, err := openedHash(t, store, copyDir(t, dir)); err != nil || again != hash {
		t.Fatalf("an undamaged copy: hash %s, err %v; want %s", again, err, hash)
	}
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, rerr := filepath.Rel(dir, path)
			files = append(files, rel)
			err = rerr
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	const seed = 7
	t.Logf("files %v, seed %d", files, seed)
	for i, file := range files {
		content, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if len(content) == 0 || file == "reserve" {
			continue // the lock, and what holds nothing
		}
		t.Run(strings.ReplaceAll(file, "/", " "), func(t *testing.T) {
			t.Parallel()
			refused := 0
			list := damages(rand.New(rand.NewPCG(seed, uint64(i))), filepath.Base(file), content)
			for _, d := range list {
				if !checkDamage(t, store, dir, file, hash, d) {
					refused++
				}
				if t.Failed() {
					t.Fatalf("%s %s", file, d.name)
				}
			}
			t.Logf("%s: %d kinds of damage, %d refused", file, len(list), refused)
			if refused == 0 {
				t.Errorf("%s: no damage was noticed at all", file)
			}
		})
	}
}

// checkDamage applies one damage to a copy and tells whether it still opens.
func checkDamage(t *testing.T, store, dir, file, hash string, d damage) (opens bool) {
	t.Helper()
	work := copyDir(t, dir)
	defer func() { _ = os.RemoveAll(work) }()
	path := filepath.Join(work, file)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, d.do(content), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := openedHash(t, store, work)
	switch {
	case err != nil && !strings.Contains(err.Error(), filepath.Base(file)):
		t.Errorf("refused without the name of the file: %v", err)
	case err == nil && got != hash:
		t.Errorf("opens with state %s, should be %s or refused", got, hash)
	}
	return err == nil
}

func TestMissingFilesAreRefusedByName(t *testing.T) {
	t.Parallel()
	const store = LogWAL
	dir, _ := dataDirectory(t, store)
	for _, name := range []string{
		disk.IdentityFile, disk.RaftFile, disk.TailFileName, disk.SnapshotsDir, wal.Dir,
		filepath.Join(wal.Dir, wal.SegmentsFile),
	} {
		t.Run(name, func(t *testing.T) {
			work := copyDir(t, dir)
			if err := os.RemoveAll(filepath.Join(work, name)); err != nil {
				t.Fatal(err)
			}
			if _, err := openedHash(t, store, work); err == nil || !strings.Contains(err.Error(), name) {
				t.Fatalf("got %v, want an error that names %s", err, name)
			}
			if _, err := openedHash(t, store, work); err == nil {
				t.Fatal("the second start goes through: the first has changed something")
			}
		})
	}
}

func TestDirectoryInUseIsRefused(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "r1", "", 1).start()
	_, err := writtenHash(t, r.cfg.LogStore, r.cfg.DataDir)
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("got %v, want that the directory is in use", err)
	}
	if _, err = readHash(r.cfg.LogStore, r.cfg.DataDir); err == nil ||
		!strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("to be read: got %v, want that the directory is in use", err)
	}
}

func TestLeftoversOfACrashAreNoDamage(t *testing.T) {
	t.Parallel()
	const store = LogWAL
	dir, hash := dataDirectory(t, store)
	snapshots, err := filepath.Glob(filepath.Join(dir, disk.SnapshotsDir, "*"))
	if err != nil || len(snapshots) == 0 {
		t.Fatalf("snapshots %v, err %v", snapshots, err)
	}
	for name, do := range map[string]func(dir, snapshot string) error{
		"a snapshot half written": func(dir, _ string) error {
			return os.MkdirAll(filepath.Join(dir, disk.SnapshotsDir, "9-9-9.tmp"), 0o755)
		},
		"a snapshot half deleted": func(dir, snapshot string) error {
			old := filepath.Join(dir, disk.SnapshotsDir, "1-1-1"+".tmp")
			return errors.Join(os.MkdirAll(old, 0o755),
				os.WriteFile(filepath.Join(old, "state.bin"), []byte("x"), 0o600))
		},
		"a snapshot without its sidecar": func(dir, snapshot string) error {
			return os.Remove(filepath.Join(dir, disk.SnapshotsDir, snapshot, "meta.crc32c"))
		},
		"an identity half written": func(dir, _ string) error {
			return os.WriteFile(filepath.Join(dir, disk.IdentityFile+".tmp"), []byte("{"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			work := copyDir(t, dir)
			if err := do(work, filepath.Base(snapshots[0])); err != nil {
				t.Fatal(err)
			}
			if got, err := openedHash(t, store, work); err != nil || got != hash {
				t.Fatalf("hash %s, err %v; want %s", got, err, hash)
			}
		})
	}
}

func copyDir(t *testing.T, dir string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(out, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestNobodyElseMayReadTheFilesOfADataDirectory(t *testing.T) {
	t.Parallel()
	for _, where := range allLogs {
		dir, _ := dataDirectory(t, where.Store)
		if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			if err == nil && info.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %s has mode %s", where.Store, path, info.Mode())
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}
