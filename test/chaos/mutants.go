package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// mutant is a bug that is planted to see whether the harness finds it. Its edits are made in copies of the source,
// which `go build -overlay` takes in the place of the files: the source itself has no hooks, and no release can contain
// one.
type mutant struct {
	name, what string
	edits      []edit
	// How it is looked for: each seed in turn, until one finds it.
	faults   string
	duration time.Duration
	seeds    []uint64
	replicas int // 3 unless it says something else
	// test is the Go test that must fail instead, by name, where processes meet the moment that it takes too rarely or
	// cannot see that it is wrong. It is looked for in packages, as `go test` takes them: ./cluster/... unless it says
	// something else.
	test, packages string
}

// edit replaces a text that the file must hold exactly once.
type edit struct{ file, old, new string }

// tag is the build tag that every file of a mutant carries: without it the build fails, so that nothing but the harness
// can build one.
func (m mutant) tag() string { return "mutant_" + strings.ReplaceAll(m.name, "-", "_") }

// build builds the mutant from the source in root and returns the binary.
func (m mutant) build(ctx context.Context, root, dir string) (string, error) {
	list, err := m.overlay(root, dir)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "pushquorum")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-tags", m.tag(), "-overlay", list, "-o",
		binary, "./cmd/pushquorum")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build mutant %s: %w\n%s", m.name, err, out)
	}
	return binary, nil
}

// overlay writes the changed files to dir, and the list of them that the go tool wants. It is an error if an edit does
// not fit the source in root any more: then the mutant must be adapted, not left out.
func (m mutant) overlay(root, dir string) (string, error) {
	files := map[string][]byte{}
	for _, e := range m.edits {
		text, ok := files[e.file]
		if !ok {
			var err error
			if text, err = os.ReadFile(filepath.Join(root, e.file)); err != nil {
				return "", fmt.Errorf("mutant %s: %w", m.name, err)
			}
		}
		if n := bytes.Count(text, []byte(e.old)); n != 1 {
			return "", fmt.Errorf("mutant %s no longer fits %s, which holds %d times and not once:\n%s\nadapt it in "+
				"test/chaos/mutants_table.go", m.name, e.file, n, e.old)
		}
		files[e.file] = bytes.Replace(text, []byte(e.old), []byte(e.new), 1)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for file, text := range files {
		copied := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		text = append([]byte("//go:build "+m.tag()+"\n\n"), text...)
		if err := os.WriteFile(copied, text, 0o600); err != nil {
			return "", err
		}
		overlay.Replace[filepath.Join(root, file)] = copied
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	list := filepath.Join(dir, "overlay.json")
	return list, os.WriteFile(list, text, 0o600)
}

// hunt builds each mutant and lets the harness look for it. It returns an error if one is not found.
func hunt(ctx context.Context, names, root, dir string, m machine, out io.Writer) error {
	var lines, missed []string
	for _, bug := range mutants() {
		if names != "all" && !strings.Contains(","+names+",", ","+bug.name+",") {
			continue
		}
		_, _ = fmt.Fprintf(out, "=== mutant %s: %s\n", bug.name, bug.what)
		home := filepath.Join(dir, bug.name)
		if err := os.RemoveAll(home); err != nil {
			return err
		}
		line, err := bug.hunt(ctx, root, home, m, out)
		if err != nil {
			return err
		}
		if line == "" {
			missed = append(missed, bug.name)
			line = "NOT FOUND"
		}
		lines = append(lines, fmt.Sprintf("%-22s %s", bug.name, line))
		_, _ = fmt.Fprintf(out, "=== mutant %s: %s\n\n", bug.name, line)
	}
	if len(lines) == 0 {
		return fmt.Errorf("there is no mutant %q", names)
	}
	_, _ = fmt.Fprintln(out, strings.Join(lines, "\n"))
	if len(missed) > 0 {
		return fmt.Errorf("%d planted bugs were not found: %s", len(missed), strings.Join(missed, ", "))
	}
	return nil
}

// hunt returns how the mutant was found, "" if it was not.
func (m mutant) hunt(ctx context.Context, root, dir string, on machine, out io.Writer) (string, error) {
	if m.test != "" {
		return m.tryTest(ctx, root, dir)
	}
	binary, err := m.build(ctx, root, dir)
	if err != nil {
		return "", err
	}
	return m.trySeeds(ctx, binary, dir, on, out)
}

// tryTest runs the test against the mutant. That `go test` fails is not enough, because what does not compile fails as
// well, and that it succeeds is not, because a test that is not there is not run.
func (m mutant) tryTest(ctx context.Context, root, dir string) (string, error) {
	list, err := m.overlay(root, dir)
	if err != nil {
		return "", err
	}
	began := time.Now()
	cmd := exec.CommandContext(ctx, "go", "test", "-v", "-vet=off", "-count=1", "-tags", m.tag(), "-overlay", list,
		"-run", "^"+m.test+"$", cmp.Or(m.packages, "./cluster/..."))
	cmd.Dir = root
	said, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case bytes.Contains(said, []byte("--- FAIL: "+m.test+" ")):
		return fmt.Sprintf("found by %s in %.0f s", m.test, time.Since(began).Seconds()), nil
	case err == nil && bytes.Contains(said, []byte("--- PASS: "+m.test+" ")):
		return "", nil
	}
	return "", fmt.Errorf("mutant %s: %s was not run: %w\n%s", m.name, m.test, err, said)
}

// trySeeds runs the mutant with one seed after the other.
func (m mutant) trySeeds(ctx context.Context, binary, dir string, on machine, out io.Writer) (string, error) {
	began := time.Now()
	for _, seed := range m.seeds {
		p := plan{
			seed: seed, duration: m.duration, faults: m.faults, replicas: max(m.replicas, 3), binary: binary,
			dir: filepath.Join(dir, fmt.Sprintf("seed-%d", seed)),
		}
		_, _ = fmt.Fprintf(out, "=== %s\n", p)
		found, err := run(ctx, p, on, out)
		switch {
		case ctx.Err() != nil:
			return "", ctx.Err()
		case err != nil:
			return "", fmt.Errorf("mutant %s, seed %d: %w", m.name, seed, err)
		case len(found.violations) > 0:
			first, _, _ := strings.Cut(found.violations[0], ";")
			first, _, _ = strings.Cut(first, "\n")
			return fmt.Sprintf("found with seed %d after %.0f s (%.0f s with the seeds before): %s",
				seed, found.first.Seconds(), time.Since(began).Seconds(), first), nil
		}
	}
	return "", nil
}
