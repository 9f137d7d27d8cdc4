package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/cluster/internal/durable"
	"pushquorum/cluster/internal/testkit"
	"pushquorum/fsm"
)

// insideSmallDisks says to the process of a test that it is the one with file systems of its own.
const insideSmallDisks = "PUSHQUORUM_TEST_SMALL_DISKS"

// inOwnMounts runs the test in a process that may mount file systems that nobody else sees, and tells whether this is
// that process.
func inOwnMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideSmallDisks) != "" {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), insideSmallDisks+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if uid := os.Geteuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return false
}

// onSmallDisk gives a replica, before its start, a file system of 64 MB.
func onSmallDisk(t *testing.T, r *replicaT) {
	t.Helper()
	mount := t.TempDir()
	if err := errors.Join(unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""),
		unix.Mount("tmpfs", mount, "tmpfs", 0, "size=64m")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(mount, unix.MNT_DETACH) })
	r.cfg.DataDir = filepath.Join(mount, "data")
	r.tune.walSegment = wal.SegmentSize
}

// fillUp pushes groups through a replica until one is refused, and gives the number of those that were taken.
func fillUp(t *testing.T, r *replicaT, prefix string) int {
	t.Helper()
	for i := range 10_000 {
		result, err := r.Apply(testContext(t), largePush(r, fmt.Sprintf("%s%d", prefix, i), 100<<10))
		switch {
		case err == nil && result.Status == fsm.Applied:
		case err == nil && result.Status == fsm.NoSpace:
			return i
		default:
			t.Fatalf("push %d was answered with %v, %v", i, result, err)
		}
	}
	t.Fatal("the disk is never full")
	return 0
}

func deleteJobs(t *testing.T, r *replicaT, prefix string, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if result, err := r.Apply(testContext(t), deleteCommand(r, fmt.Sprintf("%s%d", prefix, i))); err != nil ||
			result.Status != fsm.Applied {
			t.Fatalf("delete %d was answered with %v, %v", i, result, err)
		}
	}
}

func wantJobs(t *testing.T, r *replicaT, prefix string, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if !hasJob(r, fmt.Sprintf("%s%d", prefix, i)) {
			t.Errorf("%s: a push that was acknowledged is lost: %s%d", r.cfg.Name, prefix, i)
			return
		}
	}
}

// stuff fills what is left of a file system with what is nobody's business, and gives the file. What the replica frees
// later stays free until the next call.
func stuff(t *testing.T, r *replicaT) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(r.cfg.DataDir), "foreign")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, durable.Mode)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, zeros{}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk takes everything: %v", err)
	}
	return path
}

// zeros is read as zeros, without end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func hasReserve(r *replicaT) bool {
	_, err := os.Stat(filepath.Join(r.cfg.DataDir, "reserve"))
	return err == nil
}

func TestAReplicaOnADiskThatFillsUp(t *testing.T) {
	t.Parallel()
	if !inOwnMounts(t) {
		return
	}
	r := newReplica(t, nil, "alone", "", 1)
	onSmallDisk(t, r)
	r.start()
	waitReady(t, r)
	eventually(t, "it has a reserve", func() bool { return hasReserve(r) })
	n := fillUp(t, r, "a")
	t.Logf("%d groups of 100 kB are stored in 64 MB", n)
	if n < 150 {
		t.Errorf("only %d groups of 100 kB are stored in 64 MB", n)
	}
	if r.Healthy() != nil || !hasReserve(r) {
		t.Errorf("it was refused too late: %v", r.Healthy())
	}
	r.crash()
	r.start()
	waitReady(t, r)
	wantJobs(t, r, "a", 0, n)

	began := time.Now()
	deleteJobs(t, r, "a", 0, n/2)
	testkit.Within(t, 20*time.Second, "what was deleted makes room", func() bool { return r.noSpace() == "" })
	t.Logf("room after %s", time.Since(began))
	m := n / 3
	for i := range m { // with pauses, while a snapshot is written
		eventually(t, "what was deleted has made room", func() bool {
			result, err := r.Apply(testContext(t), largePush(r, fmt.Sprintf("b%d", i), 100<<10))
			if err != nil || (result.Status != fsm.Applied && result.Status != fsm.NoSpace) {
				t.Fatalf("push %d was answered with %v, %v", i, result, err)
			}
			return result.Status == fsm.Applied
		})
	}
	wantJobs(t, r, "a", n/2, n)
	wantJobs(t, r, "b", 0, m)

	// Now somebody else fills the disk to its last byte, and goes on while the replica still frees what it does not
	// need: the log behind a snapshot that was taken in the meantime, and the snapshots before that.
	var foreign string
	eventually(t, "it gives up the reserve", func() bool {
		foreign = stuff(t, r)
		return !hasReserve(r)
	})
	stuff(t, r)
	r.crash()
	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
	r.start()
	waitReady(t, r)
	eventually(t, "it has a reserve again", func() bool { return r.noSpace() == "" && hasReserve(r) })
	stuff(t, r)
	r.crash()
	r.start() // from the reserve
	waitReady(t, r)
	wantJobs(t, r, "a", n/2, n)
	wantJobs(t, r, "b", 0, m)
	deleteJobs(t, r, "b", 0, m)
	if result, err := r.Apply(testContext(t), pushCommand(r, "c", 1)); err != nil || result.Status != fsm.NoSpace {
		t.Errorf("a push was answered with %v, %v", result, err)
	}
	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
	eventually(t, "there is room again", func() bool { return r.noSpace() == "" })
	push(t, r, "c", 1)
}

func TestAClusterOnDisksThatFillUp(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("long, because it fills three disks")
	}
	if !inOwnMounts(t) {
		return
	}
	replicas := prepare(t, newTestNet(), 3)
	for _, r := range replicas {
		onSmallDisk(t, r)
		r.start()
	}
	waitReady(t, replicas...)
	n := fillUp(t, replicas[0], "a")
	t.Logf("%d groups of 100 kB are stored in 64 MB", n)
	if n < 150 {
		t.Errorf("only %d groups of 100 kB are stored in 64 MB", n)
	}
	for _, r := range replicas {
		r.crash()
	}
	for _, r := range replicas {
		r.start()
	}
	waitReady(t, replicas...)
	sameState(t, replicas...)
	wantJobs(t, replicas[0], "a", 0, n)
	deleteJobs(t, replicas[1], "a", 0, n/2)
	for i := range n / 4 {
		eventually(t, "what was deleted has made room", func() bool {
			result, err := replicas[2].Apply(testContext(t), largePush(replicas[2], fmt.Sprintf("b%d", i), 100<<10))
			if err != nil || (result.Status != fsm.Applied && result.Status != fsm.NoSpace) {
				t.Fatalf("push %d was answered with %v, %v", i, result, err)
			}
			return result.Status == fsm.Applied
		})
	}
	sameState(t, replicas...)
	wantJobs(t, replicas[0], "a", n/2, n)
	wantJobs(t, replicas[0], "b", 0, n/4)
}

// A disk on which nothing fits any more though the log is as short as it can be: only a snapshot of what is left after
// a delete makes room, and nobody pushes who would make one due.
func TestWhatIsDeletedMakesRoomOnADiskThatIsFullOfState(t *testing.T) {
	t.Parallel()
	if !inOwnMounts(t) {
		return
	}
	r := newReplica(t, nil, "alone", "", 1)
	onSmallDisk(t, r)
	r.start()
	waitReady(t, r)
	n := 0
	settled := func() bool {
		return r.noSpace() != "" && r.store.SnapshotIndex() > 0 && r.store.BytesSinceSnapshot() == 0
	}
	for !settled() {
		n += fillUp(t, r, fmt.Sprintf("a%d-", n))
		eventually(t, "there is room, or the log holds nothing that the snapshot does not",
			func() bool { return r.noSpace() == "" || settled() })
	}
	var jobs []string
	for g := range r.cfg.FSM.View().Groups() {
		job, _ := g.Labels().Get("job")
		jobs = append(jobs, job)
	}
	before, err := disk.MeasureSpace(r.cfg.DataDir)
	if err != nil || len(jobs) != n {
		t.Fatalf("%d groups are stored of %d: %v", len(jobs), n, err)
	}
	for _, job := range jobs[:n/2] {
		if result, err := r.Apply(testContext(t), deleteCommand(r, job)); err != nil || result.Status != fsm.Applied {
			t.Fatalf("a delete was answered with %v, %v", result, err)
		}
	}
	eventually(t, "half of the room is there", func() bool {
		now, err := disk.MeasureSpace(r.cfg.DataDir)
		return err == nil && r.noSpace() == "" && now.Free > before.Free+uint64(n/3)*(100<<10)
	})
	push(t, r, "again", 1)
}
