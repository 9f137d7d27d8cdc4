package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const wipesAndRestarts = 5 // of which the median is taken

// wipe: one entry of the log, however much there is.
func (b *bench) wipe(ctx context.Context) error {
	one, err := b.startOne(ctx, "--web.enable-admin-api")
	if err != nil {
		return err
	}
	var times []time.Duration
	for range wipesAndRestarts {
		if err := b.fill(ctx, one, b.size.groups); err != nil {
			return err
		}
		took, err := timeWipe(ctx, one)
		if err != nil {
			return err
		}
		times = append(times, took)
	}
	b.table.add(row{
		name: fmt.Sprintf("wipe of %s groups, one replica", whole(b.size.groups)), ours: duration(median(times)),
		bar: bar{kind: atMost, limit: 0.050, unit: seconds},
	})
	return nil
}

// timeWipe wipes the service through its first server, and checks that every server shows it.
func timeWipe(ctx context.Context, w *web) (time.Duration, error) {
	c, err := dialHTTP(ctx, w.at[0], pushBuffer)
	if err != nil {
		return 0, err
	}
	defer c.close()
	if err := c.within(maxWait); err != nil {
		return 0, err
	}
	began := time.Now()
	a, err := c.do(request(http.MethodPut, "/api/v1/admin/wipe"), nil)
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	if a.status != http.StatusAccepted {
		return 0, fmt.Errorf("a wipe of %s is answered with %d", w.at[0], a.status)
	}
	return took, mustHold(ctx, w, 0)
}

// restarts: a replica that was killed is ready when it has read its snapshot and its log.
func (b *bench) restarts(ctx context.Context) error {
	one, err := b.startOne(ctx)
	if err != nil {
		return err
	}
	if err := b.fill(ctx, one, b.size.groups); err != nil {
		return err
	}
	// The log behind the snapshot is part of what a restart costs: half as long as it gets.
	if err := pushSome(ctx, one, b.size.groups/2, b.size.groups); err != nil {
		return err
	}
	var times []time.Duration
	for range wipesAndRestarts {
		took, err := b.restart(ctx, one)
		if err != nil {
			return err
		}
		times = append(times, took)
	}
	b.table.add(row{
		name: fmt.Sprintf("restart with %s series to ready, one replica", whole(b.size.groups*seriesPerPush)),
		ours: duration(median(times)), bar: bar{kind: atMost, limit: 2, unit: seconds},
	})
	return mustHold(ctx, one, b.size.groups)
}

// pushAllocations counts the allocations of all servers for a push, spread over them.
func (b *bench) pushAllocations(ctx context.Context, w *web, name string) error {
	d, err := newDrive(ctx, w, 8, b.size.groups)
	if err != nil {
		return err
	}
	defer d.close()
	each, err := allocations(ctx, w, b.size.counted, func() error {
		_, err := d.count(b.size.counted)
		return err
	})
	if err != nil {
		return err
	}
	r := row{name: "allocations of a push of 20 series, " + name, ours: figure{each, count}}
	if len(w.at) == 1 {
		r.bar = bar{kind: atMost, limit: 150, unit: count}
	}
	b.table.add(r)
	return nil
}

// scrapeAllocations: they must not grow with what is stored.
func (b *bench) scrapeAllocations(ctx context.Context, many *web) error {
	few, err := b.startOne(ctx)
	if err != nil {
		return err
	}
	if err := b.fill(ctx, few, b.size.few); err != nil {
		return err
	}
	for _, f := range forms() {
		var each [2]float64
		for i, w := range []*web{many, few} {
			if each[i], err = changedAllocations(ctx, w, f); err != nil {
				return err
			}
		}
		b.table.add(row{
			name: fmt.Sprintf("allocations of a scrape, %s, with a push before it, at %s groups",
				f.name, whole(b.size.groups)), ours: figure{each[0], count},
			peer: fmt.Sprintf("PushQuorum at %s", whole(b.size.few)), theirs: figure{each[1], count},
			bar: bar{kind: atMostTimes, limit: 1.2},
		})
	}
	return nil
}

// changedAllocations is how many one push and the scrape after it make. Pages that have not changed would show nothing:
// they are copied, but for own metrics once a second, however many scrapes there are in it.
func changedAllocations(ctx context.Context, w *web, f form) (float64, error) {
	s, err := newScraper(ctx, w.at[0], "/metrics", f)
	if err != nil {
		return 0, err
	}
	defer s.close()
	c, err := w.dial(ctx, 0, 1)
	if err != nil {
		return 0, err
	}
	defer c.close()
	if _, err := s.scrape(); err != nil { // what has been pushed since the last one is made only now
		return 0, err
	}
	const scrapes = 20
	return allocations(ctx, w, scrapes, func() error {
		for range scrapes {
			if err := c.push(0); err != nil {
				return err
			}
			if _, err := s.scrape(); err != nil {
				return err
			}
		}
		return nil
	})
}

// allocations is how many the servers make for one of n requests, without those of asking them.
func allocations(ctx context.Context, w *web, n int, work func() error) (float64, error) {
	var counts [3]float64
	for i := range counts {
		if i == 2 {
			if err := work(); err != nil {
				return 0, err
			}
		}
		var err error
		if counts[i], err = mallocs(ctx, w); err != nil {
			return 0, err
		}
	}
	asking, all := counts[1]-counts[0], counts[2]-counts[1]
	return max(0, all-asking) / float64(n), nil
}

// mallocs is how many objects the servers have allocated since they began.
func mallocs(ctx context.Context, w *web) (total float64, err error) {
	const name = "go_memstats_mallocs_total "
	for _, address := range w.at {
		page, err := fetch(ctx, address, "/-/metrics")
		if err != nil {
			return 0, err
		}
		_, after, ok := bytes.Cut(page, []byte("\n"+name))
		if !ok {
			return 0, fmt.Errorf("%s/-/metrics has no %s", address, name)
		}
		value, _, _ := bytes.Cut(after, []byte("\n"))
		n, err := strconv.ParseFloat(string(value), 64)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}
