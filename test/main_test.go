package test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// builtVersion is what the binary under test is told to call itself.
const builtVersion = "0.0.0-e2e"

// scratch holds the binaries of one run.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	// The go tool caches the result of a test until a file that the test looked at has changed. These tests depend on
	// every source file, by way of the binary, and so look at each.
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil ||
			!strings.HasSuffix(path, ".go") && entry.Name() != "go.mod" && !strings.HasPrefix(path, "clients/") {
			return err
		}
		_, err = os.Stat(path)
		return err
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "look at the source:", err)
		return 1
	}
	scratch, err = os.MkdirTemp("", "pushquorum-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := os.RemoveAll(scratch); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

// binary is the program under test: PUSHQUORUM_BIN, or else built once for the run, with the race detector where the
// tests have it.
func binary(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("long, because it starts real processes and waits for them")
	}
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var build = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("PUSHQUORUM_BIN"); path != "" {
		return filepath.Abs(path)
	}
	path := filepath.Join(scratch, "pushquorum")
	args := []string{
		"build", "-buildvcs=false", "-o", path,
		"-ldflags", "-X github.com/prometheus/common/version.Version=" + builtVersion,
	}
	if underRace {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "pushquorum/cmd/pushquorum")...)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the binary under test: %w\n%s", err, out)
	}
	return path, nil
})
