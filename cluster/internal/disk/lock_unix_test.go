//go:build unix

package disk

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pushquorum/cluster/internal/testkit"
)

func TestALockThatIsNotGivenBackIsWaitedForOnlySoLong(t *testing.T) {
	t.Parallel()
	dir, logger := t.TempDir(), slog.New(slog.DiscardHandler)
	held, err := LockDir(dir, 0, logger)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := LockDir(dir, 3*lockRetry, logger); err == nil ||
		!strings.Contains(err.Error(), "in use by another process") || time.Since(began) < 3*lockRetry {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := LockDir(dir, 0, logger)
	if err != nil {
		t.Fatal(err)
	}
	// Its file is deleted: whoever comes next locks another one, and is not kept out by this; but one who has waited
	// for this one must not take it for the one that is there.
	if err := os.Remove(filepath.Join(dir, lockFile)); err != nil {
		t.Fatal(err)
	}
	other, err := LockDir(dir, 0, logger)
	if err != nil {
		t.Fatal(err)
	}
	now, err := os.Stat(filepath.Join(dir, lockFile))
	if err != nil || os.SameFile(again.Info(), now) || !os.SameFile(other.Info(), now) {
		t.Errorf("what is locked is not what is there: %v", err)
	}
	if err := errors.Join(again.Close(), other.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestADirectoryOfAnotherUserIsSaidToBeOne(t *testing.T) {
	dir := t.TempDir()
	lock := filepath.Join(dir, lockFile)
	testkit.WriteFile(t, lock, nil)
	for name, refused := range map[string]string{
		"the directory": filepath.Join(dir, probeFile), // which does not exist: it may not be made
		"a file in it":  lock,
		"one above it":  filepath.Join(dir, "a", "b"),
	} {
		err := CannotWrite(dir, &fs.PathError{Op: "open", Path: refused, Err: syscall.EACCES})
		subject := dir
		if refused == lock {
			subject = lock
		}
		info, serr := os.Lstat(subject)
		if serr != nil {
			t.Fatal(serr)
		}
		for _, want := range []string{
			refused, "permission denied", subject + " belongs to " + owner(info), info.Mode().String(), "runs as user ",
			"chown -R ", " " + dir + ")", "fsGroup: ",
		} {
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: got %q, want one line that says %q", name, err, want)
			}
		}
	}
}
