package main

import (
	"os/exec"
	"runtime"
	"syscall"
)

// spawner starts processes that the kernel kills when this one dies, however it does. The signal is tied to the thread that
// forked, and so one thread is kept to do nothing else until close.
type spawner struct{ starts chan func() }

func newSpawner() *spawner {
	s := &spawner{starts: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for start := range s.starts {
			start()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	result := make(chan error)
	s.starts <- func() { result <- cmd.Start() }
	return <-result
}

// close lets the thread go; every process must have ended before.
func (s *spawner) close() { close(s.starts) }
