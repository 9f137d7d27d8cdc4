package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// process is a server that was started here, with what it writes in a file.
type process struct {
	name string
	args []string // program first
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed once it has ended
	over bool          // it was ended here
}

// start starts a program. Starting one of the same name again adds to its log.
func (b *bench) start(name, program string, args ...string) (*process, error) {
	p := &process{name: name, args: append([]string{program}, args...), log: filepath.Join(b.dir, name+".log")}
	if err := b.launch(p); err != nil {
		return nil, err
	}
	b.processes = append(b.processes, p)
	return p, nil
}

func (b *bench) launch(p *process) error {
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has it
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Dir = b.dir
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := b.spawner.start(p.cmd); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	p.done, p.over = make(chan struct{}), false
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended is in the state
	}()
	return nil
}

// again starts a process that has ended with the arguments it had.
func (b *bench) again(p *process) error { return b.launch(p) }

// kill ends the process as a crash would, and returns when it is gone.
func (p *process) kill() {
	p.over = true
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // it may have ended already
	<-p.done
}

// stop asks the process to end, and kills it when it does not.
func (p *process) stop(within time.Duration) error {
	p.over = true
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.done:
		return nil
	case <-time.After(within):
		p.kill()
		return fmt.Errorf("%s did not stop within %s of SIGTERM", p.name, within)
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// ended returns why the process is not running, or nil while it is.
func (p *process) ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s has ended (%s); its last lines:\n%s", p.name, p.cmd.ProcessState, p.tail(15))
	default:
		return nil
	}
}

func (p *process) tail(lines int) string {
	out, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// answers waits until GET path of the address is answered with 200. Looking every 2 ms is what a restart is measured with.
func (p *process) answers(ctx context.Context, address, path string) error {
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := fetch(ctx, address, path)
		if err == nil {
			return nil
		}
		if over := p.ended(); over != nil {
			return over
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %s: %w; its last lines:\n%s", p.name, patience, err, p.tail(15))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// snapshots are those that the replica has told of in its log, with when they began and ended.
func (p *process) snapshots() ([]stretch, error) {
	out, err := os.ReadFile(p.log)
	if err != nil {
		return nil, err
	}
	return snapshotsIn(out)
}

// stretch is a time of day from one moment to another.
type stretch struct{ from, to time.Time }

func snapshotsIn(log []byte) (all []stretch, err error) {
	for line := range bytes.Lines(log) {
		if !bytes.Contains(line, []byte(`msg="took a snapshot"`)) {
			continue
		}
		var s stretch
		var seconds float64
		for field := range strings.FieldsSeq(string(line)) {
			key, value, _ := strings.Cut(field, "=")
			switch key {
			case "ts":
				s.to, err = time.Parse(time.RFC3339Nano, value)
			case "seconds":
				_, err = fmt.Sscan(value, &seconds)
			}
			if err != nil {
				return nil, fmt.Errorf("%s in %q: %w", key, line, err)
			}
		}
		if s.to.IsZero() || seconds == 0 {
			return nil, fmt.Errorf("no ts or no seconds in %q", line)
		}
		s.from = s.to.Add(-time.Duration(seconds * float64(time.Second)))
		all = append(all, s)
	}
	return all, nil
}
