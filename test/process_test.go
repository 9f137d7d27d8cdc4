package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pushquorum/test/local"
)

// spawner starts processes that the kernel kills when this test binary dies, also by a panic or `go test -timeout`,
// where no cleanup runs.
var spawner = sync.OnceValue(local.NewSpawner)

// process is a program that runs beside the test, with what it writes in a file.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	// done is closed once the process has ended, and state is how.
	done  chan struct{}
	state *os.ProcessState
}

// startProcess starts a program that is killed at the end of the test. When the test has failed, the end of its log is
// shown; a report of the race detector fails it.
func startProcess(t testing.TB, name, program string, args ...string) *process {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), name+"-*.log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p := &process{name: name, log: log.Name(), cmd: exec.Command(program, args...), done: make(chan struct{})}
	p.cmd.Dir = filepath.Dir(p.log)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := spawner().Start(p.cmd); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended is in the state
		p.state = p.cmd.ProcessState
	}()
	t.Cleanup(func() {
		p.kill()
		if bytes.Contains(p.output(), []byte("WARNING: DATA RACE")) {
			t.Errorf("%s: the race detector reports a data race", name)
		}
		if t.Failed() {
			t.Logf("the last lines of %s (%s):\n%s", name, p.ending(), lastLines(p.output(), 60))
		}
	})
	return p
}

// signal is an error when the process has ended already.
func (p *process) signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// kill ends the process as a crash would, and returns when it is gone.
func (p *process) kill() {
	_ = p.signal(syscall.SIGKILL) // it may have ended already
	<-p.done
}

// stop asks the process to end, as an operator would, and fails the test when it does not do so within the time.
func (p *process) stop(t testing.TB, within time.Duration) {
	t.Helper()
	if err := p.signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("stop %s: %v", p.name, err)
	}
	select {
	case <-p.done:
	case <-time.After(within):
		p.kill()
		t.Fatalf("%s did not stop within %s of SIGTERM", p.name, within)
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// ending says how the process ended.
func (p *process) ending() string {
	if !p.ended() {
		return "running"
	}
	return p.state.String()
}

func (p *process) output() []byte {
	out, err := os.ReadFile(p.log)
	if err != nil {
		return fmt.Append(nil, err)
	}
	return out
}

func lastLines(text []byte, n int) string {
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// runProcess runs a program to its end and returns its exit code and what it wrote. It fails the test when there is no
// end within a minute.
func runProcess(t testing.TB, stdin, program string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = t.TempDir()
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	err := spawner().Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %s: %v", program, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s %s has not ended within a minute:\n%s%s", program, args, lastLines(out.Bytes(), 20),
			lastLines(errs.Bytes(), 20))
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// eventually tries until there is no error, and fails the test with the last one when there is one after the time.
func eventually(t testing.TB, within time.Duration, goal string, try func() error) {
	t.Helper()
	began := time.Now()
	if err := attempt(within, try); err != nil {
		t.Fatalf("%s: not within %s: %v", goal, time.Since(began).Round(time.Millisecond), err)
	}
}

// attempt tries until there is no error, and returns the last one when there is one after the time. An error that is
// hopeless ends it at once.
func attempt(within time.Duration, try func() error) error {
	deadline := time.Now().Add(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil || errors.As(err, new(hopeless)) || time.Now().After(deadline) {
			return err
		}
		<-tick.C
	}
}

// hopeless is an error that waiting cannot mend.
type hopeless struct{ error }

func (h hopeless) Unwrap() error { return h.error }
