package main

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// mostGroups is the limit that the replicas run with: far more than the writers ever have, filled within a second.
	mostGroups = 300
	fillers    = 16
	fillJob    = "full"
	// fillTimeout is what a push of a filler may take: it has others to ask.
	fillTimeout = time.Second
	// filledWithin is how long other faults wait for this one, which can do little once they are on.
	filledWithin = 4 * time.Second
)

// fill keeps the replicas at their limit, with groups of the fault's own. The writers' wipes make room, which is filled
// again.
func fill(n *nemesis) (string, func() error, error) {
	n.c.beginFull()
	stop := make(chan struct{})
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	var all sync.WaitGroup
	for i := range fillers {
		all.Go(func() {
			for k := 0; !stopped(); k++ {
				n.episodeFills.Add(1)
				members := n.c.members()
				r := members[(i+k)%len(members)]
				if n.fillOne(r, fmt.Sprintf("%d-%d-%d", n.episodes, i, k)) {
					continue
				}
				select { // it is full, or other faults are on
				case <-stop:
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
	}
	text := fmt.Sprintf("groups up to the limit of %d", mostGroups)
	if err := attempt(filledWithin, func() error {
		if n.refusedFull.Load() == 0 {
			return errors.New("nothing is refused")
		}
		return nil
	}); err != nil {
		text += ", as far as one gets"
	}
	return text, func() error {
		close(stop)
		all.Wait()
		n.c.note("full: %d pushes tried, %d refused at the limit", n.episodeFills.Swap(0), n.refusedFull.Swap(0))
		return nil
	}, nil
}

// fillOne pushes one group and says whether it is stored.
func (n *nemesis) fillOne(r *replica, name string) bool {
	path := "/metrics/job/" + fillJob + "/instance/" + name
	a, err := n.asker.do(ask{method: http.MethodPut, url: r.url(path), body: "full 1\n", timeout: fillTimeout})
	if err != nil {
		return false // that all are answered is for the writers to see
	}
	switch a.status {
	case http.StatusOK:
		return true
	case http.StatusTooManyRequests:
		n.refusedFull.Add(1)
		n.c.mustSayWhatIsFull(r, a)
	case http.StatusServiceUnavailable:
	default:
		n.c.violate("%s answered a push that fills it with %d: %s", r.name, a.status, a.body)
	}
	return false
}

func (c *cluster) mustSayWhatIsFull(r *replica, a answer) {
	reason := strings.TrimSpace(string(a.body))
	if !strings.Contains(reason, "--limit.groups") || strings.Contains(reason, "\n") {
		c.violate("%s is full and does not say of what: %q", r.name, reason)
	}
}

var filledGroup = regexp.MustCompile(`(?m)^full\{instance="([^"]+)",job="full"\} `)

// drain deletes what a fault has filled the replicas with, which must go however full they are, and says when nothing
// is left. All faults are lifted and all replicas are ready.
func (n *nemesis) drain() error {
	if !n.c.isFull() {
		return nil
	}
	err := attempt(readyWithin, func() error {
		r := n.c.members()[0]
		page, err := n.asker.do(ask{url: r.url("/metrics"), timeout: scrapeWithin})
		if err == nil && page.status != http.StatusOK {
			err = fmt.Errorf("%s: status %d: %s", r.name, page.status, page.body)
		}
		if err != nil {
			return err
		}
		left := filledGroup.FindAllSubmatch(page.body, -1)
		if len(left) == 0 {
			return nil
		}
		var next atomic.Int64
		errs := make([]error, fillers)
		var all sync.WaitGroup
		for i := range fillers {
			all.Go(func() {
				for at := next.Add(1) - 1; int(at) < len(left) && errs[i] == nil; at = next.Add(1) - 1 {
					errs[i] = n.unfill(string(left[at][1]))
				}
			})
		}
		all.Wait()
		// None is left once a page says so.
		return errors.Join(append(errs, fmt.Errorf("%d groups of the fault were left", len(left)))...)
	})
	if err == nil {
		n.c.endFull()
	}
	return err
}

func (n *nemesis) unfill(instance string) error {
	r := n.c.members()[0]
	url := r.url("/metrics/job/" + fillJob + "/instance/" + instance)
	a, err := n.asker.do(ask{method: http.MethodDelete, url: url, timeout: pushTimeout + answerSlack})
	if err == nil && a.status != http.StatusAccepted {
		err = fmt.Errorf("%s answers a delete with %d: %s", r.name, a.status, a.body)
	}
	return err
}

// beginFull and endFull are the times at which a push may be refused because the replicas are full.
func (c *cluster) beginFull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.full); n == 0 || c.full[n-1].to != 0 {
		c.full = append(c.full, span{from: c.history.now()})
	}
}

func (c *cluster) endFull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.full[len(c.full)-1].to = c.history.now()
}

func (c *cluster) isFull() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.full)
	return n > 0 && c.full[n-1].to == 0
}

// mayBeFull says whether the replicas were meant to be full at some moment of this time.
func (c *cluster) mayBeFull(from, to time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.full {
		if s.from < to && (s.to == 0 || s.to > from) {
			return true
		}
	}
	return false
}
