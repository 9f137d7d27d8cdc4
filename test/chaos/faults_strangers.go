package main

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	// strangeJob is what the strangers are told of, and nobody else.
	strangeJob = "stranger"
	// lookEvery is how often both clusters are looked at while they could meet.
	lookEvery = 200 * time.Millisecond
	// lingers is how long what one cluster has known of a replica that was nobody's may show after it is the other's.
	lingers = 3 * time.Second
)

// meetStrangers starts another cluster, of one replica or three, and tells one replica of it, or of the cluster under
// test, or both, of a peer in the wrong one. Nothing of either may show in the other, and each that is replaced
// meanwhile comes back to its own.
func meetStrangers(n *nemesis) (string, func() error, error) {
	s := n.c.strangers
	if err := n.gather(); err != nil {
		return "", nil, errors.Join(err, n.disperse())
	}
	lost, host := s.any(n.chance), n.victim()
	n.mustBecomeWhole()
	variant := n.chance.IntN(3)
	var text []string
	if variant != 0 {
		lost.goAstray(host.gossip)
		text = append(text, fmt.Sprintf("%s is told of %s", lost.name, host.name))
	}
	if variant != 1 {
		host.goAstray(lost.gossip)
		text = append(text, fmt.Sprintf("%s is told of %s", host.name, lost.name))
	}
	for _, r := range []*replica{lost, host} {
		host.resume()
		if r.astray == nil {
			continue
		}
		if err := errors.Join(r.kill(), r.start()); err != nil {
			return "", nil, err
		}
	}
	quit, looked := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(looked)
		n.c.lookForStrangers(quit)
	}()
	// Who is replaced is not one that was told of the others: such a newcomer may take either for its own.
	inTime := n.chance.IntN(4) > 0
	return fmt.Sprintf("%d strangers: %s", s.expect, strings.Join(text, ", ")), func() error {
		var err error
		if inTime {
			err = n.replaceBoth(host, lost)
			<-time.After(lingers + time.Second)
		}
		close(quit)
		<-looked
		host.goAstray()
		if err = errors.Join(err, n.disperse()); err != nil || inTime {
			return err
		}
		return n.replaceOne(host)
	}, nil
}

// gather starts the strangers. The first time they form a cluster of their own, and are told of something.
func (n *nemesis) gather() error {
	s := n.c.strangers
	if s.expect == 0 {
		s.expect = []int{1, guests}[n.chance.IntN(2)]
	}
	for _, r := range s.replicas[:s.expect] {
		r.setMember(true)
	}
	if err := s.startAll(startWithin / 2); err != nil {
		if n.alone {
			s.violate("they are not ready, and nothing is wrong: %v", err)
		}
		return fmt.Errorf("%w: the strangers are not ready: %s", errNotNow, strings.ReplaceAll(err.Error(), "\n", ": "))
	}
	for i, r := range s.members() {
		path := fmt.Sprintf("/metrics/job/%s/replica/%d", strangeJob, i)
		a, err := n.asker.do(ask{
			method: http.MethodPut, url: r.url(path), body: strangeJob + " 1\n", timeout: pushTimeout + answerSlack,
		})
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", a.status, a.body)
		}
		if err != nil {
			return fmt.Errorf("%w: the stranger %s takes no pushes: %w", errNotNow, r.name, err)
		}
	}
	return nil
}

// disperse ends the strangers. They keep their disks.
func (n *nemesis) disperse() error {
	var errs []error
	for _, r := range n.c.strangers.replicas {
		r.setMember(false)
		r.goAstray()
		errs = append(errs, r.kill())
	}
	return errors.Join(errs...)
}

// replaceBoth replaces one of each cluster, while the other is there.
func (n *nemesis) replaceBoth(host, lost *replica) error {
	s := n.c.strangers
	if s.expect > 1 && s.whole() == nil {
		other := without(s.members(), lost)[0]
		if _, err := n.renew(other); err != nil {
			return err
		}
		if err := attempt(wholeAgainWithin, s.whole); err != nil && n.alone {
			s.violate("%s was replaced, and they are not whole again: %v", other.name, err)
		}
	}
	return n.replaceOne(host)
}

// replaceOne replaces one of the cluster under test, if it can bear that now, and it has to come back to its own.
func (n *nemesis) replaceOne(host *replica) error {
	others := without(n.c.members(), host)
	victim := others[n.chance.IntN(len(others))]
	if err := n.awaitWhole(); err != nil {
		n.c.note("%s is not replaced: %v", victim.name, err)
		return nil
	}
	n.c.note("the disk of %s is lost", victim.name)
	nc, err := n.renew(victim)
	if err != nil {
		return err
	}
	// The strangers are there until then; the calm tells what came of it
	_ = attempt(roleWithin, func() error { return n.is(nc, "voter") })
	return nil
}

// lookForStrangers looks at both clusters until quit is closed. What shows is said once.
func (c *cluster) lookForStrangers(quit <-chan struct{}) {
	since, said := map[string]time.Time{}, map[string]bool{}
	look := func(viewers []*replica, foreign map[string]bool, series string) {
		for _, r := range viewers {
			shown := r.showsOf(foreign, series)
			for sight := range since {
				if strings.HasPrefix(sight, r.name+" ") && !slices.Contains(shown, sight) {
					delete(since, sight)
				}
			}
			for _, sight := range shown {
				if since[sight].IsZero() {
					since[sight] = time.Now()
				}
				if time.Since(since[sight]) > lingers && !said[sight] {
					said[sight] = true
					r.c.violate("%s for more than %s", sight, lingers)
				}
			}
		}
	}
	for {
		select {
		case <-quit:
			return
		case <-time.After(lookEvery):
		}
		ours, theirs := c.members(), c.strangers.members()
		look(ours, c.voters(theirs), strangeJob)
		look(theirs, c.voters(ours), "chaos_")
	}
}

// voters are the ids of these replicas, as far as they are voters by their own account.
func (c *cluster) voters(replicas []*replica) map[string]bool {
	out := map[string]bool{}
	for _, page := range c.pages(replicas) {
		out[page.own()] = true
	}
	return out
}

// showsOf is what a replica shows of another cluster, in its list of members and on its page: of those who are voters
// there. One that is new and not yet a member of anything may be known to both, and one that looks for its cluster
// shows nothing.
func (r *replica) showsOf(foreign map[string]bool, series string) []string {
	page, err := r.c.statusWithin(r, time.Second)
	if err != nil || !slices.Contains(page.voters(), page.own()) {
		return nil
	}
	var out []string
	for _, m := range page.Members {
		if foreign[m.ID] {
			out = append(out, fmt.Sprintf("%s shows %s of another cluster, as a %s", r.name, m.Name, m.Role))
		}
	}
	a, err := r.c.inspector.do(ask{url: r.url("/metrics"), timeout: scrapeWithin})
	if err == nil && a.status == http.StatusOK && strings.Contains("\n"+string(a.body), "\n"+series) {
		out = append(out, r.name+" shows metrics of another cluster")
	}
	return out
}
