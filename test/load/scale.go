package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// grown is what was measured at one size.
type grown struct {
	rate, p50, p99 figure
	scrapes        map[string][2]figure // by form: unchanged, and after some pushes
	memory         memory               // of the largest replica
	snapshot       figure
	restart        figure
}

// scaleStages measure the same at two sizes, first one replica and then three.
func (b *bench) scaleStages() []stage {
	return []stage{
		{"one", func(ctx context.Context) error { return b.scale(ctx, "one replica", b.startOne) }},
		{"three", func(ctx context.Context) error { return b.scale(ctx, "three replicas", b.startThree) }},
	}
}

func (b *bench) scale(ctx context.Context, name string, start func(context.Context, ...string) (*web, error)) error {
	small, err := b.atSize(ctx, b.size.scale[0], start)
	if err != nil {
		return err
	}
	large, err := b.atSize(ctx, b.size.scale[1], start)
	if err != nil {
		return err
	}
	// Nothing may grow faster than what is stored, and pushes not at all; a tenth is what two runs of the same differ
	// by.
	linear := bar{kind: atMostTimes, limit: 1.1 * float64(b.size.scale[1]) / float64(b.size.scale[0])}
	flat := bar{kind: atMostTimes, limit: 1.2}
	peer := fmt.Sprintf("%s groups", whole(b.size.scale[0]))
	add := func(measured string, large, small figure, limit bar) {
		b.table.add(row{name: name + ": " + measured, ours: large, peer: peer, theirs: small, bar: limit})
	}
	add("push rate, c=64", large.rate, small.rate, bar{kind: atLeastTimes, limit: 0.9})
	add("push p50, c=64", large.p50, small.p50, flat)
	add("push p99, c=64", large.p99, small.p99, flat)
	for _, f := range forms() {
		add("scrape, "+f.name, large.scrapes[f.name][0], small.scrapes[f.name][0], linear)
		add(fmt.Sprintf("scrape, %s, after %d pushes", f.name, changes), large.scrapes[f.name][1],
			small.scrapes[f.name][1], linear)
	}
	add("resident memory after scrapes in three forms", bytesOf(large.memory.now), bytesOf(small.memory.now), linear)
	add("… at most, since the start", bytesOf(large.memory.most), bytesOf(small.memory.most), linear)
	add("snapshot", large.snapshot, small.snapshot, linear)
	add("restart to ready", large.restart, small.restart, linear)
	return nil
}

func (b *bench) atSize(
	ctx context.Context, groups int, start func(context.Context, ...string) (*web, error),
) (g grown, err error) {
	w, err := start(ctx)
	if err != nil {
		return g, err
	}
	defer b.stop(w)
	w.name += fmt.Sprintf(", %s groups", whole(groups))
	if err := b.fill(ctx, w, groups); err != nil {
		return g, err
	}
	c, err := b.connect(ctx, w, 64, groups, clients(64))
	if err != nil {
		return g, err
	}
	if err := b.alternate(ctx, b.size.rounds+2, c); err != nil {
		return g, err
	}
	g.rate, g.p50, g.p99 = c.tally.rate(), c.tally.quantile(0.5), c.tally.quantile(0.99)
	g.scrapes = map[string][2]figure{}
	for _, f := range forms() {
		at := w.at[len(w.at)-1]
		unchanged, err := b.timeScrapes(ctx, at, f, groups, b.size.scrapes, nil)
		if err != nil {
			return g, err
		}
		changed, err := b.timeScrapes(ctx, at, f, groups, b.size.scrapes, func(int) error {
			return pushSome(ctx, w.only(0), changes, groups)
		})
		if err != nil {
			return g, err
		}
		g.scrapes[f.name] = [2]figure{duration(median(unchanged)), duration(median(changed))}
	}
	if g.memory, err = memoryOf(w.servers[len(w.servers)-1]); err != nil {
		return g, err
	}
	took, err := b.restart(ctx, w)
	if err != nil {
		return g, err
	}
	g.restart = duration(took)
	if err := mustHold(ctx, w, groups); err != nil {
		return g, err
	}
	g.snapshot, err = b.snapshot(ctx, w)
	return g, err
}

// snapshot is the median time of a snapshot of each server. A large state is written so rarely that none may have
// fallen into the run so far: the servers are started again so that one is due at once.
func (b *bench) snapshot(ctx context.Context, w *web) (figure, error) {
	for _, p := range w.servers {
		p.Args = append(p.Args, "--storage.snapshot-entries=1")
	}
	since := time.Now()
	if _, err := b.restart(ctx, w); err != nil {
		return figure{}, err
	}
	// With a new leader's first entry there is something new to write in each.
	if err := pushSome(ctx, w, 1, 1); err != nil {
		return figure{}, err
	}
	var took []time.Duration
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for _, p := range w.servers {
		for waited := time.Now(); ; {
			taken, err := p.snapshots()
			if err != nil {
				return figure{}, err
			}
			if i := slices.IndexFunc(taken, func(s stretch) bool { return s.from.After(since) }); i >= 0 {
				took = append(took, taken[i].to.Sub(taken[i].from))
				break
			}
			if time.Since(waited) > maxWait {
				return figure{}, fmt.Errorf("%s has taken no snapshot within %s", p.Name, maxWait)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return figure{}, ctx.Err()
			}
		}
	}
	return duration(median(took)), nil
}
