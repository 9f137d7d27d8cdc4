package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"syscall"
	"time"
)

// changeMembers lets the spares come, or go for good: each is gone when the cluster no longer counts it.
func changeMembers(n *nemesis) (string, func() error, error) {
	if err := n.awaitWhole(); err != nil {
		return "", nil, err
	}
	var in, out []*replica
	for _, r := range n.c.replicas[n.c.expect:] {
		if r.isMember() {
			in = append(in, r)
		} else {
			out = append(out, r)
		}
	}
	if len(in) == 0 {
		return n.join(out)
	}
	return n.leave(in[:1+n.chance.IntN(len(in))]), nil, nil
}

func (n *nemesis) join(newcomers []*replica) (string, func() error, error) {
	for _, r := range newcomers {
		if n.chance.IntN(2) == 0 { // otherwise it comes back with what it had, if it has been there before
			if err := n.lose(r); err != nil {
				return "", nil, err
			}
		}
		r.setMember(true)
		if err := r.start(); err != nil {
			return "", nil, err
		}
	}
	if n.chance.IntN(2) == 0 {
		return names(newcomers) + " come", nil, nil
	}
	return names(newcomers) + " come for a while", func() error {
		if err := n.awaitWhole(); err != nil {
			n.c.note("%s stay: %v", names(newcomers), err)
			return nil
		}
		n.c.note("%s", n.leave(newcomers))
		return nil
	}, nil
}

func (n *nemesis) leave(leavers []*replica) string {
	for _, r := range leavers {
		r.setMember(false)
		r.resume() // a process that is stopped does not end
		if err := r.end(syscall.SIGTERM, stopWithin); err != nil {
			n.c.violate("%v", err)
		}
	}
	return names(leavers) + " leave for good"
}

// leaveAndRestart is what an orchestrator does when it is told to run fewer replicas, and a new version: those beyond
// the first end, the last one first, and then each of the others in turn is away for as long as it takes to start it
// elsewhere. With so many left at any time a push is never refused.
func leaveAndRestart(n *nemesis) (string, func() error, error) {
	spares := slices.Clone(n.c.replicas[n.c.expect:])
	for _, r := range spares {
		r.setMember(true)
		if err := r.start(); err != nil {
			return "", nil, err
		}
	}
	if err := n.awaitWhole(); err != nil {
		return "", nil, err
	}
	n.mustBecomeWhole()
	slices.Reverse(spares)
	away := time.Duration(n.chance.Int64N(int64(5 * time.Second)))
	stop := n.pushing()
	text := n.leave(spares)
	rest, err := n.roll(away)
	pushes, refused := stop()
	text = fmt.Sprintf("%s; %s; each away for %.1f s; %d of %d pushes refused", text, rest, away.Seconds(), refused,
		pushes)
	if refused > 0 && n.alone {
		n.c.violate("%s", text)
	}
	return text, nil, err
}

// takeName lets a replica come that has the name of one that is down, as replicas on hosts of one name do. That one is
// back before the newcomer counts, so nobody has taken its place; and when it is restarted, soon, it has to be let in
// as always.
func takeName(n *nemesis) (string, func() error, error) {
	if !n.alone {
		return "", nil, fmt.Errorf("%w: who is down for longer has lost its place, by right", errNotNow)
	}
	if err := n.awaitWhole(); err != nil {
		return "", nil, err
	}
	var spare *replica
	for _, r := range n.c.replicas[n.c.expect:] {
		if !r.isMember() {
			spare = r
		}
	}
	if spare == nil {
		return "", nil, fmt.Errorf("%w: all have come", errNotNow)
	}
	victim := n.victim()
	if err := errors.Join(victim.kill(), n.lose(spare)); err != nil {
		return "", nil, err
	}
	n.mustBecomeWhole()
	spare.rename(victim.name)
	nc, err := newcomer{spare, n.idsOf(spare)}, spare.start()
	if err != nil {
		return "", nil, err
	}
	known := attempt(roleWithin, func() error { return n.is(nc, "nonvoter") })
	if err := victim.start(); err != nil {
		return "", nil, err
	}
	text := fmt.Sprintf("%s comes under the name of %s, which is down", spare.name, victim.name)
	spare.setMember(true)
	if err := errors.Join(known, n.awaitWhole()); err != nil {
		n.c.note("%s: too late, or too early: %v", text, err)
		n.leave([]*replica{spare}) // and whoever has lost its place to it is let in again
		spare.rename("")
		return text, nil, nil
	}
	for range 3 {
		away, err := n.restartFor(victim, 2500*time.Millisecond)
		if err != nil {
			return "", nil, err
		}
		if away > deadServerGrace-time.Second {
			n.c.note("%s was away for %s: it may have lost its place, by right", victim.name, away)
			break
		}
		if err := attempt(wholeAgainWithin, n.c.whole); err != nil {
			n.c.violate("%s; both are members, and a restart of %s costs it its place: %v", text, away, err)
			break
		}
	}
	n.leave([]*replica{spare})
	spare.rename("")
	return text + ", and is restarted when it is back", nil, nil
}

// restartFor restarts a replica in good order, with a pause, and returns how long the others were without it.
func (n *nemesis) restartFor(r *replica, pause time.Duration) (time.Duration, error) {
	if err := r.end(syscall.SIGTERM, stopWithin); err != nil {
		n.c.violate("%v", err)
	}
	began := time.Now()
	<-time.After(pause)
	if err := r.start(); err != nil {
		return 0, err
	}
	_ = attempt(readyWithin, func() error {
		page, err := n.c.statusWithin(r, time.Second)
		if err == nil && page.own() == "" {
			err = errNotNow
		}
		return err
	})
	return time.Since(began), nil
}

// pushing pushes to the members in turn until it is stopped, and counts. Replicas that need not answer are not asked
// for it.
func (n *nemesis) pushing() (stop func() (pushes, refused int)) {
	quit, done := make(chan struct{}), make(chan struct{})
	pushes, refused := 0, 0
	go func() {
		defer close(done)
		asker, h := newAsker(), n.c.history
		for i := 0; ; i++ {
			select {
			case <-quit:
				return
			case <-time.After(50 * time.Millisecond):
			}
			r := n.c.replicas[i%n.c.expect]
			from := h.now()
			a, err := asker.do(ask{
				method: http.MethodPut, url: r.url("/metrics/job/calm"), body: "calm 0\n",
				timeout: pushTimeout + answerSlack,
			})
			if r.mayHaveFailed(from, h.now()) {
				continue
			}
			pushes++
			if err != nil || a.status != http.StatusOK {
				refused++
				n.c.note("%s refused a push after %s: %d %s %v", r.name, h.now()-from, a.status, a.body, err)
			}
		}
	}()
	return func() (int, int) {
		close(quit)
		<-done
		return pushes, refused
	}
}
