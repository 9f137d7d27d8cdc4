package main

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// roleWithin is how long a newcomer is watched for what it is to become.
	roleWithin = 6 * time.Second
	// afterStart and afterRole are the longest that it is left alone after its start, or after what it was watched for.
	afterStart = 6 * time.Second
	afterRole  = 4 * time.Second
)

// newcomer is a replica that was started with a new disk.
type newcomer struct {
	*replica
	before map[string]bool // ids of those who had its name, as the others knew them
}

// renew gives a replica a new disk and starts it.
func (n *nemesis) renew(r *replica) (newcomer, error) {
	if err := n.lose(r); err != nil {
		return newcomer{}, err
	}
	return newcomer{r, n.idsOf(r)}, r.start()
}

// idsOf are those that its name has had.
func (n *nemesis) idsOf(r *replica) map[string]bool {
	out := map[string]bool{}
	for _, m := range n.namesakes(r) {
		out[m.ID] = true
	}
	return out
}

// namesakes are the members of its name that the others know, itself and those before it.
func (n *nemesis) namesakes(r *replica) []member {
	others := without(n.c.members(), r)
	pages := make([]status, len(others))
	var all sync.WaitGroup
	for i, o := range others {
		all.Go(func() { pages[i], _ = n.c.statusWithin(o, time.Second) }) // who does not answer knows nobody
	}
	all.Wait()
	var out []member
	for _, page := range pages {
		for _, m := range page.Members {
			if m.Name == r.called() {
				out = append(out, m)
			}
		}
	}
	return out
}

// is says whether one of the others knows the newcomer as a member, or as one with a vote.
func (n *nemesis) is(nc newcomer, role string) error {
	for _, m := range n.namesakes(nc.replica) {
		if !nc.before[m.ID] && (m.Role == role || m.Role == "voter") {
			return nil
		}
	}
	return errNotNow
}

// moment waits for one in the life of a newcomer, and says which: any, or one after the others have let it in or given
// it a vote.
func (n *nemesis) moment(nc newcomer) string {
	role, u := []string{"", "nonvoter", "voter", "voter"}[n.chance.IntN(4)], n.chance.Float64()
	wait, since := u*u*afterStart.Seconds(), "its start" // mostly short
	if role != "" {
		if attempt(roleWithin, func() error { return n.is(nc, role) }) != nil {
			return "before it is a " + role
		}
		wait, since = u*u*afterRole.Seconds(), "it is a "+role
	}
	<-time.After(time.Duration(wait * float64(time.Second)))
	return fmt.Sprintf("%.1f s after %s", wait, since)
}

// emptied lets the same replica lose its disk again and again, at any moment. No other loses anything: all but one have
// what was acknowledged, and can agree, at any time.
func emptied(n *nemesis) (string, func() error, error) {
	if err := n.awaitWhole(); err != nil {
		return "", nil, err
	}
	n.mustBecomeWhole()
	victim := n.victim()
	nc, err := n.renew(victim)
	moments := []string{"at once"}
	for range 1 + n.chance.IntN(3) {
		if err != nil {
			return "", nil, err
		}
		moments = append(moments, n.moment(nc))
		nc, err = n.renew(victim)
	}
	text := fmt.Sprintf("the disk of %s is lost %d times: %s", victim.name, len(moments), strings.Join(moments, ", "))
	return text, nil, err
}

// dying replaces a replica, and ends its successor while it is let in. It stays away for a while; without its disk it
// never comes back, and another one does.
func dying(n *nemesis) (string, func() error, error) {
	if err := n.awaitWhole(); err != nil {
		return "", nil, err
	}
	n.mustBecomeWhole()
	victim := n.victim()
	nc, err := n.renew(victim)
	if err != nil {
		return "", nil, err
	}
	text := fmt.Sprintf("%s is replaced, and its successor killed %s", victim.name, n.moment(nc))
	if n.chance.IntN(2) == 0 {
		text += ", with its disk"
		err = n.lose(victim)
	} else {
		err = victim.kill()
	}
	if err != nil {
		return "", nil, err
	}
	if n.alone { // the others are all there, and are all but one
		if err := n.allTakePushes(without(n.c.members(), victim), readyWithin); err != nil {
			n.c.violate("%s: %v", text, err)
		}
	}
	return text, victim.start, nil
}

// noticedWithin is how soon a replica must have noticed that what it writes will never be found again.
const noticedWithin = 10 * time.Second

// deleteDirectory is rm -rf of what a replica is using. The process goes on, with files that have no name any more: it
// must notice, and what it has acknowledged meanwhile is elsewhere, too.
func deleteDirectory(n *nemesis) (string, func() error, error) {
	if err := n.awaitWhole(); err != nil {
		return "", nil, err
	}
	victim := n.victim()
	victim.resume() // a process that is stopped notices nothing
	p := victim.deletes()
	if p == nil {
		return "", nil, fmt.Errorf("%w: %s does not run", errNotNow, victim.name)
	}
	n.mustBecomeWhole()
	if err := victim.store.delete(); err != nil {
		return "", nil, err
	}
	began, how := time.Now(), "it does not know"
	err := attempt(noticedWithin, func() error {
		select {
		case <-p.done:
			how = "it ended"
			return nil
		default:
		}
		a, err := n.asker.do(ask{url: victim.url("/-/healthy"), timeout: time.Second})
		if err == nil && a.status != 200 {
			how = "it is unhealthy: " + strings.TrimSpace(string(a.body))
			return nil
		}
		return errors.Join(errors.New("it says that it is healthy"), err)
	})
	if err != nil {
		n.c.violate("the directory of %s was deleted, and it has not noticed: %v", victim.name, err)
	}
	text := fmt.Sprintf("the directory of %s is deleted while it runs; after %.1f s %s",
		victim.name, time.Since(began).Seconds(), how)
	return text, func() error {
		return errors.Join(n.lose(victim), victim.start())
	}, nil
}
