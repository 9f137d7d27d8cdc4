package local

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Process is a server that is started here, and again after it has ended, with what it writes in a file.
type Process struct {
	Name string
	Args []string // program first
	Log  string   // what it writes is added to this file; it runs in the file's directory

	cmd  *exec.Cmd
	done chan struct{} // closed once it has ended
	over bool          // it was ended here
}

// Start starts it, for the first time or after it has ended.
func (p *Process) Start(s *Spawner) error {
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has it
	cmd := exec.Command(p.Args[0], p.Args[1:]...)
	cmd.Dir = filepath.Dir(p.Log)
	cmd.Stdout, cmd.Stderr = log, log
	if err := s.Start(cmd); err != nil {
		return fmt.Errorf("starting %s: %w", p.Name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done, p.over = cmd, done, false
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended is in the state
	}()
	return nil
}

// Kill ends the process as a crash would, and returns when it is gone.
func (p *Process) Kill() {
	if p.cmd == nil {
		return // it has not been started
	}
	p.over = true
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // it may have ended already
	<-p.done
}

// Stop asks the process to end, and kills it when it does not.
func (p *Process) Stop(within time.Duration) error {
	p.over = true
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.done:
		return nil
	case <-time.After(within):
		p.Kill()
		return fmt.Errorf("%s did not stop within %s of SIGTERM", p.Name, within)
	}
}

// Pid is that of the last start.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Over says whether it was ended here, and not by itself or by somebody else.
func (p *Process) Over() bool { return p.over }

// Ended returns why the process is not running, or nil while it is.
func (p *Process) Ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended (%s); its last lines:\n%s", p.Name, p.cmd.ProcessState, p.Tail(15))
	default:
		return nil
	}
}

// Gone is closed once it has ended.
func (p *Process) Gone() <-chan struct{} { return p.done }

// Killed says whether it has ended by SIGKILL that nobody here has sent: there is nobody left but the kernel.
func (p *Process) Killed() bool {
	select {
	case <-p.done:
	default:
		return false
	}
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && !p.over && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Tail is the end of what it has written.
func (p *Process) Tail(lines int) string {
	out, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
