package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// normal is a client as the replicas are made for: it scrapes, pushes and deletes through each of them in turn.
type normal struct {
	c       *cluster
	scraper *http.Client
	pusher  *http.Client
	pushes  int

	mu           sync.Mutex
	codes        codes
	scrape, push time.Duration // the slowest of each
	wrong        []error
}

func newNormal(c *cluster) *normal {
	return &normal{c: c, scraper: newClient(1), pusher: newClient(0), codes: codes{}}
}

// run goes on until ctx ends.
func (n *normal) run(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		n.round(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// round is once each at every replica. What is under way when ctx ends is waited for.
func (n *normal) round(ctx context.Context) {
	ends := ctx
	ctx = context.WithoutCancel(ctx)
	for _, r := range n.c.replicas {
		if ends.Err() != nil {
			return
		}
		n.scrapes(ctx, r)
		n.pushesTo(ctx, r, "/metrics/job/normal")
		n.pushesTo(ctx, r, "/metrics/job/passing")
		n.deletes(ctx, r, "/metrics/job/passing")
	}
}

// ask takes no answer that comes late, and waits for it to say how late it is.
func (n *normal) ask(ctx context.Context, client *http.Client, q ask, slowest *time.Duration) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*n.c.room.within)
	defer cancel()
	began := time.Now()
	a, err := do(ctx, client, q)
	took := time.Since(began)
	n.mu.Lock()
	defer n.mu.Unlock()
	if slowest != nil {
		*slowest = max(*slowest, took)
	}
	n.codes.saw(a, err)
	if err == nil {
		err = n.c.room.late(took)
	}
	if err != nil {
		n.wrong = append(n.wrong, fmt.Errorf("%s %s: %w", q.method, q.url, err))
	}
	return a, err
}

func (n *normal) scrapes(ctx context.Context, r *replica) {
	q := ask{method: http.MethodGet, url: r.url("/metrics"), forget: true}
	a, err := n.ask(ctx, n.scraper, q, &n.scrape)
	if err == nil && a.status != http.StatusOK {
		n.fails(r, "a scrape", a)
	}
}

// pushesTo pushes 20 series. The answer may be that it cannot be taken now, if that is said.
func (n *normal) pushesTo(ctx context.Context, r *replica, path string) {
	n.pushes++
	job := path[strings.LastIndexByte(path, '/')+1:]
	var body strings.Builder
	value := fmt.Sprint(n.pushes)
	for i := range 20 {
		fmt.Fprintf(&body, "normal_%d{shard=\"%d\"} %s\n", i%4, i, value)
	}
	series := fmt.Sprintf(`normal_3{instance="",job=%q,shard="19"}`, job)
	q := ask{method: http.MethodPut, url: r.url(path), body: strings.NewReader(body.String())}
	a, err := n.ask(ctx, n.pusher, q, &n.push)
	switch {
	case a.status == http.StatusOK:
		n.c.ledger.pushed(path, series, value)
	case err != nil || a.status >= 500:
		n.c.ledger.mayBe(path, series, value)
	}
	switch a.status {
	case 0, http.StatusOK:
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusInsufficientStorage:
		if err := a.refusal(); err != nil {
			n.fails(r, "a push", a)
		}
	default:
		n.fails(r, "a push", a)
	}
}

func (n *normal) deletes(ctx context.Context, r *replica, path string) {
	n.c.ledger.deletes(path)
	a, err := n.ask(ctx, n.pusher, ask{method: http.MethodDelete, url: r.url(path)}, nil)
	switch {
	case a.status == http.StatusAccepted:
		n.c.ledger.deleted(path)
	case err == nil:
		n.fails(r, "a delete", a)
	}
}

func (n *normal) fails(r *replica, asked string, a answer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wrong = append(n.wrong, fmt.Errorf("%s: %s was answered with %d: %.200q", r.Name, asked, a.status, a.body))
}

// err is what went wrong: the first of many that are alike.
func (n *normal) err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.wrong) == 0 {
		return nil
	}
	return fmt.Errorf("the normal client, %d times: %w", len(n.wrong), errors.Join(n.wrong[:min(2, len(n.wrong))]...))
}

func (n *normal) close() {
	n.scraper.CloseIdleConnections()
	n.pusher.CloseIdleConnections()
}
