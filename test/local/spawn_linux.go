package local

import (
	"os/exec"
	"runtime"
	"syscall"
)

// Spawner starts processes that the kernel kills when this one dies, however it does. The signal is tied to the thread
// that forked, and so one thread is kept to do nothing else until Close.
type Spawner struct{ starts chan func() }

// NewSpawner returns one that must be closed.
func NewSpawner() *Spawner {
	s := &Spawner{starts: make(chan func())}
	go func() {
		runtime.LockOSThread()
		for start := range s.starts {
			start()
		}
	}()
	return s
}

// Start starts the command, with the attributes that it may have already.
func (s *Spawner) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	result := make(chan error)
	s.starts <- func() { result <- cmd.Start() }
	return <-result
}

// Close lets the thread go; every process must have ended before.
func (s *Spawner) Close() { close(s.starts) }
