package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pushquorum/test/golden"
)

// asProgram makes this test binary the program, for what a process does as a whole.
const asProgram = "PUSHQUORUM_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	main()
}

// start is a command line that cannot work.
type start struct {
	name string
	args []string // {taken} is an address at which somebody listens, {next} one whose next port is
	// value and mend must occur in the line.
	value, mend string
	files       map[string]string
	env         []string
	before      func(t *testing.T, dir string) // what is to be so before
	// late are errors that can come only when the data directory has been opened.
	late bool
	// unprivileged rows are run by a user to whom nothing belongs.
	unprivileged bool
}

// TestGoldenStart holds whatever a start can fail with to one line, that says what is wrong and what to write instead,
// and comes before anything was opened. All of them are in testdata/start.golden.
func TestGoldenStart(t *testing.T) {
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	rows := slices.Concat(flagStarts, webStarts, fileStarts, clusterStarts, directoryStarts, recoverStarts)
	lines := make([]string, len(rows))
	t.Run("rows", func(t *testing.T) {
		for i, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				lines[i] = row.line(t, taken.Addr().(*net.TCPAddr).Port)
			})
		}
	})
	var file strings.Builder
	file.WriteString("Command lines that cannot work, and the one line that the program ends with (exit code 1).\n")
	for i, row := range rows {
		fmt.Fprintf(&file, "\n%s\n$ pushquorum %s\n", row.name, strings.Join(row.shownArgs(), " "))
		for _, name := range slices.Sorted(maps.Keys(row.files)) {
			fmt.Fprintf(&file, "  with %s: %q\n", name, row.files[name])
		}
		fmt.Fprintf(&file, "  %s\n", lines[i])
	}
	golden.Compare(t, "testdata/start.golden", file.String())
}

func (s start) shownArgs() []string {
	out := slices.Clone(s.args)
	for i, arg := range out {
		out[i] = shown(arg)
	}
	return out
}

// line starts the program, and returns what it ends with, in words that are the same on every machine.
func (s start) line(t *testing.T, taken int) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { //nolint:gosec // for the user that a row becomes
		t.Fatal(err)
	}
	for name, content := range s.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if s.before != nil {
		s.before(t, dir)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	at, next := fmt.Sprintf("127.0.0.1:%d", taken), fmt.Sprintf("127.0.0.1:%d", taken-1)
	args := slices.Clone(s.args)
	if !slices.ContainsFunc(args, func(arg string) bool { return strings.Contains(arg, "web.listen-address") }) {
		args = append([]string{"--web.listen-address=127.0.0.1:0"}, args...)
	}
	for i, arg := range args {
		args[i] = strings.NewReplacer("{taken}", at, "{next}", next).Replace(arg)
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	if exe, err := os.Executable(); err != nil {
		t.Fatal(err)
	} else if _, err := os.Stat(cmd.Path); err != nil {
		cmd.Path = exe
	}
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), asProgram+"=1"), s.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	becomeAnother(cmd, s)
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("%v: want exit code 1, got %v:\n%s", s.args, err, &out)
	}
	var said []string
	for line := range strings.Lines(out.String()) {
		if !strings.Contains(line, "level=info") && !strings.Contains(line, "level=warn") {
			said = append(said, strings.TrimSuffix(line, "\n"))
		}
	}
	text, ok := strings.CutPrefix(strings.Join(said, "\n"), "pushquorum: error: ")
	if !ok {
		t.Fatalf("%v: want a line that begins with pushquorum: error, got\n%s", s.args, &out)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "raft.db")); err == nil != s.late {
		t.Errorf("%v: has a data directory been opened? %t, want %t", s.args, err == nil, s.late)
	}
	text = strings.NewReplacer(at, "{taken}", next, "{next}", dir, "{dir}").Replace(text)
	for pattern, stands := range map[string]string{
		`user [1-9]\d*, group \d+`: "user UID, group GID", `chown( -R)? [1-9]\d*`: "chown$1 UID",
		`fsGroup: [1-9]\d*`:              "fsGroup: GID",
		`belongs to user \d+, group \w+`: "belongs to user OWNER, group GROUP", `may have \d+`: "may have N",
	} {
		text = regexp.MustCompile(pattern).ReplaceAllString(text, stands)
	}
	if err := (golden.Line{Text: text, Value: s.value, Mend: s.mend}).Check(); err != nil {
		t.Errorf("%v: %v\n%s", s.args, err, text)
	}
	return text
}

// neverWrong are the flags that take every value.
var neverWrong = []string{
	"help", "version", "web.enable-lifecycle", "web.enable-admin-api", "push.disable-consistency-check",
	"push.enable-utf8-names",
	"auto-gomemlimit",  // they take none
	"web.route-prefix", // a path, with a slash in front or without
}

// TestEveryFlagIsInARow: whoever adds a flag says what it answers to a value that cannot be.
func TestEveryFlagIsInARow(t *testing.T) {
	o, err := parseOptions(nil)
	if err != nil {
		t.Fatal(err)
	}
	named := slices.Clone(neverWrong)
	for _, row := range slices.Concat(flagStarts, webStarts, fileStarts, clusterStarts, directoryStarts,
		recoverStarts) {
		for _, arg := range row.args {
			name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
			named = append(named, name)
		}
	}
	for flag := range o.shown {
		if !slices.Contains(named, flag) {
			t.Errorf("no row has --%s: add one with a value that it cannot have, or the flag to those that take "+
				"every one", flag)
		}
	}
}
