package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
)

// options are what the command line says.
type options struct {
	image    string // in the local docker engine
	programs string // where the cluster's programs are
	dir      string // where logs and volumes go
	chart    string
	steps    *regexp.Regexp
	hold     bool
}

func main() { os.Exit(run()) }

func run() int {
	var o options
	flag.StringVar(&o.image, "image", "pushquorum", "the image under test, of the local docker engine")
	flag.StringVar(&o.programs, "programs", "bin/kubernetes",
		"the cluster's programs, as test/kubernetes/build/build makes them")
	flag.StringVar(&o.dir, "dir", "bin/kubernetes-run", "where logs and volumes go: a directory on a disk")
	flag.StringVar(&o.chart, "chart", "deploy/helm/pushquorum", "the chart under test")
	flag.BoolVar(&o.hold, "hold", false, "keep the cluster at the end, until Ctrl-C")
	stepsLike := flag.String("steps", "", "regular expression of steps; empty: all")
	flag.Parse()
	err := error(nil)
	if o.steps, err = regexp.Compile(*stepsLike); err == nil {
		for _, path := range []*string{&o.programs, &o.dir, &o.chart} {
			if *path, err = filepath.Abs(*path); err != nil {
				break
			}
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "kubernetes: %v\n", err)
		return 2
	}
	switch os.Getenv(stageVariable) {
	case stageReaper:
		return reap()
	case stageWork:
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
		defer stop()
		return work(ctx, o)
	}
	return enter(o)
}

// work brings the cluster up and takes the steps. Nothing is brought down: the end of the namespaces is the end of all
// in them.
func work(ctx context.Context, o options) int {
	t := newTable(os.Stdout)
	c := newCluster(o)
	if err := c.up(ctx, t); err != nil {
		t.fail(err)
		return 2
	}
	takeSteps(ctx, &trial{cluster: c, table: t, chart: o.chart}, o.steps)
	if o.hold && ctx.Err() == nil {
		t.line("the cluster is there until Ctrl-C: nsenter --target $(pgrep -f kube-apiserver) --net --mount --pid "+
			"env KUBECONFIG=%s %s",
			c.kubeconfig(), c.program("kubectl"))
		<-ctx.Done()
	}
	t.summary()
	if ctx.Err() != nil {
		t.line("ended by a signal")
		return 1
	}
	if t.bad() > 0 {
		t.line("logs are in %s", filepath.Join(o.dir, "logs"))
		return 1
	}
	return 0
}
