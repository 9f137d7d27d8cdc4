//go:build unix

package test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pushquorum/test/local"
)

// noticedWithin is how soon a replica says what is wrong with its data directory; it looks once a second.
const noticedWithin = 10 * time.Second

// mustSay waits until the replica is neither healthy nor ready, and says why in one line with all of the parts.
func (r *replica) mustSay(parts ...string) {
	r.t.Helper()
	for _, path := range []string{"/-/healthy", "/-/ready"} {
		eventually(r.t, noticedWithin, path+" says what is wrong", func() error {
			if r.process != nil && r.ended() {
				return hopeless{fmt.Errorf("%s ended (%s):\n%s", r.name, r.ending(), lastLines(r.output(), 10))}
			}
			answer, err := do(request{url: r.url(path)})
			if err != nil {
				return err
			}
			if answer.status < 500 || strings.Contains(strings.TrimSpace(answer.body), "\n") {
				return fmt.Errorf("%s: %s, want one line of what is wrong", path, answer)
			}
			for _, part := range parts {
				if !strings.Contains(answer.body, part) {
					return fmt.Errorf("%s: %s, want it to say %q", path, answer, part)
				}
			}
			return nil
		})
	}
}

// offer pushes one value and tells whether it was acknowledged; everything but 200 and 503 fails the test.
func (r *replica) offer(job string, value int) bool {
	r.t.Helper()
	answer, err := do(
		request{method: http.MethodPut, url: r.url("/metrics/job/" + job), body: fmt.Sprintf("offered %d\n", value)})
	if err != nil || answer.status != http.StatusOK && answer.status != http.StatusServiceUnavailable {
		r.t.Fatalf("push of %s: %s, %v", job, answer, err)
	}
	return answer.status == http.StatusOK
}

func (r *replica) mustServe(job string, value int) {
	r.t.Helper()
	mustHave(r.t, r.scrape(), fmt.Sprintf(`offered{instance="",job=%q}`, job), fmt.Sprint(value))
}

func TestADirectoryThatIsDeletedUnderAStandaloneReplicaIsSaid(t *testing.T) {
	t.Parallel()
	r := startReplica(t)
	if !r.offer("before", 1) {
		t.Fatal("the first push was not taken")
	}
	if err := os.RemoveAll(r.data); err != nil {
		t.Fatal(err)
	}
	if r.offer("after", 2) {
		t.Error("a push was acknowledged after its directory was deleted")
	}
	r.mustSay(r.data, "deleted")
	r.mustServe("before", 1)
	mustLack(t, r.scrape(), "after")
	r.stopNow()
}

func TestAMemberWhoseDirectoryIsDeletedEndsAndComesBackAsANewOne(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	leader := c.leader()
	if !leader.offer("before", 1) {
		t.Fatal("the first push was not taken")
	}
	if err := os.RemoveAll(leader.data); err != nil {
		t.Fatal(err)
	}
	select {
	case <-leader.done:
	case <-time.After(noticedWithin):
		t.Fatalf("%s goes on without its directory:\n%s", leader.name, lastLines(leader.output(), 10))
	}
	last := lastLines(leader.output(), 1)
	if code := leader.state.ExitCode(); code != 1 || !strings.Contains(last, leader.data) ||
		!strings.Contains(last, "start this replica again") {
		t.Errorf("it ended with code %d and %q", code, last)
	}
	for i, r := range c.running() {
		if !r.offer("meanwhile", i) {
			t.Errorf("%s takes nothing", r.name)
		}
	}
	leader.restart()
	leader.mustServe("before", 1)
}

// smallDisk is a file system of its own, of so many MB, and what to do to it; nil where this process may not mount one.
type smallDisk struct{ path string }

func newSmallDisk(t *testing.T, megabytes int) *smallDisk {
	t.Helper()
	d := &smallDisk{path: t.TempDir()}
	size := fmt.Sprintf("size=%dm", megabytes)
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", size, "tmpfs", d.path).CombinedOutput(); err != nil {
		t.Logf("no file system can be mounted here, so only another user's directory is tried: %v, %s", err, out)
		return nil
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", d.path).CombinedOutput(); err != nil {
			t.Errorf("umount: %v, %s", err, out)
		}
	})
	return d
}

func (d *smallDisk) remount(t *testing.T, how string) {
	t.Helper()
	if out, err := exec.Command("mount", "-o", "remount,"+how, d.path).CombinedOutput(); err != nil {
		t.Fatalf("remount %s: %v, %s", how, err, out)
	}
}

func (d *smallDisk) file() string { return filepath.Join(d.path, "filler") }

// fill writes until there is no room.
func (d *smallDisk) fill(t *testing.T) {
	t.Helper()
	f, err := os.Create(d.file())
	if err != nil {
		t.Fatal(err)
	}
	piece := make([]byte, 4<<10)
	for err == nil {
		_, err = f.Write(piece)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func (d *smallDisk) free(t *testing.T) {
	t.Helper()
	if err := os.Remove(d.file()); err != nil {
		t.Fatal(err)
	}
}

// Whatever keeps a replica from writing, the only one there is serves what it has, before and after a restart, and
// takes pushes again once it can.
func TestAReplicaThatCannotWriteGoesOnBeingScraped(t *testing.T) {
	t.Parallel()
	t.Run("a full disk", func(t *testing.T) {
		t.Parallel()
		disk := newSmallDisk(t, 48)
		if disk == nil {
			return
		}
		// Without --storage.min-free=0 pushes are refused before the disk is full.
		r := &replica{
			t: t, name: "full", data: filepath.Join(disk.path, "data"), web: local.Address(freePort(t)),
			flags: []string{"--push.timeout=1s", "--storage.min-free=0"},
		}
		r.restart()
		disk.fill(t)
		r.mustSay(r.data, "no space left on device")
		// Some more fits into the segment that is there, until the next one is needed.
		taken, refused := map[string]int{}, 0
		long := strings.Repeat("x", 1<<20)
		for i := 0; refused < 2 && i < 60; i++ {
			job := fmt.Sprintf("job%d", i)
			answer, err := do(request{
				method: http.MethodPut, url: r.url("/metrics/job/" + job),
				body: fmt.Sprintf("offered %d\nlong{a=%q} 1\n", i, long),
			})
			if err != nil {
				t.Fatal(err)
			}
			switch answer.status {
			case http.StatusOK:
				taken[job] = i
			case http.StatusServiceUnavailable:
				refused++
			default:
				t.Fatalf("push: %s", answer)
			}
		}
		if refused == 0 || len(taken) == 0 {
			t.Fatalf("%d pushes were taken and %d refused: this test shows nothing", len(taken), refused)
		}
		mustHold := func() {
			t.Helper()
			for job, value := range taken {
				r.mustServe(job, value)
			}
		}
		r.mustSay(r.data)
		mustHold()
		r.kill()
		r.start()
		r.mustSay(r.data, "no space left on device", "read-only")
		mustHold()
		disk.free(t)
		r.mustBeReady()
		mustHold()
		if !r.offer("after", 7) {
			t.Error("with room again, a push is refused")
		}
		r.stopNow()
	})
	t.Run("a read-only file system", func(t *testing.T) {
		t.Parallel()
		disk := newSmallDisk(t, 64)
		if disk == nil {
			return
		}
		r := &replica{t: t, name: "sealed", data: filepath.Join(disk.path, "data"), web: local.Address(freePort(t))}
		r.restart()
		if !r.offer("before", 1) {
			t.Fatal("the first push was not taken")
		}
		r.kill()
		disk.remount(t, "ro")
		r.start()
		r.mustSay(r.data, "read-only file system")
		r.mustServe("before", 1)
		if r.offer("refused", 2) {
			t.Error("a push was acknowledged on a read-only file system")
		}
		disk.remount(t, "rw")
		r.mustBeReady()
		r.mustServe("before", 1)
		if !r.offer("after", 3) {
			t.Error("once it can be written, a push is refused")
		}
		r.stopNow()
	})
	t.Run("a directory that may not be written", func(t *testing.T) {
		t.Parallel()
		start, dir := unprivileged(t)
		r := &replica{t: t, name: "forbidden", data: filepath.Join(dir, "data"), web: local.Address(freePort(t))}
		mode := func(m os.FileMode) {
			t.Helper()
			if err := os.Chmod(dir, m); err != nil {
				t.Fatal(err)
			}
		}
		mode(0o555)
		start(r)
		<-r.done
		want := []string{
			r.data, "permission denied", dir + " belongs to user ", "this process runs as user ", "chown -R ",
			"fsGroup: ",
		}
		for _, part := range want {
			if last := lastLines(r.output(), 1); !strings.Contains(last, part) {
				t.Errorf("it ended with %q, want a line that says %q", last, part)
			}
		}
		mode(0o755)
		start(r)
		r.mustBeReady()
		if !r.offer("before", 1) {
			t.Fatal("the first push was not taken")
		}
		r.kill()
		dir = r.data
		mode(0o555)
		start(r)
		r.mustSay(r.data, "permission denied", "read-only")
		r.mustServe("before", 1)
		if r.offer("refused", 2) {
			t.Error("a push was acknowledged that may not be written")
		}
		mode(0o755)
		r.mustBeReady()
		r.mustServe("before", 1)
		r.stopNow()
	})
}

// unprivileged gives a way to start a replica as a user for whom permissions count, and a directory of that user.
func unprivileged(t *testing.T) (start func(*replica), dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pushquorum-user-") // that of the test may be entered by its own user only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	home := filepath.Join(dir, "home")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(home, 0o755)); err != nil {
		t.Fatal(err)
	}
	program, line := filepath.Join(dir, "pushquorum"), []string(nil)
	copyFile(t, binary(t), program)
	if os.Getuid() == 0 {
		const nobody = 65534
		if err := os.Chown(home, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		line = []string{need(t, "setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups", "--pdeathsig=KILL"}
	}
	return func(r *replica) {
		t.Helper()
		all := append(append(append([]string(nil), line...), program), r.args()...)
		r.process = startProcess(t, r.name, all[0], all[1:]...)
	}, home
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestAReplicaThatWaitsForItsDirectoryCanBeStopped(t *testing.T) {
	t.Parallel()
	r := &replica{t: t, name: "successor", data: t.TempDir(), web: local.Address(freePort(t))}
	lock, err := os.Create(filepath.Join(r.data, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	waiting := func() {
		t.Helper()
		r.start()
		eventually(t, noticedWithin, "it says what it waits for", func() error {
			if !strings.Contains(string(r.output()), "waiting for the process that still holds") {
				return fmt.Errorf("it says\n%s", lastLines(r.output(), 5))
			}
			return nil
		})
	}
	waiting()
	r.stop(t, 5*time.Second) // the wait alone takes longer
	waiting()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	r.mustBeReady()
	r.stopNow()
}
