package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"pushquorum/test/local"
)

// size is how much work a run is.
type size struct {
	groups     int // most figures are taken with so many stored
	few, many  int // what the time of a push must not depend on
	checked    int // groups in a Pushgateway that gathers its store on every push
	scale      []int
	memory     int           // groups of one series, and half as many of 20
	window     time.Duration // of one load
	rounds     int           // windows of each, where a ratio matters
	scrapes    int           // of which the median is taken
	pairs      int           // of fresh processes of two builds
	pacedOne   int           // pushes a second into one replica beside snapshots and scrapes
	quick      bool          // too little work for some figures
	pacedThree int           // the same into three: of what they can take at most, about as much
	counted    int           // pushes of which the allocations are counted
	profile    time.Duration
}

func fullSize() size {
	return size{
		groups: 10_000, few: 100, many: 20_000, checked: 1_000, scale: []int{10_000, 100_000}, memory: 200_000,
		window: 3 * time.Second, rounds: 3, scrapes: 7, pairs: 3, pacedOne: 1_000, pacedThree: 300, counted: 5_000,
		profile: 10 * time.Second,
	}
}

// quickSize shows that everything works. Its figures say nothing.
func quickSize() size {
	return size{
		groups: 300, few: 20, many: 300, checked: 30, scale: []int{100, 500}, memory: 1_000,
		window: 300 * time.Millisecond, rounds: 1, scrapes: 3, pairs: 1, pacedOne: 300, pacedThree: 100, counted: 200,
		profile: time.Second, quick: true,
	}
}

// bench is one run.
type bench struct {
	binary string // PushQuorum's
	dir    string // of the servers' data and logs
	peers  peers
	size   size
	out    io.Writer // tells how far it is
	only   *regexp.Regexp

	loadBefore string // what else the machine had to do when the run began
	spawner    *local.Spawner
	ports      local.Ports
	processes  []*process
	started    int

	table   table
	details details
	// gatewayScrapes are the Pushgateway's times by form, of the same run.
	gatewayScrapes map[string]time.Duration
}

func newBench(binary, dir string, s size, out io.Writer) (*bench, error) {
	found, err := findPeers()
	if err != nil {
		return nil, err
	}
	if binary, err = filepath.Abs(binary); err != nil {
		return nil, err
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("no PushQuorum to measure: %w; build it with make build", err)
	}
	return &bench{
		binary: binary, dir: dir, peers: found, size: s, out: out,
		loadBefore: loadAverage(), spawner: local.NewSpawner(), gatewayScrapes: map[string]time.Duration{},
	}, nil
}

// close ends every server.
func (b *bench) close() {
	for _, p := range b.processes {
		p.Kill()
	}
	b.spawner.Close()
}

// stage is a few figures that need the same servers.
type stage struct {
	name string
	run  func(ctx context.Context) error
}

// stages are in the order of the table.
func (b *bench) stages() []stage {
	return []stage{
		{"growth", b.growth},
		{"pushgateway", b.besidePushgateway},
		{"etcd", b.besideEtcd},
		{"memory", b.memory},
		{"scrape", b.scrapes},
		{"disturbed", b.disturbed},
		{"wipe", b.wipe},
		{"restart", b.restarts},
	}
}

// run takes all figures. One that cannot be taken is told in the table and is an error at the end; the others are taken
// nevertheless.
func (b *bench) run(ctx context.Context, stages []stage) error {
	var failed error
	for _, s := range stages {
		if b.only != nil && !b.only.MatchString(s.name) {
			continue
		}
		began := time.Now()
		b.tell("%s …", s.name)
		err := s.run(ctx)
		for _, p := range b.processes {
			if over := p.Ended(); over != nil && !p.Over() && err == nil {
				err = over // by itself, and nothing noticed
			}
			p.Kill()
			_ = os.RemoveAll(filepath.Join(b.dir, p.Name)) // what is left goes with the directory
		}
		b.processes = nil
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", s.name, err)
			b.table.failures = append(b.table.failures, err.Error())
			failed = errors.Join(failed, err)
		}
		b.tell("%s: %.0f s", s.name, time.Since(began).Seconds())
	}
	return failed
}

func (b *bench) tell(format string, args ...any) {
	_, _ = fmt.Fprintf(b.out, "load: "+format+"\n", args...) // no one is left to be told that it could not be told
}

// contestant is a service under a load, and what has come of it so far.
type contestant struct {
	service service
	drive   *drive
	tally   *tally
}

// connect readies n clients for the service, which holds as many groups.
func (b *bench) connect(ctx context.Context, s service, n, groups int, work string) (contestant, error) {
	d, err := newDrive(ctx, s, n, groups)
	return contestant{s, d, b.details.tally(s, work)}, err
}

// fill stores the groups, 64 at a time, and waits until the service has nothing left to do.
func (b *bench) fill(ctx context.Context, s service, groups int) error {
	d, err := newDrive(ctx, s, 64, groups)
	if err != nil {
		return err
	}
	defer d.close()
	o, err := d.fill()
	if err != nil {
		return fmt.Errorf("filling %s: %w", s.title(), err)
	}
	b.tell("  %s: %d groups in %.1f s", s.title(), groups, o.elapsed.Seconds())
	return quiet(ctx, s.processes()...)
}

// window puts the load on one contestant for a time, when all of them have come to rest.
func (b *bench) window(
	ctx context.Context, c contestant, all []contestant, load func(*drive) (outcome, error),
) (outcome, error) {
	for _, each := range all {
		if err := quiet(ctx, each.service.processes()...); err != nil {
			return outcome{}, err
		}
	}
	own, err := cpuTimeOf(os.Getpid())
	if err != nil {
		return outcome{}, err
	}
	server, err := cpuTime(c.service.processes()...)
	if err != nil {
		return outcome{}, err
	}
	o, err := load(c.drive)
	if err != nil {
		return o, fmt.Errorf("%s, %s: %w", c.service.title(), c.tally.work, err)
	}
	serverAfter, err := cpuTime(c.service.processes()...)
	if err != nil {
		return o, err
	}
	ownAfter, err := cpuTimeOf(os.Getpid())
	if err != nil {
		return o, err
	}
	c.tally.add(o, serverAfter-server, ownAfter-own)
	return o, nil
}

// alternate puts the same load on all contestants, one at a time and in turn, each round in the opposite order to the
// last: what changes on the machine meanwhile, changes for all of them.
func (b *bench) alternate(ctx context.Context, rounds int, all ...contestant) error {
	defer func() {
		for _, c := range all {
			c.drive.close()
		}
	}()
	for round := range rounds {
		for i := range all {
			if round%2 == 1 {
				i = len(all) - 1 - i
			}
			closed := func(d *drive) (outcome, error) { return d.closed(b.size.window) }
			if _, err := b.window(ctx, all[i], all, closed); err != nil {
				return err
			}
		}
	}
	for _, c := range all {
		b.tell("  %-36s %-14s %10s  p50 %9s  p99 %9s", c.tally.service, c.tally.work, c.tally.rate(),
			c.tally.quantile(0.5), c.tally.quantile(0.99))
	}
	return nil
}

// clients is how many push at a time, in words.
func clients(n int) string { return fmt.Sprintf("c=%d", n) }
