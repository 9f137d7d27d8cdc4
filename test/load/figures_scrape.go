package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const changes = 100 // pushes before a scrape that is not the last one again

// timeScrapes takes a page that has the series of so many groups, and then times as many scrapes of it. Before each of
// them, prepare is run when there is one.
func (b *bench) timeScrapes(
	ctx context.Context, address string, f form, groups, times int, prepare func(i int) error,
) ([]time.Duration, error) {
	s, err := newScraper(ctx, address, "/metrics", f)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if _, err := s.page(groups); err != nil {
		return nil, err
	}
	var all []time.Duration
	for i := range times {
		if prepare != nil {
			if err := prepare(i); err != nil {
				return nil, err
			}
		}
		took, err := s.scrape()
		if err != nil {
			return nil, err
		}
		all = append(all, took)
	}
	return all, nil
}

// scrapes: what a page costs beside a copy of as many bytes, and what a replica holds in memory after that.
func (b *bench) scrapes(ctx context.Context) error {
	one, err := b.startOne(ctx)
	if err != nil {
		return err
	}
	if err := b.fill(ctx, one, b.size.groups); err != nil {
		return err
	}
	if err := b.besideMemory(ctx, one, "", 0); err != nil {
		return err
	}
	if err := mustShow(ctx, one, 0, 0); err != nil {
		return err
	}
	if err := b.resident(ctx, one, "one replica"); err != nil {
		return err
	}
	if err := b.pushAllocations(ctx, one, "one replica"); err != nil {
		return err
	}
	return b.scrapeAllocations(ctx, one)
}

// besideMemory scrapes one server of the service in every form, in turn with a server that has the same bytes in
// memory. Changes are pushed to the first server.
func (b *bench) besideMemory(ctx context.Context, w *web, suffix string, at int) error {
	dir := filepath.Join(b.dir, b.unique("pages"))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for _, f := range forms() {
		s, err := newScraper(ctx, w.at[at], "/metrics", f)
		if err != nil {
			return err
		}
		page, err := s.page(b.size.groups)
		s.close()
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f.name), page, 0o644)
		}
		if err != nil {
			return err
		}
		b.tell("  %s as %s: %.1f MB", w.title(), f.name, float64(len(page))/1e6)
	}
	memory, err := b.startMemory(ctx, dir)
	if err != nil {
		return err
	}
	defer b.stop(memory)
	for _, f := range forms() {
		if err := quiet(ctx, w.servers...); err != nil {
			return err
		}
		theirs, err := newScraper(ctx, memory.at[0], "/"+f.name, f)
		if err != nil {
			return err
		}
		if _, err := theirs.page(b.size.groups); err != nil {
			return err
		}
		var copies []time.Duration
		copied := func(int) error {
			took, err := theirs.scrape()
			copies = append(copies, took)
			return err
		}
		unchanged, err := b.timeScrapes(ctx, w.at[at], f, b.size.groups, b.size.scrapes, copied)
		if err != nil {
			return err
		}
		changed, err := b.timeScrapes(ctx, w.at[at], f, b.size.groups, b.size.scrapes, func(int) error {
			return errors.Join(copied(0), pushSome(ctx, w.only(0), changes, b.size.groups))
		})
		theirs.close()
		if err != nil {
			return err
		}
		b.scrapeRows(f, suffix, median(unchanged), median(changed), median(copies))
	}
	return nil
}

func (b *bench) scrapeRows(f form, suffix string, unchanged, changed, copied time.Duration) {
	scrape := fmt.Sprintf("scrape%s, %s, %s series", suffix, f.name, whole(b.size.groups*seriesPerPush))
	after := scrape + fmt.Sprintf(", after %d pushes", changes)
	b.table.add(row{
		name: scrape, ours: duration(unchanged),
		peer: "net/http from memory", theirs: duration(copied), bar: bar{kind: atMostTimes, limit: 2},
	})
	if f.contentEncoding == "" {
		b.table.add(row{
			name: after, ours: duration(changed),
			peer: "net/http from memory", theirs: duration(copied), bar: bar{kind: atMostTimes, limit: 4},
		})
	} else {
		b.table.add(row{name: after, ours: duration(changed), bar: bar{kind: atMost, limit: 0.150, unit: seconds}})
	}
	if suffix != "" {
		return
	}
	r := row{name: after, ours: duration(changed), peer: "Pushgateway"}
	if f.contentEncoding != "" {
		r.bar = bar{kind: atMostTimes, limit: 1.0 / 15}
	}
	if took, ok := b.gatewayScrapes[f.name]; ok {
		r.theirs = duration(took)
	} else if _, r.missing = b.peers.pushgateway(); r.missing == nil {
		r.missing = errors.New("the Pushgateway was not scraped in this run")
	}
	b.table.add(r)
}

// resident adds what the largest of the servers holds, when all of them have been scraped in all forms.
func (b *bench) resident(ctx context.Context, w *web, name string) error {
	var largest memory
	for i, p := range w.servers {
		for _, f := range forms() {
			if _, err := b.timeScrapes(ctx, w.at[i], f, b.size.groups, 1, nil); err != nil {
				return err
			}
		}
		m, err := memoryOf(p)
		if err != nil {
			return err
		}
		if m.now > largest.now {
			largest = m
		}
	}
	b.table.add(row{
		name: fmt.Sprintf("resident memory, %s, after scrapes in three forms", name), ours: bytesOf(largest.now),
		bar: bar{kind: atMost, limit: 200e6, unit: byteCount},
	})
	b.table.add(row{name: "… of which mapped files", ours: bytesOf(largest.file)})
	b.table.add(row{name: "… at most, since the start", ours: bytesOf(largest.most)})
	return nil
}

// ofThree adds what one replica of a cluster does that one by itself does not: its pages hold the same on every
// replica, and it asks the leader before it shows one. The last replica is scraped; whether it leads is chance.
func (b *bench) ofThree(ctx context.Context, three *web) error {
	if err := b.besideMemory(ctx, three, " of a replica of three", len(three.at)-1); err != nil {
		return err
	}
	if err := b.resident(ctx, three, "the largest of three"); err != nil {
		return err
	}
	if err := b.pushAllocations(ctx, three, "three replicas together"); err != nil {
		return err
	}
	took, err := b.restart(ctx, three)
	if err != nil {
		return err
	}
	if err := mustHold(ctx, three, b.size.groups); err != nil {
		return err
	}
	b.table.add(row{name: "restart of all three replicas at once, to the last one ready", ours: duration(took)})
	took, err = timeWipe(ctx, three)
	if err != nil {
		return err
	}
	b.table.add(row{
		name: fmt.Sprintf("wipe of %s groups, three replicas", whole(b.size.groups)), ours: duration(took),
		bar: bar{kind: atMost, limit: 0.050, unit: seconds},
	})
	return nil
}
