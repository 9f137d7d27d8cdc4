package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// files is what a directory holds: path → content, nil for a directory.
type files map[string][]byte

func readFiles(dir string) (files, error) {
	out := files{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || rel == "." {
			return err
		}
		if d.IsDir() {
			out[rel] = nil
			return nil
		}
		b, err := os.ReadFile(path)
		out[rel] = append([]byte{}, b...)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return out, nil // not made yet
	}
	return out, err
}

func (f files) equal(other files) bool {
	return maps.EqualFunc(f, other, func(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) })
}

// write makes the directory again.
func (f files) write(t testing.TB, dir string) {
	t.Helper()
	err := os.MkdirAll(dir, 0o755)
	for _, name := range slices.Sorted(maps.Keys(f)) { // a directory before what is in it
		if b := f[name]; b == nil {
			err = errors.Join(err, os.Mkdir(filepath.Join(dir, name), 0o755))
		} else {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// torn are the ways in which a write that led from one state to another may have been done by half. A sector is written
// whole or not at all; of a file that is being made under another name any part may be there.
func torn(before, after files) (out []files) {
	for name, b := range after {
		old := before[name]
		if b == nil || bytes.Equal(old, b) {
			continue
		}
		from := 0
		for from < len(old) && from < len(b) && old[from] == b[from] {
			from++
		}
		to := len(b)
		for to > from && len(old) == len(b) && old[to-1] == b[to-1] {
			to--
		}
		cut := from + (to-from)/2
		if !strings.HasSuffix(name, ".tmp") {
			cut = cut / sector * sector
		}
		if cut <= from || cut >= to {
			continue
		}
		half := maps.Clone(after)
		half[name] = append([]byte{}, b[:cut]...)
		if len(old) > cut {
			half[name] = append(half[name], old[cut:]...)
		}
		out = append(out, half)
	}
	return out
}

const sector = 512

// crashPoint is what a crash may leave of a data directory.
type crashPoint struct {
	when string
	files
}

const syscallStop = unix.SIGTRAP | 0x80

// syscallInfo is struct ptrace_syscall_info, at the entry of a system call.
type syscallInfo struct {
	op   uint8 // 1 at the entry
	_    [3]uint8
	arch uint32
	ip   uint64
	sp   uint64
	nr   uint64
	args [6]uint64
}

// changesFiles are the system calls that may.
var changesFiles = map[uint64]string{
	unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite", unix.SYS_WRITEV: "writev", unix.SYS_PWRITEV: "pwritev",
	unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FALLOCATE: "fallocate", unix.SYS_OPENAT: "open",
	unix.SYS_RENAMEAT: "rename", unix.SYS_RENAMEAT2: "rename", unix.SYS_UNLINKAT: "unlink", unix.SYS_MKDIRAT: "mkdir",
}

// crashPoints runs a process until it ends by itself and gives everything that its death, at any moment, could have
// left of the directory. The process is held at each system call that may change a file, and these are let go one at a
// time, so that between two of them the directory stands still.
func crashPoints(t *testing.T, cmd *exec.Cmd, dir string) []crashPoint {
	t.Helper()
	var points []crashPoint
	last := files{}
	done := make(chan error)
	go func() { // a thread of its own: ptrace knows its tracer by the thread
		runtime.LockOSThread() // and never unlocked: it ends with the goroutine
		done <- trace(cmd, func(call string) error {
			now, err := readFiles(dir)
			if err != nil || now.equal(last) {
				return err
			}
			when := fmt.Sprintf("%d, %s of %s", len(points), call, strings.Join(last.changed(now), ", "))
			if strings.Contains(call, "write") {
				for _, half := range torn(last, now) {
					points = append(points, crashPoint{when + " by half", half})
				}
			}
			points = append(points, crashPoint{when, now})
			last = now
			return nil
		})
	}()
	if err := <-done; err != nil {
		t.Fatalf("the process that is traced (which needs ptrace): %v", err)
	}
	if end, err := readFiles(dir); err != nil || !end.equal(last) {
		t.Fatalf("a system call that is not watched has changed %v (%v)", last.changed(end), err)
	}
	return points
}

func (f files) changed(other files) (names []string) {
	for name, b := range other {
		if old, ok := f[name]; !ok || !bytes.Equal(old, b) {
			names = append(names, name)
		}
	}
	for name := range f {
		if _, ok := other[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// trace runs a process and calls after with the name of each system call that may have changed a file.
func trace(cmd *exec.Cmd, after func(call string) error) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	main := cmd.Process.Pid
	stuck := time.AfterFunc(2*testDeadline, func() { _ = cmd.Process.Kill() })
	defer stuck.Stop()
	var ws unix.WaitStatus
	if _, err := unix.Wait4(main, &ws, unix.WALL, nil); err != nil {
		return err
	}
	// With EXITKILL the process ends when this thread does, so it does on every error below.
	if err := unix.PtraceSetOptions(main,
		unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL); err != nil {
		return err
	}
	var stops waitQueue
	next, signal := main, 0
	for {
		if err := unix.PtraceSyscall(next, signal); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
		thread, ws, err := stops.wait()
		if err != nil {
			return err
		}
		next, signal = thread, 0
		if call := callAtEntry(thread, ws); call != "" {
			if ws, err = stops.finishCall(thread); err != nil {
				return err
			}
			if err := after(call); err != nil {
				return err
			}
		}
		if !ws.Stopped() {
			switch {
			case thread != main:
			case ws.Exited() && ws.ExitStatus() == 0:
				return nil
			default:
				return fmt.Errorf("ended with status %d, signal %v", ws.ExitStatus(), ws.Signal())
			}
			continue
		}
		switch sig := ws.StopSignal(); sig {
		case syscallStop, unix.SIGTRAP, unix.SIGSTOP: // the last two: a new thread
		default:
			signal = int(sig)
		}
	}
}

// callAtEntry names the call that a thread is about to make, "" for one that changes no file or has been made.
func callAtEntry(thread int, ws unix.WaitStatus) string {
	if !ws.Stopped() || ws.StopSignal() != syscallStop {
		return ""
	}
	var info syscallInfo
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(thread), unsafe.Sizeof(info),
		uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 || info.op != 1 || info.nr == unix.SYS_OPENAT && info.args[2]&(unix.O_CREAT|unix.O_TRUNC) == 0 {
		return ""
	}
	return changesFiles[info.nr]
}

// waitQueue gives the stops and ends of the threads that this one traces, in the order in which they came.
type waitQueue []threadStatus

type threadStatus struct {
	thread int
	unix.WaitStatus
}

func (q *waitQueue) wait() (thread int, ws unix.WaitStatus, err error) {
	if len(*q) > 0 {
		first := (*q)[0]
		*q = (*q)[1:]
		return first.thread, first.WaitStatus, nil
	}
	return waitAny()
}

func waitAny() (thread int, ws unix.WaitStatus, err error) {
	for {
		thread, err = unix.Wait4(-1, &ws, unix.WALL|unix.WNOTHREAD, nil)
		if !errors.Is(err, unix.EINTR) {
			return thread, ws, err
		}
	}
}

// finishCall lets one thread make the call it is about to make, and no other. The process may end meanwhile: then the
// end of its main thread is not told before the ends of all others have been waited for, so it waits for whoever comes.
func (q *waitQueue) finishCall(thread int) (unix.WaitStatus, error) {
	if err := unix.PtraceSyscall(thread, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return 0, err
	}
	for {
		who, ws, err := waitAny()
		switch {
		case err != nil:
			return ws, err
		case who != thread:
			*q = append(*q, threadStatus{who, ws})
			continue
		case ws.Stopped() && ws.StopSignal() != syscallStop:
			err = fmt.Errorf("a thread stops for signal %v within a system call", ws.StopSignal())
		}
		return ws, err
	}
}
