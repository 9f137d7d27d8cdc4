package test

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// spawn starts a process that the kernel kills when this test binary dies, also by a panic or `go test -timeout`, where
// no cleanup runs. The signal is tied to the thread that forked, and so one thread is kept to do nothing else.
func spawn(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	result := make(chan error)
	spawner() <- func() { result <- cmd.Start() }
	return <-result
}

var spawner = sync.OnceValue(func() chan<- func() {
	starts := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range starts {
			start()
		}
	}()
	return starts
})
