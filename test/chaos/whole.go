package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// wholeWithin is how long a fault that takes something away for good waits until the cluster can bear it.
const wholeWithin = 8 * time.Second

// wholeAgainWithin is how soon the voters must be the members after a replica has been replaced: it has to be healthy
// for two seconds to become one, and who is gone has its grace.
const wholeAgainWithin = 20 * time.Second

// awaitWhole waits until the cluster is whole. What is taken away for a while (a process, a link, all of them) the
// cluster must survive whatever else is missing; a disk or a member may be taken away for good only from a whole
// cluster, or its majority would be lost for good, by right.
func (n *nemesis) awaitWhole() error {
	if err := attempt(wholeWithin, n.c.whole); err != nil {
		return fmt.Errorf("%w: %s", errNotNow, strings.ReplaceAll(err.Error(), "\n", ": "))
	}
	return nil
}

// errNotNow is why a fault is left out this time.
var errNotNow = errors.New("not now")

// whole says what is missing: nil when a majority of the members shows that the voters are the members, each as the
// replica that its disk makes it, and nobody else. What a majority of these voters has in its log, no later leader
// lacks.
func (c *cluster) whole() error {
	members := c.members()
	for _, r := range members {
		if r.isDeleted() {
			return fmt.Errorf("%s has no directory any more, though it may run", r.name) // and may say that all is well
		}
	}
	pages := make([]status, len(members))
	errs := make([]error, len(members))
	var all sync.WaitGroup
	for i, r := range members {
		all.Go(func() { pages[i], errs[i] = c.status(r) })
	}
	all.Wait()
	var ids []string
	for i, r := range members {
		if id := pages[i].own(); id != "" {
			r.id = id
		}
		if r.id == "" {
			return fmt.Errorf("%s has not yet said who it is", r.name)
		}
		ids = append(ids, r.id)
	}
	slices.Sort(ids)
	var agree []*replica
	for i, r := range members {
		if errs[i] == nil && slices.Equal(pages[i].voters(), ids) {
			agree = append(agree, r)
		}
	}
	if len(agree) <= len(members)/2 {
		return fmt.Errorf("of %s only %q see all of them, and nobody else, as voters", names(members), names(agree))
	}
	return nil
}

// mustBecomeWhole is called after a fault that takes something away for good: once all is lifted, the voters have to be
// the members again, and nobody else, because each dead one that is too many is a loss less that the cluster can bear.
func (n *nemesis) mustBecomeWhole() { n.wholeness = true }

// own is the id of the replica that gave the status, "" if it does not say. The one before it, of the same name and
// address, does not answer, and another of the same name has another address.
func (s status) own() string {
	for _, m := range s.Members {
		if m.Name == s.Self && m.Peer == s.peer && m.Healthy {
			return m.ID
		}
	}
	return ""
}

// voters are their ids, sorted.
func (s status) voters() []string {
	var out []string
	for _, m := range s.Members {
		if m.Role == "voter" {
			out = append(out, m.ID)
		}
	}
	slices.Sort(out)
	return out
}
