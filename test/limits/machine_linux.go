package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// become is an error, or this program is another one, whose runtime nobody has told of its bounds.
func become(groups, args []string) error {
	for _, group := range groups {
		procs := filepath.Join(group, "cgroup.procs")
		if err := os.WriteFile(procs, fmt.Append(nil, os.Getpid()), 0); err != nil {
			return fmt.Errorf("enter a control group: %w", err)
		}
	}
	environment := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GO") })
	return fmt.Errorf("become %s: %w", args[0], syscall.Exec(args[0], args, environment))
}

// enter runs this program once more, with mounts of its own, which are gone with it, and returns the exit code. What no
// process takes with it are control groups: they are removed here, however the run has ended.
func enter() int {
	name := fmt.Sprintf("pushquorum-limits-%d", os.Getpid())
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintf(os.Stderr, "limits: %v\n", err)
		return 2
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVariable+"="+name)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: unix.CLONE_NEWNS}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if err := cmd.Start(); err != nil {
		fmt.Fprintf(os.Stderr, "limits: %v: control groups and a namespace for mounts need root\n", err)
		return 2
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // it may have ended already
		}
	}()
	err = cmd.Wait()
	removeGroups("/proc/self/mountinfo", name)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		fmt.Fprintf(os.Stderr, "limits: %v\n", err)
		return 2
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code
	}
	return 2
}

// keepMounts makes what is mounted from here on invisible elsewhere.
func keepMounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to itself: %w", err)
	}
	return nil
}

func mountMemory(path string, size int64) error {
	return unix.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("size=%d", size))
}

func unmount(path string) error { return unix.Unmount(path, 0) }
