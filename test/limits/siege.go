package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"sync"
	"time"

	"pushquorum/test/local"
)

// plan is one run of the harness.
type plan struct {
	duration       time.Duration
	rooms, attacks *regexp.Regexp
	binary, dir    string
	control        control
	out            io.Writer
}

// run besieges the replicas of one room after the other, and returns how many rows of the tables are bad. An error is
// of the harness.
func (p plan) run(ctx context.Context) (bad int, err error) {
	began := time.Now()
	_, _ = fmt.Fprintf(p.out, "%s; each attack lasts %s\n", p.control, p.duration)
	if _, err := expanding(); err != nil { // made before anybody is timed
		return 0, err
	}
	spawner := local.NewSpawner()
	defer spawner.Close()
	var ports local.Ports
	for _, r := range rooms() {
		if !p.rooms.MatchString(r.name) {
			continue
		}
		rows, err := p.room(ctx, r, spawner, &ports)
		if err != nil {
			return bad, fmt.Errorf("%s: %w", r.name, err)
		}
		bad += rows.bad()
	}
	verdict := "all is well"
	if bad > 0 {
		verdict = fmt.Sprintf("%d rows are bad; the logs are in %s", bad, p.dir)
	} else if err := os.RemoveAll(p.dir); err != nil {
		return 0, err
	}
	_, _ = fmt.Fprintf(p.out, "\n%.0f s: %s\n", time.Since(began).Seconds(), verdict)
	return bad, nil
}

// room is all that happens to the replicas of one.
func (p plan) room(ctx context.Context, r room, spawner *local.Spawner, ports *local.Ports) (rows *table, err error) {
	c, err := p.newCluster(r, spawner, ports)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	rows = newTable(p.out, r)
	began := time.Now()
	if failed := c.emptied(ctx); failed != nil {
		rows.add(row{name: "start", took: time.Since(began), err: failed})
		return rows, nil
	}
	for _, t := range attacks() {
		if !p.attacks.MatchString(t.name) {
			continue
		}
		if err := c.besiege(ctx, t, p.duration, rows); err != nil {
			return nil, err
		}
	}
	for _, s := range aftermath() {
		if s.replicas > r.replicas {
			continue
		}
		if err := c.suffer(ctx, s, rows); err != nil {
			return nil, err
		}
	}
	return rows, ctx.Err()
}

// besiege makes one attack, with a normal client beside it, and looks at what is left.
func (c *cluster) besiege(ctx context.Context, t attack, duration time.Duration, rows *table) error {
	began := time.Now()
	n := newNormal(c)
	defer n.close()
	out := row{name: t.name}
	if t.empty {
		out.err = c.wipe(ctx)
	} else {
		out.err = c.furnish(ctx)
	}
	c.forgetPeaks()
	during, over := context.WithCancel(ctx)
	var beside sync.WaitGroup
	beside.Go(func() { n.run(during) })
	a := c.attack(ctx, t, duration)
	over()
	beside.Wait()
	out.attack = a.codes
	out.endless = a.unrefused
	if t.fills > 0 && a.codes[http.StatusOK] == 0 {
		a.wrong = errors.Join(a.wrong, errors.New("nothing of the attack was ever stored"))
	}
	out.err = errors.Join(out.err, a.wrong)
	return c.judge(ctx, n, out, began, rows)
}

// judge lets the normal client work once more, now alone, and holds all pages against what was acknowledged. After a
// replica has died all are brought back, so that the next row says something of its own.
func (c *cluster) judge(ctx context.Context, n *normal, out row, began time.Time, rows *table) error {
	dead := c.dead()
	if dead == nil {
		n.round(ctx)
		dead = c.dead()
	}
	if dead == nil { // else that says it: who has died answers nobody
		out.err = errors.Join(out.err, n.err(), c.agree(ctx))
	}
	out.err = errors.Join(dead, out.err)
	out.normal, out.scrape, out.push = n.codes, n.scrape, n.push
	for _, r := range c.replicas {
		out.charged, out.rss = max(out.charged, r.all.Load()), max(out.rss, r.rss.Load())
	}
	var err error
	if ctx.Err() == nil && c.gone() {
		if failed := c.revive(ctx); failed != nil {
			out.err = errors.Join(out.err, fmt.Errorf("started again, and then: %w; all begin anew with nothing",
				failed))
			err = c.emptied(ctx)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	out.took = time.Since(began)
	rows.add(out)
	return err
}

// revive starts those that have died, as a supervisor does.
func (c *cluster) revive(ctx context.Context) error {
	for _, r := range c.replicas {
		if r.Ended() == nil {
			continue
		}
		if err := c.start(r); err != nil {
			return err
		}
	}
	return c.ready(ctx)
}

// furnish stores a few large groups where there are none, because all began anew or nobody was told to fill them: what
// comes is to meet something.
func (c *cluster) furnish(ctx context.Context) error {
	if len(c.ledger.paths(largePrefix)) > 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.room.ready)
	defer cancel()
	a := &assault{ctx: ctx, c: c, client: c.client, codes: codes{}, refused: func() {}}
	for n := range 20 {
		if !c.pushLarge(a, n, large("1000")) {
			return fmt.Errorf("large group %d of the first 20 is refused: %s", n, a.codes)
		}
	}
	return nil
}

func (c *cluster) forgetPeaks() {
	for _, r := range c.replicas {
		r.all.Store(0)
		r.rss.Store(0)
	}
}

// wipe makes room, which always goes.
func (c *cluster) wipe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*c.room.within)
	defer cancel()
	a, err := do(ctx, c.client, ask{method: http.MethodPut, url: c.replicas[0].url("/api/v1/admin/wipe")})
	if err == nil && a.status != http.StatusAccepted {
		err = fmt.Errorf("status %d: %.200q", a.status, a.body)
	}
	if err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	c.ledger.clear()
	return nil
}
