package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// maxWait is what any single wait of a run may take; beyond it something has stopped.
const maxWait = 2 * time.Minute

// client pushes into one server, one push after another. It is used by one goroutine at a time.
type client interface {
	// push stores the group. An error is anything but the answer that it has been stored.
	push(group int) error
	within(d time.Duration) error
	close()
}

// httpClient pushes into PushQuorum and the Pushgateway.
type httpClient struct {
	*httpConn
	*filler
	stored int // the status that says so
}

func (c *httpClient) push(group int) error {
	a, err := c.do(c.next(group), nil)
	if err == nil && a.status != c.stored {
		err = fmt.Errorf("%s answers a push with %d", c.address, a.status)
	}
	return err
}

// etcdClient puts into etcd, over a connection that it shares with others.
type etcdClient struct {
	*grpcConn
	*filler
	put call
}

func (c *etcdClient) push(group int) error {
	c.put.message = c.next(group)
	return c.call(&c.put)
}

func (c *etcdClient) close() {
	if c.users--; c.users == 0 {
		c.grpcConn.close()
	}
}

// spread pushes into the servers in turn: one client of a cluster is a load balancer that takes every replica.
type spread struct {
	clients []client
	turn    int
}

func (s *spread) push(group int) error {
	s.turn = (s.turn + 1) % len(s.clients)
	return s.clients[s.turn].push(group)
}

func (s *spread) within(d time.Duration) error {
	for _, c := range s.clients {
		if err := c.within(d); err != nil {
			return err
		}
	}
	return nil
}

func (s *spread) close() {
	for _, c := range s.clients {
		c.close()
	}
}

// drive has n clients push at a time, into groups of a store that holds that many.
type drive struct {
	clients []client
	groups  int
}

// newDrive connects n clients. With fewer clients than servers each client uses all servers in turn; otherwise the
// clients are dealt out among them.
func newDrive(ctx context.Context, s service, n, groups int) (*drive, error) {
	d := &drive{groups: groups}
	dial := s.dialer()
	for i := range n {
		var c client
		var err error
		if n >= len(s.addresses()) {
			c, err = dial(ctx, i%len(s.addresses()), uint64(i))
		} else {
			each := &spread{turn: i}
			for at := range s.addresses() {
				if c, err = dial(ctx, at, uint64(i)); err != nil {
					break
				}
				each.clients = append(each.clients, c)
			}
			c = each
		}
		if err != nil {
			d.close()
			return nil, fmt.Errorf("connecting to %s: %w", s.title(), err)
		}
		d.clients = append(d.clients, c)
	}
	return d, nil
}

func (d *drive) close() {
	for _, c := range d.clients {
		c.close()
	}
}

// outcome is what a run came to.
type outcome struct {
	began   time.Time
	samples samples
	elapsed time.Duration
}

func (o outcome) rate() float64 { return float64(len(o.samples)) / o.elapsed.Seconds() }

// fill pushes every group from the first to the last, once.
func (d *drive) fill() (outcome, error) {
	return d.run(maxWait, func(i int, c client, began time.Time, record func(sample)) error {
		for g := i; g < d.groups; g += len(d.clients) {
			at := time.Since(began)
			if err := c.push(g); err != nil {
				return err
			}
			record(sample{at, time.Since(began) - at})
		}
		return nil
	})
}

// closed pushes into random groups for a time, each client as soon as its last push has been answered.
func (d *drive) closed(length time.Duration) (outcome, error) {
	return d.run(length, func(i int, c client, began time.Time, record func(sample)) error {
		random := rand.New(rand.NewPCG(uint64(began.UnixNano()), uint64(i)))
		for at := time.Since(began); at < length; {
			if err := c.push(random.IntN(d.groups)); err != nil {
				return err
			}
			now := time.Since(began)
			record(sample{at, now - at})
			at = now
		}
		return nil
	})
}

// count pushes n times into random groups.
func (d *drive) count(n int) (outcome, error) {
	return d.run(maxWait, func(i int, c client, began time.Time, record func(sample)) error {
		random := rand.New(rand.NewPCG(uint64(began.UnixNano()), uint64(i)))
		for k := i; k < n; k += len(d.clients) {
			at := time.Since(began)
			if err := c.push(random.IntN(d.groups)); err != nil {
				return err
			}
			record(sample{at, time.Since(began) - at})
		}
		return nil
	})
}

// paced pushes at a rate that does not depend on the answers. A push that is sent late, because its client still waited
// for the last answer, counts from when it was due: what queues up behind a pause is part of the pause. One that is
// late because the timer was counts from when it was sent.
func (d *drive) paced(length time.Duration, perSecond int) (outcome, error) {
	interval := time.Duration(len(d.clients)) * time.Second / time.Duration(perSecond)
	return d.run(length, func(i int, c client, began time.Time, record func(sample)) error {
		random := rand.New(rand.NewPCG(uint64(began.UnixNano()), uint64(i)))
		timer := time.NewTimer(0)
		<-timer.C
		for due := interval * time.Duration(i) / time.Duration(len(d.clients)); due < length; due += interval {
			from := due
			if now := time.Since(began); now < due {
				timer.Reset(due - now)
				<-timer.C
				from = time.Since(began)
			}
			if err := c.push(random.IntN(d.groups)); err != nil {
				return err
			}
			record(sample{from, time.Since(began) - from})
		}
		return nil
	})
}

// run has all clients work at a time. The first failed push of any of them fails the run: a rate that counts errors
// says nothing.
func (d *drive) run(
	length time.Duration, work func(i int, c client, began time.Time, record func(sample)) error,
) (outcome, error) {
	for _, c := range d.clients {
		if err := c.within(length + maxWait); err != nil {
			return outcome{}, err
		}
	}
	taken := make([]samples, len(d.clients))
	failed := make([]error, len(d.clients))
	var all sync.WaitGroup
	began := time.Now()
	for i, c := range d.clients {
		all.Go(func() {
			failed[i] = work(i, c, began, func(s sample) { taken[i] = append(taken[i], s) })
		})
	}
	all.Wait()
	o := outcome{began: began, elapsed: time.Since(began)}
	var first error
	errs := 0
	for i := range d.clients {
		o.samples = append(o.samples, taken[i]...)
		if failed[i] != nil {
			errs++
			first = failed[i]
		}
	}
	if errs > 0 {
		return o, fmt.Errorf("%d of %d clients failed, after %d good pushes; one of them: %w",
			errs, len(d.clients), len(o.samples), first)
	}
	return o, nil
}
