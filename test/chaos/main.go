package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// requireVariable is set where nothing may be left out, as it is for the other tests.
const requireVariable = "PUSHQUORUM_REQUIRE_PEERS"

func main() {
	if os.Getenv(idleVariable) != "" {
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	seeds := flag.String("seeds", "1,2,3,4", "seeds, comma-separated: one run each")
	duration := flag.Duration("duration", time.Minute, "how long faults happen in each run")
	faults := flag.String("faults", "", "names of faults, comma-separated; empty: all that are possible here")
	replicas := flag.Int("replicas", 3, "number of replicas")
	binary := flag.String("binary", "bin/pushquorum", "the program under test")
	dir := flag.String("dir", "bin/chaos-runs", "where logs and pictures go")
	loopback := flag.Bool("loopback", false, "use no namespaces, even where the machine has them")
	keep := flag.Bool("keep", false, "keep the logs of runs without a violation, too")
	mutants := flag.String("mutants", "",
		"build the mutants with these names, or all, and look for them instead of running -binary")
	image := flag.String("image", "", "run containers of this image, with docker, instead of -binary")
	list := flag.Bool("list", false, "list the faults and stop")
	flag.Parse()
	if *list {
		for _, f := range allFaults() {
			fmt.Printf("%-10s %s\n", f.name, f.text)
		}
		return
	}
	inside, why := false, error(nil)
	switch {
	case *image != "":
		why = errors.New("--image was given")
	case *loopback:
		why = errors.New("--loopback was given")
	default:
		var code int
		if inside, code, why = enter(); why == nil && !inside {
			os.Exit(code)
		}
	}
	p := plan{duration: *duration, faults: *faults, replicas: *replicas, binary: *binary, dir: *dir, target: "chaos"}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	m := look(inside, why)
	if *image != "" {
		m = containerised(*image)
		p.target = "chaos-docker"
	}
	m.report(os.Stdout)
	var code int
	if err := m.lacks(); err != nil && m.image == "" && os.Getenv(requireVariable) != "" {
		fmt.Fprintf(os.Stderr, "chaos: %s is set, and faults would be left out: %v\n", requireVariable, err)
		os.Exit(2)
	}
	if *mutants != "" {
		code = huntAll(ctx, *mutants, *dir, m)
	} else {
		code = runAll(ctx, p, *seeds, *keep, m)
	}
	stop()
	os.Exit(code)
}

// huntAll looks for planted bugs and returns the exit code: 0 when all were found.
func huntAll(ctx context.Context, names, dir string, m machine) int {
	root, err := filepath.Abs(".")
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err == nil {
		err = hunt(ctx, names, root, filepath.Join(dir, "mutants"), m, os.Stdout)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "chaos: %v\n", err)
		return 1
	}
	return 0
}

// runAll runs one seed after the other and returns the exit code: 0 when all is well, 1 for a violation, 2 for a
// harness that could not do its work.
func runAll(ctx context.Context, p plan, seeds string, keep bool, m machine) int {
	fail := func(err error) int {
		fmt.Fprintf(os.Stderr, "chaos: %v\n", err)
		return 2
	}
	var err error
	if p.binary, err = filepath.Abs(p.binary); err != nil {
		return fail(err)
	}
	if p.dir, err = filepath.Abs(p.dir); err != nil {
		return fail(err)
	}
	top, bad := p.dir, 0
	for text := range strings.SplitSeq(seeds, ",") {
		if p.seed, err = strconv.ParseUint(strings.TrimSpace(text), 10, 64); err != nil {
			return fail(fmt.Errorf("seed %q: %w", text, err))
		}
		p.dir = filepath.Join(top, fmt.Sprintf("seed-%d", p.seed))
		if err := os.RemoveAll(p.dir); err != nil {
			return fail(err)
		}
		fmt.Printf("=== %s\n", p)
		began := time.Now()
		found, err := run(ctx, p, m, os.Stdout)
		switch {
		case err != nil:
			fmt.Printf("=== %s: the harness failed; logs in %s; again: %s\n", p, p.dir, p.again())
			return fail(err)
		case ctx.Err() != nil:
			fmt.Printf("=== %s: interrupted\n", p)
			return 2
		case found.good():
			fmt.Printf("=== %s: good, %.0f s\n\n", p, time.Since(began).Seconds())
			if !keep {
				_ = os.RemoveAll(p.dir)
			}
		default:
			bad++
			fmt.Printf("=== %s: FAILED after %.0f s: %d violations, %d groups undecided; logs in %s\n=== again: %s\n\n",
				p, time.Since(began).Seconds(), len(found.violations), found.undecided, p.dir, p.again())
		}
	}
	if bad > 0 {
		return 1
	}
	return 0
}
