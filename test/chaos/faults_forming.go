package main

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// formingFor is how long new replicas have for becoming a cluster, or not.
const formingFor = 6 * time.Second

// formBeside starts three new replicas that are to form a cluster of their own, and one of them is told of the cluster
// under test as well, far away. It may become a member of either, or of none, and the others may follow it, but none is
// ever one of both: a replica that two clusters count as theirs has promised one what it gave the other.
func formBeside(n *nemesis) (string, func() error, error) {
	if !n.alone {
		return "", nil, fmt.Errorf("%w: who has joined could not be sent away again", errNotNow)
	}
	s, host := n.c.strangers, n.victim()
	n.mustBecomeWhole()
	if err := n.disperse(); err != nil {
		return "", nil, err
	}
	s.expect = guests
	far := weather{delay: time.Duration(n.chance.Int64N(int64(250 * time.Millisecond)))}
	for _, r := range s.replicas {
		if err := n.lose(r); err != nil {
			return "", nil, err
		}
	}
	n.apartFromStrangers(far)
	torn, dies := s.replicas[n.chance.IntN(guests)], s.replicas[n.chance.IntN(guests)]
	torn.goAstray(host.gossip)
	for _, i := range n.chance.Perm(guests) {
		r := s.replicas[i]
		r.setMember(true)
		if err := r.start(); err != nil {
			return "", nil, err
		}
		<-time.After(time.Duration(n.chance.Int64N(int64(300 * time.Millisecond))))
	}
	restart := time.Duration(n.chance.Int64N(int64(time.Second)))
	<-time.After(restart)
	if err := errors.Join(dies.kill(), dies.start()); err != nil {
		return "", nil, err
	}
	_ = attempt(formingFor, func() error { // until something is wrong
		if err := n.c.shared(); err != nil {
			n.c.violate("%v", err)
			return nil
		}
		return errNotNow
	})
	text := fmt.Sprintf("three replicas form a cluster, %s is told of %s as well (%s), and %s is killed after %.1f s",
		torn.name, host.name, far, dies.name, restart.Seconds())
	n.apartFromStrangers(weather{})
	for _, r := range s.replicas { // one after the other: those who have joined have a vote
		n.c.sendAway(r)
		if err := n.lose(r); err != nil {
			return "", nil, err
		}
	}
	s.expect = 0 // they form another cluster the next time
	return text, nil, nil
}

// sendAway ends a stranger, in good order, and waits until it does not count any more.
func (c *cluster) sendAway(r *replica) {
	r.setMember(false)
	if err := r.end(syscall.SIGTERM, stopWithin); err != nil {
		c.violate("%v", err)
	}
	err := attempt(wholeAgainWithin, func() error {
		for _, page := range c.pages(c.members()) {
			for _, m := range page.Members {
				if m.Peer == r.raft && m.Role == "voter" {
					return fmt.Errorf("%s counts it", page.Self)
				}
			}
		}
		return nil
	})
	if err != nil {
		c.violate("%s had joined, and has left, and is still a voter: %v", r.name, err)
	}
}

func (n *nemesis) apartFromStrangers(w weather) {
	for _, r := range n.c.strangers.replicas {
		for _, o := range n.c.replicas {
			n.between(r, o, w)
			n.between(o, r, w)
		}
	}
}

// shared says which replica both clusters count as theirs. One that has become a member of the cluster under test sees
// what that sees.
func (c *cluster) shared() error {
	hosts, ours := map[string]bool{}, map[string]string{}
	for _, page := range c.pages(c.members()) {
		hosts[page.own()] = true
		for _, id := range page.voters() {
			ours[id] = page.Self
		}
	}
	for _, page := range c.pages(c.strangers.members()) {
		voters := page.voters()
		if slices.ContainsFunc(voters, func(id string) bool { return hosts[id] }) {
			continue
		}
		for _, id := range voters {
			if by := ours[id]; by != "" {
				return fmt.Errorf("%s counts the replica %s as a voter, and %s, of another cluster, does as well",
					by, id, page.Self)
			}
		}
	}
	return nil
}

// pages are those of the replicas that are voters by their own account.
func (c *cluster) pages(replicas []*replica) []status {
	var out []status
	for _, r := range replicas {
		if page, err := c.statusWithin(r, time.Second); err == nil && slices.Contains(page.voters(), page.own()) {
			out = append(out, page)
		}
	}
	return out
}
