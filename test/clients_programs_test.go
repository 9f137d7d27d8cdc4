package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// pusher is a client by its own code: a small program in clients/, all of which understand the command line of
// clients/README.md.
type pusher struct {
	name string
	// program makes the program, in an empty directory, and returns its command line. It is called once.
	program func(sources, dir string) ([]string, error)
	// swapped: what the client calls Push is a POST, and what it calls PushAdd a PUT.
	swapped bool
}

// absent is the error of a client that is not installed.
type absent struct{ program, mend string }

func (a absent) Error() string { return a.program + " is missing; " + a.mend }

// todaysClients are the clients that take the answers of today.
func todaysClients() []*pusher {
	return []*pusher{
		{name: "client_golang", program: func(sources, dir string) ([]string, error) {
			program := filepath.Join(dir, "client")
			return []string{program}, tool(filepath.Join(sources, "golang"), "go", "build", "-o", program, ".")
		}},
		{name: "client_python", program: func(sources, dir string) ([]string, error) {
			if tool(dir, python, "-c", "import prometheus_client") != nil {
				return nil, absent{"prometheus_client for " + python, "Debian has it in: python3-prometheus-client"}
			}
			return []string{python, filepath.Join(sources, "python", "client.py")}, nil
		}},
		{name: "prometheus-cpp", swapped: true, program: func(sources, dir string) ([]string, error) {
			program := filepath.Join(dir, "client")
			libraries := []string{"-lprometheus-cpp-push", "-lprometheus-cpp-core"}
			err := tool(filepath.Join(sources, "cpp"), "g++",
				append([]string{"-o", program, "client.cc"}, libraries...)...)
			if err != nil && strings.Contains(err.Error(), "prometheus/gateway.h: No such file") {
				err = absent{"prometheus-cpp", "Debian has it in: prometheus-cpp-dev"}
			}
			return []string{program}, err
		}},
		{name: "HttpURLConnection", program: func(sources, dir string) ([]string, error) {
			line := []string{"java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", dir, "Client"}
			return line, tool(filepath.Join(sources, "java"), "javac", "-d", dir, "Client.java")
		}},
		{name: "curl", program: shell("curl")},
		{name: "wget", program: shell("wget")},
	}
}

// clientGolang2019 takes nothing but 202 for success.
func clientGolang2019() *pusher {
	return &pusher{name: "client_golang-1.1.0", program: func(sources, dir string) ([]string, error) {
		module := filepath.Join(sources, "golang-1.1.0")
		if err := tool(module, "go", "mod", "download"); err != nil {
			return nil, absent{"the Go module client_golang 1.1.0", err.Error()}
		}
		program := filepath.Join(dir, "client")
		return []string{program}, tool(module, "go", "build", "-o", program, ".")
	}}
}

func shell(client string) func(sources, dir string) ([]string, error) {
	return func(sources, _ string) ([]string, error) {
		if _, err := exec.LookPath(client); err != nil {
			return nil, absent{client, "Debian has it in: " + debianPackage(client)}
		}
		return []string{"sh", filepath.Join(sources, "shell", "client.sh"), client}, nil
	}
}

// tool runs what a program is made with.
func tool(dir, name string, args ...string) error {
	path, err := exec.LookPath(name)
	if err != nil {
		return absent{name, "Debian has it in: " + debianPackage(name)}
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

// programs are the command lines that were made in this run, by the name of the client.
var programs struct {
	sync.Mutex
	made map[string]func() ([]string, error)
}

// line is the command line of the client's program. The test skips when the client is not installed, or fails where it
// is required.
func (p *pusher) line(t *testing.T) []string {
	t.Helper()
	programs.Lock()
	if programs.made == nil {
		programs.made = map[string]func() ([]string, error){}
	}
	once := programs.made[p.name]
	if once == nil {
		once = sync.OnceValues(p.make)
		programs.made[p.name] = once
	}
	programs.Unlock()
	line, err := once()
	if a := (absent{}); errors.As(err, &a) {
		missing(t, a.program, a.mend)
	}
	if err != nil {
		t.Fatalf("make the program of %s: %v", p.name, err)
	}
	return line
}

func (p *pusher) make() ([]string, error) {
	sources, err := filepath.Abs("clients")
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(scratch, "clients", p.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return p.program(sources, dir)
}

// How a client ends, as its exit code says.
const (
	taken      = 0 // the client takes the answer for success
	refused    = 1 // it has read an answer that is none
	unanswered = 2 // it has read no answer
	unsent     = 3 // it has sent nothing
)

// told is what a client tells its user.
type told struct {
	code int
	line string // the last one printed: "taken", or one of the other words, and why
}

// status is the HTTP status of a refusal.
func (o told) status() int {
	fields := strings.Fields(o.line)
	if o.code != refused || len(fields) < 2 {
		return 0
	}
	status, _ := strconv.Atoi(fields[1]) // 0 is no status
	return status
}

// run runs the client once. It may be called from any goroutine of the test.
func (p *pusher) run(t testing.TB, line []string, metrics, action, url, job string, labels ...string) told {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*clientTimeout)
	defer cancel()
	args := append(append(line[1:len(line):len(line)], action, url, job), labels...)
	cmd := exec.CommandContext(ctx, line[0], args...)
	// Java reads its arguments as the locale says, and wget writes them so.
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(metrics), &out, &errs
	err := spawner().Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Errorf("run %s: %v", cmd, err)
		return told{code: -1}
	}
	o := told{code: cmd.ProcessState.ExitCode(), line: lastLines(out.Bytes(), 1)}
	if o.code < taken || o.code > unsent || errs.Len() > 0 {
		t.Errorf("%s: exit code %d, %v\n%s%s", cmd, o.code, ctx.Err(), out.Bytes(), errs.Bytes())
	}
	return o
}
