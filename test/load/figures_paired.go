package main

import (
	"context"
	"fmt"
	"time"
)

// pairedStages put the same work on two builds of PushQuorum, this one and the one at another path: whether a change
// has made anything slower. Each pair is of fresh processes of both, which live at the same time and are loaded in
// turn, so that what changes on the machine changes for both.
func (b *bench) pairedStages(against string) []stage {
	return []stage{
		{"one", func(ctx context.Context) error { return b.pairedPushes(ctx, against, oneReplica, b.startOne) }},
		{"three", func(ctx context.Context) error { return b.pairedPushes(ctx, against, threeReplicas, b.startThree) }},
		{"scrape", func(ctx context.Context) error { return b.pairedScrapes(ctx, against) }},
	}
}

// pairedClients is how many push at a time into each of a pair.
const pairedClients = 64

// startPair starts the service from this build and from the other, and fills both.
func (b *bench) startPair(
	ctx context.Context, against string, pair int, start func(context.Context, ...string) (*web, error),
) (ours, theirs *web, err error) {
	binary := b.binary
	defer func() { b.binary = binary }()
	for _, each := range []struct {
		binary, name string
		into         **web
	}{{binary, "this", &ours}, {against, "other", &theirs}} {
		b.binary = each.binary
		w, err := start(ctx)
		if err != nil {
			return nil, nil, err
		}
		w.name = fmt.Sprintf("%s, %s, pair %d", w.name, each.name, pair)
		if err := b.fill(ctx, w, b.size.groups); err != nil {
			return nil, nil, err
		}
		*each.into = w
	}
	return ours, theirs, nil
}

func (b *bench) pairedPushes(
	ctx context.Context, against, name string, start func(context.Context, ...string) (*web, error),
) error {
	name = fmt.Sprintf("push rate, %s, %s", name, clients(pairedClients))
	var ratios []float64
	for pair := range b.size.pairs {
		ours, theirs, err := b.startPair(ctx, against, pair+1, start)
		if err != nil {
			return err
		}
		r := row{name: fmt.Sprintf("%s, pair %d", name, pair+1), peer: "the other build"}
		if err := b.race(ctx, b.size.rounds, pairedClients, b.size.groups, &r, ours, theirs); err != nil {
			return err
		}
		ratios = append(ratios, r.ratio())
		for _, w := range []*web{ours, theirs} {
			if err := mustHold(ctx, w, b.size.groups); err != nil {
				return err
			}
		}
		b.stop(ours, theirs)
	}
	b.ratioRow(name, ratios)
	return nil
}

func (b *bench) pairedScrapes(ctx context.Context, against string) error {
	text := forms()[0]
	work := []struct {
		name    string
		changes int
	}{
		{fmt.Sprintf("scrape, %s, %s series", text.name, whole(b.size.groups*seriesPerPush)), 0},
		{
			fmt.Sprintf("scrape, %s, %s series, after %d pushes",
				text.name, whole(b.size.groups*seriesPerPush), changes), changes,
		},
	}
	ratios := make([][]float64, len(work))
	for pair := range b.size.pairs {
		ours, theirs, err := b.startPair(ctx, against, pair+1, b.startOne)
		if err != nil {
			return err
		}
		for i, each := range work {
			mine, other, err := b.scrapeInTurn(ctx, text, each.changes, ours, theirs)
			if err != nil {
				return err
			}
			r := row{
				name: fmt.Sprintf("%s, pair %d", each.name, pair+1), ours: duration(median(mine)),
				peer: "the other build", theirs: duration(median(other)),
			}
			b.table.add(r)
			ratios[i] = append(ratios[i], r.ratio())
		}
		b.stop(ours, theirs)
	}
	for i, each := range work {
		b.ratioRow(each.name, ratios[i])
	}
	return nil
}

// scrapeInTurn scrapes both services, one after the other, after so many pushes into each before each of their scrapes.
func (b *bench) scrapeInTurn(
	ctx context.Context, f form, changes int, ours, theirs *web,
) (mine, other []time.Duration, err error) {
	s, err := newScraper(ctx, theirs.at[0], "/metrics", f)
	if err != nil {
		return nil, nil, err
	}
	defer s.close()
	if _, err := s.page(b.size.groups); err != nil {
		return nil, nil, err
	}
	if err := quiet(ctx, append(ours.servers, theirs.servers...)...); err != nil {
		return nil, nil, err
	}
	mine, err = b.timeScrapes(ctx, ours.at[0], f, b.size.groups, b.size.scrapes, func(int) error {
		if changes > 0 {
			if err := pushSome(ctx, theirs, changes, b.size.groups); err != nil {
				return err
			}
		}
		took, err := s.scrape()
		if err != nil {
			return err
		}
		other = append(other, took)
		if changes > 0 {
			return pushSome(ctx, ours, changes, b.size.groups)
		}
		return nil
	})
	return mine, other, err
}

// ratioRow adds the median of the pairs' ratios, this build to the other.
func (b *bench) ratioRow(name string, ratios []float64) {
	b.table.add(row{name: name + ": median ratio of this build to the other", ours: figure{median(ratios), count}})
}
