package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

// step is something that full replicas must get over.
type step struct {
	name     string
	replicas int // that are needed
	do       func(context.Context, *cluster) error
}

func aftermath() []step {
	return []step{
		{"kill -9 of each", 1, killEach},
		{"kill -9 of all", 2, killAtOnce},
		{"a lost disk", 3, loseDisk},
		{"half is deleted", 1, deleteHalf},
	}
}

func (c *cluster) suffer(ctx context.Context, s step, rows *table) error {
	began := time.Now()
	c.forgetPeaks()
	out := row{name: s.name, err: errors.Join(c.furnish(ctx), s.do(ctx, c))}
	n := newNormal(c)
	defer n.close()
	return c.judge(ctx, n, out, began, rows)
}

func killEach(ctx context.Context, c *cluster) error {
	for _, r := range c.replicas {
		r.Kill()
		if err := c.start(r); err != nil {
			return err
		}
		if err := c.ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

func killAtOnce(ctx context.Context, c *cluster) error {
	c.killAll()
	if err := c.start(c.replicas...); err != nil {
		return err
	}
	return c.ready(ctx)
}

// loseDisk brings one replica back with nothing: it catches up while it is not ready.
func loseDisk(ctx context.Context, c *cluster) error {
	r := c.replicas[len(c.replicas)-1]
	r.Kill()
	if err := os.RemoveAll(r.data); err != nil {
		return err
	}
	if err := c.start(r); err != nil {
		return err
	}
	return c.ready(ctx)
}

// roomWithin is how soon a delete makes room. In memory it does at once, on a disk with the next snapshot.
const roomWithin = 15 * time.Second

// deleteHalf deletes every other large group, and pushes as many anew: each that was refused is to be taken then.
func deleteHalf(ctx context.Context, c *cluster) error {
	groups := c.ledger.paths(largePrefix)
	for i := 0; i < len(groups); i += 2 {
		r := c.replicas[i/2%len(c.replicas)]
		if err := c.delete(ctx, r, groups[i]); err != nil {
			return err
		}
	}
	a := &assault{ctx: ctx, c: c, client: c.client, codes: codes{}, refused: func() {}}
	if err := attempt(ctx, roomWithin, func() error {
		for i, r := range c.replicas {
			if !a.push(http.MethodPut, r, fmt.Sprintf("/metrics/job/again/instance/%d", i), "again 1\n",
				fmt.Sprintf(`again{instance="%d",job="again"}`, i)) {
				return fmt.Errorf("a push of a small group to %s is refused: %s", r.Name, a.codes)
			}
		}
		if !c.pushLarge(a, 1_000_000, large("1000")) {
			return fmt.Errorf("a push of a large group is refused: %s", a.codes)
		}
		return nil
	}); err != nil {
		return errors.Join(fmt.Errorf("half of %d large groups was deleted, and then: %w", len(groups), err), a.wrong)
	}
	return a.wrong
}

func (c *cluster) delete(ctx context.Context, r *replica, path string) error {
	ctx, cancel := context.WithTimeout(ctx, c.room.within)
	defer cancel()
	c.ledger.deletes(path)
	a, err := do(ctx, c.client, ask{method: http.MethodDelete, url: r.url(path)})
	if err == nil && a.status != http.StatusAccepted {
		err = fmt.Errorf("status %d: %.200q", a.status, a.body)
	}
	if err != nil {
		return fmt.Errorf("DELETE %s: %w", r.url(path), err)
	}
	c.ledger.deleted(path)
	return nil
}
