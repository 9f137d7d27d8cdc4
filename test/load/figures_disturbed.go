package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// disturbed: snapshots and scrapes must not stand in the way of pushes.
func (b *bench) disturbed(ctx context.Context) error {
	one, err := b.startOne(ctx, snapshotEvery(b.size.pacedOne))
	if err != nil {
		return err
	}
	if err := b.disturb(ctx, one, "one replica", b.size.pacedOne); err != nil {
		return err
	}
	b.stop(one)
	three, err := b.startThree(ctx, snapshotEvery(b.size.pacedThree))
	if err != nil {
		return err
	}
	return b.disturb(ctx, three, "three replicas", b.size.pacedThree)
}

// snapshotEvery makes a replica that takes as many pushes a second take a snapshot every two or three seconds.
func snapshotEvery(perSecond int) string {
	return fmt.Sprintf("--storage.snapshot-entries=%d", 2*perSecond)
}

// disturb pushes at a steady rate, in turn without and with a scrape every second, and takes the pushes that met a
// snapshot from both.
func (b *bench) disturb(ctx context.Context, w *web, name string, perSecond int) error {
	if err := b.fill(ctx, w, b.size.groups); err != nil {
		return err
	}
	c, err := b.connect(ctx, w, 64, b.size.groups, fmt.Sprintf("%d/s", perSecond))
	if err != nil {
		return err
	}
	defer c.drive.close()
	s, err := newScraper(ctx, w.at[len(w.at)-1], "/metrics", forms()[0])
	if err != nil {
		return err
	}
	defer s.close()
	if _, err := s.page(b.size.groups); err != nil {
		return err
	}
	length := b.size.window * 2
	var still, snapshotting, scraping samples
	// More rounds than asked for if the windows are so short that no snapshot fell into one.
	for round := 0; round < b.size.rounds || len(snapshotting) == 0 && round < 10*b.size.rounds; round++ {
		for _, scrapes := range []bool{false, true} {
			// Each kind of window has a tally of its own.
			c.tally = b.details.tally(w, fmt.Sprintf("%d/s", perSecond))
			if scrapes {
				c.tally = b.details.tally(w, fmt.Sprintf("%d/s and a scrape a second", perSecond))
			}
			o, err := b.window(ctx, c, []contestant{c}, func(d *drive) (outcome, error) {
				if !scrapes {
					return d.paced(length, perSecond)
				}
				done := make(chan error, 1)
				stop := make(chan struct{})
				go func() { done <- s.everySecond(stop) }()
				o, err := d.paced(length, perSecond)
				close(stop)
				return o, errors.Join(err, <-done)
			})
			if err != nil {
				return err
			}
			during, others, err := bySnapshot(o, w.servers)
			if err != nil {
				return err
			}
			if scrapes {
				scraping = append(scraping, others...)
			} else {
				snapshotting, still = append(snapshotting, during...), append(still, others...)
			}
		}
	}
	switch {
	case len(snapshotting) > 0:
		b.tell("  %s: p99 %s, beside %d pushes during snapshots %s, beside scrapes %s", name,
			duration(still.quantile(0.99)), len(snapshotting), duration(snapshotting.quantile(0.99)), duration(
				scraping.quantile(0.99)))
	case b.size.quick: // a snapshot of so little takes milliseconds
		b.tell("  %s: no push met a snapshot in a run as quick as this: that row is left out", name)
	default:
		return fmt.Errorf("no push of %s met a snapshot", name)
	}
	add := func(state string, these samples) {
		b.table.add(row{
			name: fmt.Sprintf("push p99, %s, %d/s, %s", name, perSecond, state), ours: duration(these.quantile(0.99)),
			peer: "PushQuorum without", theirs: duration(still.quantile(0.99)), bar: bar{kind: atMostTimes, limit: 2},
		})
	}
	if len(snapshotting) > 0 {
		add("during a snapshot", snapshotting)
	}
	add("with a scrape every second", scraping)
	return mustHold(ctx, w, b.size.groups)
}

// everySecond scrapes until it is told to stop, the first time at once.
func (s *scraper) everySecond(stop <-chan struct{}) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if _, err := s.scrape(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-stop:
			return nil
		}
	}
}

// bySnapshot takes the pushes that were under way while one of the servers took a snapshot from the others.
func bySnapshot(o outcome, servers []*process) (during, others samples, err error) {
	var spans []span
	for _, p := range servers {
		taken, err := p.snapshots()
		if err != nil {
			return nil, nil, err
		}
		for _, s := range taken {
			spans = append(spans, span{s.from.Sub(o.began), s.to.Sub(o.began)})
		}
	}
	during, others = o.samples.split(spans)
	return during, others, nil
}
