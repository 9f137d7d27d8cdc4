package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// options is the command line.
type options struct {
	binary   string
	against  string
	mode     string
	quick    bool
	only     string
	results  string
	profiles string

	serve, listen string // for the generator itself, as the server of pages from memory
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "bin/pushquorum", "the PushQuorum to measure")
	flag.StringVar(&o.against, "against", "", "another PushQuorum, for -mode=paired")
	flag.StringVar(&o.mode, "mode", "bench",
		"bench: beside the peers; scale: how it grows; paired: beside another build; profile: CPU and allocation "+
			"profiles under load")
	flag.BoolVar(&o.quick, "quick", false,
		"a run of seconds that shows that everything works; its figures say nothing and are not kept")
	flag.StringVar(&o.only, "only", "", "a regular expression: only these stages, whose figures are not kept")
	flag.StringVar(&o.results, "results", "", "file that keeps the figures; empty: only shown")
	flag.StringVar(&o.profiles, "profiles", "bin/profiles", "directory for -mode=profile")
	flag.StringVar(&o.serve, "serve", "", "(internal) serve the pages of this directory from memory")
	flag.StringVar(&o.listen, "listen", "", "(internal) address for -serve")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := o.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "load: %v\n", err)
		os.Exit(1)
	}
}

func (o options) run(ctx context.Context) error {
	if o.serve != "" {
		return serveMemory(ctx, o.listen, o.serve)
	}
	dir, err := os.MkdirTemp("", "pushquorum-load-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	amount := fullSize()
	if o.quick {
		amount = quickSize()
	}
	b, err := newBench(o.binary, dir, amount, os.Stderr)
	if err != nil {
		return err
	}
	defer b.close()
	if o.only != "" {
		if b.only, err = regexp.Compile(o.only); err != nil {
			return fmt.Errorf("-only: %w", err)
		}
	}
	switch o.mode {
	case "bench":
		return o.report(b, benchSection, "PushQuorum", b.run(ctx, b.stages()))
	case "scale":
		ours := fmt.Sprintf("%s groups", whole(b.size.scale[1]))
		return o.report(b, scaleSection, ours, b.run(ctx, b.scaleStages()))
	case "paired":
		against, err := filepath.Abs(o.against)
		if err != nil {
			return err
		}
		if _, err := os.Stat(against); err != nil || o.against == "" {
			return fmt.Errorf("-against=%q is no other build of PushQuorum: build one and give the path of its binary",
				o.against)
		}
		return o.report(b, "", "this build", b.run(ctx, b.pairedStages(against)))
	case "profile":
		return b.run(ctx, b.profileStages(o.profiles))
	default:
		return fmt.Errorf("-mode=%s is unknown: use bench, scale, paired or profile", o.mode)
	}
}

// report shows the figures, and keeps those of a whole run in which nothing failed.
func (o options) report(b *bench, section, ours string, failed error) error {
	text := b.machine(time.Now()) + "\n" + b.table.markdown(ours) + "\n" + b.details.markdown()
	fmt.Println("\n" + text)
	if os.Getenv("PUSHQUORUM_REQUIRE_PEERS") == "1" {
		for _, r := range b.table.rows {
			if r.missing != nil {
				failed = errors.Join(failed, r.missing)
				break
			}
		}
	}
	if failed != nil || o.results == "" || o.quick || o.only != "" {
		return failed
	}
	return keepResults(o.results, section, text)
}
