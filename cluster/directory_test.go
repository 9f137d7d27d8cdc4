package cluster

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/cluster/internal/durable"
	"pushquorum/cluster/internal/testkit"
	"pushquorum/fsm"
)

// fakeDisk answers the question whether a directory can be written.
type fakeDisk struct{ refusal atomic.Pointer[error] }

func (d *fakeDisk) set(err error) { d.refusal.Store(&err) }

func (d *fakeDisk) probe(dir string, size int) error {
	if err := d.refusal.Load(); err != nil && *err != nil {
		return *err
	}
	return disk.ProbeWrite(dir, size)
}

// quickToNotice makes a replica look at its directory all the time, and gives what it sees of the disk.
func quickToNotice(r *replicaT) *fakeDisk {
	fake := &fakeDisk{}
	r.tune.stuckEvery = 10 * time.Millisecond
	r.tune.probe = fake.probe
	return fake
}

var full = &os.PathError{Op: "write", Path: "/data/probe", Err: syscall.ENOSPC}

// removeInUse removes a directory in which a replica makes files meanwhile, so that it may be full again just before it
// goes.
func removeInUse(path string) (err error) {
	for range 100 {
		if err = os.RemoveAll(path); !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
	}
	return err
}

func TestADirectoryThatIsNotTheOneThatIsOpenIsNoticed(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(dir string) error
		says string
	}{
		{"deleted", removeInUse, "is gone"},
		{"emptied", func(dir string) error {
			files, err := filepath.Glob(filepath.Join(dir, "*"))
			for _, f := range files {
				err = errors.Join(err, removeInUse(f))
			}
			return err
		}, "is gone"},
		{"moved away", func(dir string) error { return os.Rename(dir, dir+".old") }, "is gone"},
		{"moved away, and a copy put in its place", func(dir string) error {
			if err := os.Rename(dir, dir+".old"); err != nil {
				return err
			}
			return os.CopyFS(dir, os.DirFS(dir+".old"))
		}, disk.ErrGone.Error()}, // gone or another file: it may be looked at while it is copied
		{
			"without its log", func(dir string) error { return removeInUse(filepath.Join(dir, wal.Dir)) },
			wal.SegmentsFile + " is gone",
		},
		{
			"without its snapshots", func(dir string) error {
				return removeInUse(filepath.Join(dir, disk.SnapshotsDir))
			},
			disk.SnapshotsDir + " is gone",
		},
		{
			"without its identity", func(dir string) error { return os.Remove(filepath.Join(dir, disk.IdentityFile)) },
			disk.IdentityFile + " is gone",
		},
		{"with raft.db restored", func(dir string) error {
			path := filepath.Join(dir, disk.RaftFile)
			b, err := os.ReadFile(path)
			return errors.Join(err, os.WriteFile(path+".new", b, 0o600), os.Rename(path+".new", path))
		}, disk.RaftFile + " is another file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newReplica(t, nil, "alone", "", 1)
			quickToNotice(r)
			r.start()
			waitReady(t, r)
			push(t, r, "before", 1)
			if err := c.do(r.cfg.DataDir); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is neither healthy nor ready",
				func() bool { return r.Healthy() != nil && r.Ready() != nil })
			if err := r.Healthy(); !errors.Is(err, disk.ErrGone) || !strings.Contains(err.Error(), c.says) ||
				!strings.Contains(err.Error(), r.cfg.DataDir) || strings.Contains(err.Error(), "\n") {
				t.Errorf("unhealthy with %q, want one line that names the directory and says %q", err, c.says)
			}
			if result, err := r.Apply(testContext(t), pushCommand(r, "after", 1)); !errors.Is(err, ErrUnavailable) ||
				!errors.Is(err, disk.ErrGone) {
				t.Errorf("a push was answered with %v, %v", result, err)
			}
			if err := r.stopRaft(); err != nil {
				t.Error(err)
			}
			if err := r.store.Log().StoreLog(entry(r.store.LastIndex()+1, 99)); !errors.Is(err, disk.ErrGone) {
				t.Errorf("the log takes an entry: %v", err)
			}
			if err := r.ReadBarrier(testContext(t)); err != nil || !hasJob(r, "before") || hasJob(r, "after") {
				t.Errorf("what it has in memory is not served: %v", err)
			}
			if n := strings.Count(r.logs.String(), "level=ERROR"); n != 1 {
				t.Errorf("said %d times, want once", n)
			}
			// What is put back later is not what it knows: it stays ill.
			_ = removeInUse(r.cfg.DataDir)
			if err := os.MkdirAll(r.cfg.DataDir, 0o755); err != nil {
				t.Fatal(err)
			}
			r.dir.Check()
			if !errors.Is(r.Healthy(), disk.ErrGone) {
				t.Errorf("healthy again: %v", r.Healthy())
			}
		})
	}
}

// The watch looks once a second. What is deleted between two looks must not be acknowledged either.
func TestNothingIsAcknowledgedThatNobodyFindsAgain(t *testing.T) {
	for _, store := range []string{disk.LogWAL, disk.LogBbolt} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			r := newReplica(t, nil, "alone", "", 1)
			r.cfg.LogStore = store
			r.tune.stuckEvery = time.Hour
			r.start()
			waitReady(t, r)
			push(t, r, "before", 1)
			if err := removeInUse(r.cfg.DataDir); err != nil {
				t.Fatal(err)
			}
			if result, err := r.Apply(testContext(t), pushCommand(r, "after", 1)); !errors.Is(err, ErrUnavailable) ||
				!errors.Is(err, disk.ErrGone) {
				t.Errorf("a push was answered with %v, %v", result, err)
			}
			eventually(t, "the failed append says that the directory is gone",
				func() bool { return errors.Is(r.Healthy(), disk.ErrGone) })
			if err := r.ReadBarrier(testContext(t)); err != nil || !hasJob(r, "before") {
				t.Errorf("what it has in memory is not served: %v", err)
			}
		})
	}
}

func TestAMemberWithoutItsDirectoryHandsOverAndEnds(t *testing.T) {
	t.Parallel()
	tn := newTestNet()
	replicas := prepare(t, tn, 3)
	ended := map[*replicaT]chan error{}
	for _, r := range replicas {
		quickToNotice(r)
		ended[r] = r.startRunningApart()
	}
	waitReady(t, replicas...)
	leader, others := leaderOf(t, replicas)
	push(t, leader, "before", 1)
	if err := removeInUse(leader.cfg.DataDir); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended[leader]:
		if !errors.Is(err, disk.ErrGone) || !strings.Contains(err.Error(), "joins as a new one") ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("it ended with %q", err)
		}
		ended[leader] <- nil
	case <-testContext(t).Done():
		t.Fatal("it goes on without its directory")
	}
	if !strings.Contains(leader.logs.String(), "handed over the leadership") {
		t.Error("it ended without handing over the leadership")
	}
	push(t, others[0], "after", 1)
	if err := leader.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	for _, r := range others {
		eventually(t, "the others go on", func() bool { return hasJob(r, "before") && hasJob(r, "after") })
	}
}

// startRunningApart starts a replica whose Run may end with an error, which the channel holds.
func (r *replicaT) startRunningApart() chan error {
	r.t.Helper()
	r.logs = &logBuffer{}
	r.cfg.Logger = slog.New(slog.NewTextHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug})).With("r",
		r.cfg.Name)
	r.cfg.FSM = fsm.New(r.cfg.Logger)
	var err error
	if r.Replica, err = open(r.cfg, r.tune); err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.t.Cleanup(func() {
		if err := r.Close(); err != nil {
			r.t.Errorf("%s stops with %v", r.cfg.Name, err)
		}
		cancel()
		if err := <-done; err != nil && !errors.Is(err, disk.ErrGone) {
			r.t.Errorf("%s ended with %v", r.cfg.Name, err)
		}
	})
	return done
}

func TestAFullDiskIsSaidAndReadsGoOn(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1)
	fake := quickToNotice(r)
	r.start()
	waitReady(t, r)
	push(t, r, "before", 1)
	for range 2 { // it may happen again
		fake.set(full)
		eventually(t, "it is neither healthy nor ready", func() bool { return r.Healthy() != nil && r.Ready() != nil })
		if err := r.Healthy(); !errors.Is(err, disk.ErrCannotWrite) || !strings.Contains(err.Error(), r.cfg.DataDir) ||
			!strings.Contains(err.Error(), "no space left") || !strings.Contains(err.Error(), "make room") ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("unhealthy with %q", err)
		}
		if err := r.ReadBarrier(testContext(t)); err != nil || !hasJob(r, "before") {
			t.Errorf("it does not serve: %v", err)
		}
		fake.set(nil)
		eventually(t, "it is healthy again", func() bool { return r.Healthy() == nil && r.Ready() == nil })
		push(t, r, "after", 1)
	}
	if s := r.logs.String(); strings.Count(s, "not well") != 2 || strings.Count(s, "well again") != 2 {
		t.Errorf("not said once each time:\n%s", s)
	}
}

// failing makes the writes of a disk fail while it is told so.
type failing struct {
	err   atomic.Pointer[error]
	terms atomic.Int64 // writes of the term that have failed
}

func (f *failing) append([]*raft.Log) error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (f *failing) stable() error {
	err := f.append(nil)
	if err != nil {
		f.terms.Add(1)
	}
	return err
}

// A file system that has become read-only refuses every write, that of the term too, without which Raft used to end the
// process.
func TestAReplicaWhoseDiskRefusesEveryWriteServesAndComesBack(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1)
	fake, below := quickToNotice(r), &failing{}
	r.tune.disk.Append, r.tune.disk.Stable = below.append, below.stable
	r.start()
	waitReady(t, r)
	push(t, r, "before", 1)
	var readOnly error = &os.PathError{
		Op: "write", Path: filepath.Join(r.cfg.DataDir, disk.RaftFile),
		Err: syscall.EROFS,
	}
	below.err.Store(&readOnly)
	fake.set(readOnly)
	ctx, cancel := context.WithTimeout(testContext(t), 300*time.Millisecond)
	defer cancel()
	if result, err := r.Apply(ctx, pushCommand(r, "refused", 1)); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a push was answered with %v, %v", result, err)
	}
	eventually(t, "the term cannot be stored", func() bool {
		return below.terms.Load() > 0 && errors.Is(r.Healthy(), disk.ErrCannotWrite)
	})
	if err := r.ReadBarrier(testContext(t)); err != nil || !hasJob(r, "before") {
		t.Errorf("it does not serve: %v", err)
	}
	if err := r.Healthy(); !errors.Is(err, disk.ErrCannotWrite) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("unhealthy with %v", err)
	}
	below.err.Store(nil)
	fake.set(nil)
	eventually(t, "it is healthy again", func() bool { return r.Healthy() == nil && r.Ready() == nil })
	push(t, r, "after", 1)

	// And it can be stopped while it waits.
	before := below.terms.Load()
	below.err.Store(&readOnly)
	_, _ = r.Apply(ctx, pushCommand(r, "again", 1))
	eventually(t, "a write has failed", func() bool {
		if r.Healthy() == nil {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			_, _ = r.Apply(ctx, pushCommand(r, "again", 1))
		}
		return below.terms.Load() > before
	})
	r.crash()
	below.err.Store(nil)
	r.start()
	waitReady(t, r)
	if !hasJob(r, "before") || !hasJob(r, "after") {
		t.Error("a push was lost")
	}
}

func TestADirectoryThatCannotBeWrittenIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		says string
	}{
		{syscall.ENOSPC, "make room"},
		{syscall.EDQUOT, "make room"},
		{syscall.EROFS, "mount it"},
		{syscall.EACCES, "chown"},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			r := newReplica(t, nil, "alone", "", 1)
			r.start()
			waitReady(t, r)
			push(t, r, "before", 1)
			r.crash()
			before := contents(t, r.cfg.DataDir)
			fake := quickToNotice(r)
			fake.set(&os.PathError{Op: "open", Path: filepath.Join(r.cfg.DataDir, "probe"), Err: c.err})
			err := r.open()
			if !errors.Is(err, disk.ErrCannotWrite) || !strings.Contains(err.Error(), r.cfg.DataDir) ||
				!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line that names the directory and says %q", err, c.says)
			}
			if after := contents(t, r.cfg.DataDir); after != before {
				t.Errorf("the directory was changed from\n%s\nto\n%s", before, after)
			}
			fake.set(nil)
			r.start()
			waitReady(t, r)
			if !hasJob(r, "before") {
				t.Error("a push was lost")
			}
		})
	}
}

// contents is all that lies below a directory, in a form that can be compared.
func contents(t *testing.T, dir string) string { return testkit.Contents(t, dir) }

// What to do about damage is to throw the directory away. That must never be the advice when the directory is whole.
func TestNobodyIsToldToDeleteWhatCannotBeWritten(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EACCES, syscall.EPERM} {
		err := disk.IfRefused("/data", durable.Damaged("/data/wal", "cannot be read: %w",
			&os.PathError{Op: "open", Path: "/data/wal/1.wal", Err: cause}))
		if !errors.Is(err, disk.ErrCannotWrite) || strings.Contains(err.Error(), "delete") ||
			strings.Contains(err.Error(), "restore") || !strings.Contains(err.Error(), "/data/wal/1.wal") {
			t.Errorf("%v: %v", cause, err)
		}
	}
	err := disk.IfRefused("/data", durable.Damaged("/data/wal", "cannot be read: %w", io.ErrUnexpectedEOF))
	if errors.Is(err, disk.ErrCannotWrite) || !strings.Contains(err.Error(), "restore") {
		t.Errorf("damage: %v", err)
	}
}

// A directory that was moved away takes every write. None of them may count from the moment on at which that is known.
