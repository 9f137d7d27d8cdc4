package main

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// thread is an operating system thread that does nothing but what it is given: it may live in a network namespace of
// its own, which the processes it starts inherit, and which ends with the last of them. The kernel kills these
// processes when the thread ends, and so with the harness, however that ends.
type thread struct{ work chan func() }

// newThread starts one, in a new network namespace if that is asked for.
func newThread(ownNetwork bool) (*thread, error) {
	t := &thread{work: make(chan func())}
	started := make(chan error, 1)
	go func() { // for as long as the harness runs
		runtime.LockOSThread()
		if ownNetwork {
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				started <- fmt.Errorf("make a network namespace: %w", err)
				return
			}
		}
		started <- nil
		for f := range t.work {
			f()
		}
	}()
	return t, <-started
}

func (t *thread) do(f func() error) error {
	done := make(chan error, 1)
	t.work <- func() { done <- f() }
	return <-done
}

// start starts a process on the thread.
func (t *thread) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return t.do(cmd.Start)
}

// address gives a device of the thread's network its address, in a network of 256, and brings it up.
func (t *thread) address(device string, addr netip.Addr) error {
	return t.do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(fd) }()
		for _, step := range []struct {
			request uint
			value   func(*unix.Ifreq) error
		}{
			{unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(addr.AsSlice()) }},
			{unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
			{unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
		} {
			request, err := unix.NewIfreq(device)
			if err != nil {
				return err
			}
			if err := step.value(request); err != nil {
				return err
			}
			if err := unix.IoctlIfreq(fd, step.request, request); err != nil {
				return fmt.Errorf("give the network device %s the address %s: %w", device, addr, err)
			}
		}
		return nil
	})
}

// tun makes a network device on the thread and returns the file that its packets are read from and written to.
func (t *thread) tun(name string) (*os.File, error) {
	var file *os.File
	err := t.do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		request, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			_ = unix.Close(fd)
			return fmt.Errorf("make the network device %s: %w", name, err)
		}
		file = os.NewFile(uintptr(fd), "/dev/net/tun")
		return nil
	})
	return file, err
}
