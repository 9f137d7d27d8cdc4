package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"
)

// plan is one run of the harness.
type plan struct {
	seed     uint64
	duration time.Duration
	faults   string // names, comma-separated; "": all
	replicas int
	binary   string
	dir      string // for logs and pictures
	target   string // of make
}

func (p plan) String() string {
	faults := p.faults
	if faults == "" {
		faults = "all"
	}
	return fmt.Sprintf("seed %d, %s, %d replicas, faults: %s", p.seed, p.duration, p.replicas, faults)
}

// again is the command that repeats the run.
func (p plan) again() string {
	text := fmt.Sprintf("make %s SEED=%d DURATION=%s REPLICAS=%d", p.target, p.seed, p.duration, p.replicas)
	if p.faults != "" {
		text += " FAULTS=" + p.faults
	}
	return text
}

// outcome is what a run found.
type outcome struct {
	violations []string
	undecided  int
	first      time.Duration // when the first violation was found
}

func (o outcome) good() bool { return len(o.violations) == 0 && o.undecided == 0 }

// run starts a cluster, lets clients use it and the nemesis attack it, and checks what the clients saw. An error is of
// the harness, or of the machine.
func run(ctx context.Context, p plan, m machine, out io.Writer) (outcome, error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return outcome{}, err
	}
	chance := rand.New(rand.NewPCG(p.seed, 1))
	c, err := newCluster(p.binary, p.dir, p.replicas, m, chance, out)
	if err != nil {
		return outcome{}, err
	}
	defer c.close()
	faults, err := chooseFaults(c, p.faults)
	if err != nil {
		return outcome{}, err
	}
	if err := c.startAll(startWithin); err != nil {
		return outcome{}, fmt.Errorf("the cluster does not even start: %w", err)
	}
	c.note("%d replicas are ready", len(c.members()))

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	load, stopLoad := context.WithCancel(ctx)
	defer stopLoad()
	reader := func(id int) *scraper {
		return &scraper{id: id, c: c, asker: newAsker(), chance: rand.New(rand.NewPCG(p.seed, uint64(100+id)))}
	}
	var clients, watching sync.WaitGroup
	gs := &groups{c: c, prefix: fmt.Sprintf("chaos-%d", p.seed)}
	for i := range writers {
		w := &writer{
			id: i, c: c, groups: gs, asker: newAsker(), chance: rand.New(rand.NewPCG(p.seed, uint64(10+i))),
			reader: reader(i),
		}
		clients.Go(func() { w.run(load) })
	}
	for i := range scrapers {
		s := reader(writers + i)
		clients.Go(func() { s.run(load) })
	}
	watcher := &watch{c: c, hashes: map[uint64]map[string][]string{}}
	watching.Go(func() { watcher.run(ctx) })

	j := &judge{c: c, dir: p.dir, found: map[*group]bool{}}
	watching.Go(func() { j.run(load) })

	n := &nemesis{c: c, chance: chance, asker: newAsker(), faults: faults, happened: map[string]int{}}
	err = n.run(ctx, time.Now().Add(p.duration))
	stopLoad()
	clients.Wait()
	if err == nil && ctx.Err() == nil && !c.broken() {
		if err := watcher.agree(reader(writers + scrapers)); err != nil {
			c.violate("at the end: %v", err)
		}
	}
	cancel()
	watching.Wait()
	if err != nil {
		return outcome{}, err
	}
	j.all()
	c.note("clients: %s", c.history.figures())
	c.note("state hashes: %d indexes seen, %d on more than one replica", len(watcher.hashes), watcher.compared)
	c.note("faults: %d episodes%s; until all was well: %s", n.episodes, n.figures(), n.gaps())
	return outcome{c.violations, j.undecided, c.firstViolation}, nil
}

// broken says whether the cluster is known not to come back, so that waiting for it is of no use.
func (c *cluster) broken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.violations) > 0
}

func (n *nemesis) figures() string {
	text := ""
	for _, name := range slices.Sorted(maps.Keys(n.happened)) {
		text += fmt.Sprintf(", %s %d", name, n.happened[name])
	}
	return text
}

// gaps is how long the calms took.
func (n *nemesis) gaps() string {
	if len(n.calms) == 0 {
		return "never"
	}
	sorted := slices.Sorted(slices.Values(n.calms))
	return fmt.Sprintf("median %.1f s, longest %.1f s",
		sorted[len(sorted)/2].Seconds(), sorted[len(sorted)-1].Seconds())
}
