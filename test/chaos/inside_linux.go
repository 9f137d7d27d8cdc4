package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

const insideVariable = "PUSHQUORUM_CHAOS_INSIDE"

// enter runs this program once more, in namespaces of its own for processes, mounts and the network, and returns how
// that ended. With the last of its processes everything that it made is gone: replicas, networks, mounts, however it
// ends. inside is true in that second program, which goes on. An error means that the machine does not allow it.
func enter() (inside bool, code int, err error) {
	if os.Getenv(insideVariable) != "" {
		return true, 0, settle()
	}
	self, err := os.Executable()
	if err != nil {
		return false, 0, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET,
	}
	if os.Getuid() != 0 {
		one := func(id int) []syscall.SysProcIDMap { return []syscall.SysProcIDMap{{HostID: id, Size: 1}} }
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings, cmd.SysProcAttr.GidMappings = one(os.Getuid()), one(os.Getgid())
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	// The kernel sends Pdeathsig when the thread ends that has started the process: main's stays to the end.
	if err := cmd.Start(); err != nil {
		signal.Stop(signals)
		return false, 0, fmt.Errorf("no namespaces of its own: %w", err)
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s)
		}
	}()
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); err == nil || errors.As(err, &exit) {
		return false, cmd.ProcessState.ExitCode(), nil
	}
	return false, 1, nil
}

// settle makes the new namespaces usable: mounts that nobody else sees, and a /proc of these processes.
func settle() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to itself: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	return nil
}
