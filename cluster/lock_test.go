//go:build unix

package cluster

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

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/testkit"
	"pushquorum/fsm"
)

// A pod that was deleted by force leaves its process for a moment: the successor must not give up, because it is then
// started again only after a while.
func TestTheSuccessorOfAProcessThatIsEndingWaitsForItsDirectory(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1)
	r.start()
	waitReady(t, r)
	push(t, r, "before", 1)
	logs, cfg, tune := &logBuffer{}, r.cfg, r.tune
	cfg.Logger, tune.lockWait = slog.New(slog.NewTextHandler(logs, nil)), testDeadline
	cfg.FSM = fsm.New(cfg.Logger)
	opened := make(chan error, 1)
	go func() {
		successor, err := open(cfg, tune)
		if err == nil {
			err = errors.Join(successor.ReadBarrier(testContext(t)), successor.Close())
		}
		opened <- err
	}()
	eventually(t, "it says what it waits for", func() bool { return strings.Contains(logs.String(), "waiting for the process that still holds") })
	r.crash()
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(logs.String(), "still holds"); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
}

func TestALockThatIsNotGivenBackIsWaitedForOnlySoLong(t *testing.T) {
	t.Parallel()
	dir, logger := t.TempDir(), slog.New(slog.DiscardHandler)
	held, err := disk.LockDir(dir, 0, logger)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := disk.LockDir(dir, 3*disk.LockRetry, logger); err == nil || !strings.Contains(err.Error(), "in use by another process") || time.Since(began) < 3*disk.LockRetry {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := disk.LockDir(dir, 0, logger)
	if err != nil {
		t.Fatal(err)
	}
	// Its file is deleted: whoever comes next locks another one, and is not kept out by this; but one who has waited
	// for this one must not take it for the one that is there.
	if err := os.Remove(filepath.Join(dir, disk.LockFile)); err != nil {
		t.Fatal(err)
	}
	other, err := disk.LockDir(dir, 0, logger)
	if err != nil {
		t.Fatal(err)
	}
	now, err := os.Stat(filepath.Join(dir, disk.LockFile))
	if err != nil || os.SameFile(again.Info(), now) || !os.SameFile(other.Info(), now) {
		t.Errorf("what is locked is not what is there: %v", err)
	}
	if err := errors.Join(again.Close(), other.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestADirectoryOfAnotherUserIsSaidToBeOne(t *testing.T) {
	dir := t.TempDir()
	lock := filepath.Join(dir, disk.LockFile)
	testkit.WriteFile(t, lock, nil)
	for name, refused := range map[string]string{
		"the directory": filepath.Join(dir, disk.ProbeFile), // which does not exist: it may not be made
		"a file in it":  lock,
		"one above it":  filepath.Join(dir, "a", "b"),
	} {
		err := disk.CannotWrite(dir, &fs.PathError{Op: "open", Path: refused, Err: syscall.EACCES})
		subject := dir
		if refused == lock {
			subject = lock
		}
		info, serr := os.Lstat(subject)
		if serr != nil {
			t.Fatal(serr)
		}
		for _, want := range []string{
			refused, "permission denied", subject + " belongs to " + disk.Owner(info), info.Mode().String(), "runs as user ", "chown -R ", " " + dir + ")", "fsGroup: ",
		} {
			if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: got %q, want one line that says %q", name, err, want)
			}
		}
	}
}
