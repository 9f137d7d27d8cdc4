package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// fault is something that goes wrong. start makes it so and says what; the lift that it returns ends it, and may be
// nil.
type fault struct {
	name  string
	text  string // for the table of faults
	needs func(*cluster) error
	start func(*nemesis) (text string, lift func() error, err error)
	long  time.Duration // the longest it stays
}

// nemesis makes faults happen, in episodes: some faults, alone or overlapping, and then a calm in which all must be
// well.
type nemesis struct {
	c      *cluster
	chance *rand.Rand
	asker  *asker
	faults []fault

	alone     bool // there is one fault in the episode
	wholeness bool // the cluster has to be whole after it

	episodeFills, refusedFull atomic.Int64 // pushes of the fault that fills the replicas

	episodes int
	happened map[string]int
	calms    []time.Duration // how long each took until all was well
}

// chooseFaults returns the faults with these names, all for "", that this machine and this binary can have.
func chooseFaults(c *cluster, names string) ([]fault, error) {
	var out []fault
	wanted, unknown := map[string]bool{}, map[string]bool{}
	for name := range strings.SplitSeq(names, ",") {
		if name = strings.TrimSpace(name); name != "" {
			wanted[name], unknown[name] = true, true
		}
	}
	for _, f := range allFaults() {
		if len(wanted) > 0 && !wanted[f.name] {
			continue
		}
		if err := f.needs(c); err != nil {
			if wanted[f.name] {
				return nil, fmt.Errorf("the fault %s is not possible here: %w", f.name, err)
			}
			c.note("without the fault %s: %v", f.name, err)
			continue
		}
		delete(unknown, f.name)
		out = append(out, f)
	}
	for name := range unknown {
		return nil, fmt.Errorf("there is no fault %q; there are: %s", name, strings.Join(faultNames(), ", "))
	}
	return out, nil
}

func faultNames() []string {
	var out []string
	for _, f := range allFaults() {
		out = append(out, f.name)
	}
	return out
}

// run makes episodes until the time is over. An error is of the harness, not of the cluster.
func (n *nemesis) run(ctx context.Context, until time.Time) error {
	// What comes after a violation would only repeat it
	for time.Now().Before(until) && ctx.Err() == nil && !n.c.broken() {
		if err := n.episode(ctx); err != nil {
			return err
		}
		if err := n.calm(); err != nil {
			n.c.violate("after episode %d: %v", n.episodes, err)
		}
		n.wait(ctx, time.Duration(n.chance.Int64N(int64(time.Second))))
	}
	return nil
}

// episode starts one to three faults, one after the other, and lifts them in the order of chance.
func (n *nemesis) episode(ctx context.Context) error {
	n.episodes++
	count := min([]int{1, 1, 1, 2, 2, 3}[n.chance.IntN(6)], len(n.faults))
	type pending struct {
		at   time.Duration
		name string
		do   func() error
	}
	n.alone, n.wholeness = count == 1, false
	began := time.Now()
	var lifts []pending
	for _, i := range n.chance.Perm(len(n.faults))[:count] {
		f := n.faults[i]
		text, lift, err := f.start(n)
		switch {
		case errors.Is(err, errNotNow):
			n.c.note("episode %d: %s: %v", n.episodes, f.name, err)
			continue
		case err != nil:
			return fmt.Errorf("fault %s: %w", f.name, err)
		}
		n.happened[f.name]++
		n.c.note("episode %d: %s: %s", n.episodes, f.name, text)
		u := n.chance.Float64()
		// Mostly short, so that there are many
		stay := min(f.long, 500*time.Millisecond+time.Duration(u*u*float64(f.long)))
		if lift != nil {
			lifts = append(lifts, pending{time.Since(began) + stay, f.name, lift})
		}
		n.wait(ctx, time.Duration(n.chance.Int64N(int64(1500*time.Millisecond))))
	}
	slices.SortFunc(lifts, func(a, b pending) int { return int(a.at - b.at) })
	for _, l := range lifts {
		n.wait(ctx, l.at-time.Since(began))
		if err := l.do(); err != nil {
			return fmt.Errorf("end of fault %s: %w", l.name, err)
		}
	}
	return nil
}

// calm makes sure that nothing is wrong any more, and that the cluster notices: all ready, and pushes accepted
// everywhere.
func (n *nemesis) calm() error {
	if err := n.heal(); err != nil {
		return err
	}
	began := time.Now()
	if err := n.c.awaitReady(readyWithin); err != nil {
		return fmt.Errorf("all faults are lifted, and not all is well: %w", err)
	}
	if err := n.drain(); err != nil {
		return fmt.Errorf("all faults are lifted, and what filled the replicas does not go: %w", err)
	}
	if err := n.allTakePushes(n.c.members(), readyWithin-time.Since(began)); err != nil {
		return fmt.Errorf("all faults are lifted, and %w", err)
	}
	took := time.Since(began)
	if n.wholeness {
		if err := attempt(wholeAgainWithin, n.c.whole); err != nil {
			return fmt.Errorf("all faults are lifted, all are ready, and the voters are not the members: %w", err)
		}
	}
	n.calms = append(n.calms, took)
	n.c.note("episode %d: over, all well after %.1f s", n.episodes, took.Seconds())
	return nil
}

// allTakePushes says which of the replicas does not, within the time for all of them.
func (n *nemesis) allTakePushes(replicas []*replica, within time.Duration) error {
	deadline := time.Now().Add(within)
	for _, r := range replicas {
		if err := attempt(time.Until(deadline), func() error { return n.push(r) }); err != nil {
			return fmt.Errorf("%s takes no pushes: %w", r.name, err)
		}
	}
	return nil
}

// push is one of the nemesis's own.
func (n *nemesis) push(r *replica) error {
	a, err := n.asker.do(ask{
		method: http.MethodPut, url: r.url("/metrics/job/calm"), body: fmt.Sprintf("calm %d\n", n.episodes),
		timeout: pushTimeout + answerSlack,
	})
	if err == nil && a.status != http.StatusOK {
		err = fmt.Errorf("status %d: %s", a.status, a.body)
	}
	return err
}

// heal ends every fault that is left.
func (n *nemesis) heal() error {
	n.weather(weather{})
	for _, r := range n.c.members() {
		r.resume()
		if err := r.setClock(0); err != nil && r.running() {
			return err
		}
		if r.store.disk != nil {
			r.store.disk.SetSlow(0)
			n.freeDisk(r)
		}
		if err := r.start(); err != nil {
			return err
		}
	}
	return nil
}

// weather is the same between all replicas.
func (n *nemesis) weather(w weather) {
	for _, from := range n.c.all() {
		for _, to := range n.c.all() {
			if from != to {
				n.between(from, to, w)
			}
		}
	}
}

// between sets the weather in one direction.
func (n *nemesis) between(from, to *replica, w weather) {
	n.c.site.set(from.index, to.index, w)
}

func (n *nemesis) wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// victim is the leader half of the time, because it is the one that matters.
func (n *nemesis) victim() *replica {
	if n.chance.IntN(2) == 0 {
		return n.c.leader()
	}
	return n.c.any(n.chance)
}

// some is a number of replicas, the victim first: one, a minority, or all.
func (n *nemesis) some() []*replica {
	first := n.victim()
	rest := without(n.c.members(), first)
	n.chance.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	all := len(rest) + 1
	count := []int{1, 1, 1, all / 2, all/2 + 1, all}[n.chance.IntN(6)]
	return append([]*replica{first}, rest[:count-1]...)
}

func names(replicas []*replica) string {
	var out []string
	for _, r := range replicas {
		out = append(out, r.name)
	}
	return strings.Join(out, ", ")
}
