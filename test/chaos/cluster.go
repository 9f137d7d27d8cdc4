package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// pushTimeout is what the replicas are told; refused pushes have to be answered soon after it.
	pushTimeout = 3 * time.Second
	answerSlack = 2 * time.Second
	// readyWithin is how soon all must be well after the last fault.
	readyWithin = 10 * time.Second
	startWithin = 30 * time.Second
	stopWithin  = pushTimeout + 10*time.Second
	// deadServerGrace is short, so that members who leave for good are soon not waited for.
	deadServerGrace = 5 * time.Second
)

// webPort is where clients are served.
const webPort = 8080

const (
	// spares is how many replicas beyond those of the start may come and go.
	spares = 2
	// guests is how many replicas of another cluster there may be.
	guests = 3
)

// cluster is the replicas of one run, and what is known of them.
type cluster struct {
	machine   machine
	site      site
	flags     []string
	expect    int
	replicas  []*replica // those that are members now, and the spares
	history   *history
	inspector *asker
	out       io.Writer

	strangers *cluster // another one, that is not to be met; nil where there can be none
	host      *cluster // of strangers: the cluster under test

	mu         sync.Mutex
	violations []string
	// firstViolation is when it was found.
	firstViolation time.Duration
	leaderName     string
	leaderTerm     uint64
	full           []span // when the replicas were at their limit
}

// newCluster makes the hosts of so many replicas and of the spares, under dir, and starts nothing.
func newCluster(binary, dir string, n int, m machine, chance *rand.Rand, out io.Writer) (*cluster, error) {
	c := &cluster{machine: m, expect: n, history: newHistory(), inspector: newAsker(), out: out}
	c.flags = []string{
		"--web.enable-admin-api", fmt.Sprintf("--push.timeout=%s", pushTimeout),
		"--storage.snapshot-entries=300", // often: a snapshot is under way in the middle of most things
		fmt.Sprintf("--cluster.dead-server-grace=%s", deadServerGrace), "--web.drain-delay=1s",
		fmt.Sprintf("--limit.groups=%d", mostGroups),
	}
	hosts := n + spares
	if m.image == "" {
		c.strangers = &cluster{machine: m, flags: c.flags, history: c.history, inspector: newAsker(), out: out, host: c}
		hosts += guests
	}
	var err error
	if c.site, err = newSite(hosts, m, binary, dir, chance); err != nil {
		return nil, err
	}
	for i := 1; i <= hosts; i++ {
		of, name := c, fmt.Sprintf("r%d", i)
		if guest := i - n - spares; guest > 0 {
			of, name = c.strangers, fmt.Sprintf("s%d", guest)
			of.site = c.site
		}
		r := &replica{
			c: of, index: i, name: name, log: filepath.Join(dir, name+".log"), member: of == c && i <= n,
			troubles: []span{{}},
		}
		if r.store, err = c.site.storage(i, name); err != nil {
			return nil, err
		}
		if err := r.address(); err != nil {
			return nil, err
		}
		of.replicas = append(of.replicas, r)
	}
	return c, nil
}

// all are the replicas of both clusters.
func (c *cluster) all() []*replica {
	if c.strangers == nil {
		return c.replicas
	}
	return slices.Concat(c.replicas, c.strangers.replicas)
}

// address takes the addresses that the replica's host has now.
func (r *replica) address() error {
	r.addresses.Lock()
	defer r.addresses.Unlock()
	for port, address := range map[int]*string{webPort: &r.web, 7946: &r.gossip, 7947: &r.raft} {
		var err error
		if *address, err = r.c.site.address(r.index, port); err != nil {
			return err
		}
	}
	return nil
}

// members are the replicas that are meant to run, those of the start first.
func (c *cluster) members() []*replica {
	return slices.DeleteFunc(slices.Clone(c.replicas), func(r *replica) bool { return !r.isMember() })
}

func (c *cluster) any(chance *rand.Rand) *replica {
	members := c.members()
	return members[chance.IntN(len(members))]
}

// peers are the replicas that the others are told of: those of the start. One that is to be alone is told of nobody.
func (c *cluster) peers() []string {
	if c.expect == 1 && c.host != nil {
		return nil
	}
	var out []string
	for _, r := range c.replicas[:c.expect] {
		r.addresses.RLock()
		out = append(out, r.gossip)
		r.addresses.RUnlock()
	}
	return out
}

// startAll starts those that do not run and waits until all are ready.
func (c *cluster) startAll(within time.Duration) error {
	for _, r := range c.members() {
		if err := r.start(); err != nil {
			return err
		}
	}
	return c.awaitReady(within)
}

func (c *cluster) awaitReady(within time.Duration) error {
	return attempt(within, func() error {
		for _, r := range c.members() {
			a, err := c.inspector.do(ask{url: r.url("/-/ready"), timeout: 2 * time.Second})
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			if a.status != 200 {
				return fmt.Errorf("%s is not ready: %d %s", r.name, a.status, strings.TrimSpace(string(a.body)))
			}
		}
		return nil
	})
}

// status is what is asked of GET /api/v1/cluster.
type status struct {
	Self         string   `json:"self"`
	Leader       string   `json:"leader"`
	Term         uint64   `json:"term"`
	AppliedIndex uint64   `json:"applied_index"`
	StateHash    string   `json:"state_hash"`
	Members      []member `json:"members"`

	peer string // where the replica that was asked is reached by others
}

type member struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Peer    string `json:"peer_address"`
	Role    string `json:"role"`
	Healthy bool   `json:"healthy"`
}

func (c *cluster) status(r *replica) (status, error) { return c.statusWithin(r, 5*time.Second) }

func (c *cluster) statusWithin(r *replica, timeout time.Duration) (status, error) {
	a, err := c.inspector.do(ask{url: r.url("/api/v1/cluster"), timeout: timeout})
	if err != nil {
		return status{}, err
	}
	var page struct {
		Data status `json:"data"`
	}
	if a.status != 200 {
		return status{}, fmt.Errorf("%s: status %d: %s", r.name, a.status, a.body)
	}
	if err := json.Unmarshal(a.body, &page); err != nil {
		return status{}, fmt.Errorf("%s: %w", r.name, err)
	}
	if page.Data.Leader != "" {
		c.mu.Lock()
		if page.Data.Term >= c.leaderTerm {
			c.leaderName, c.leaderTerm = page.Data.Leader, page.Data.Term
		}
		c.mu.Unlock()
	}
	r.addresses.RLock()
	page.Data.peer = r.raft
	r.addresses.RUnlock()
	return page.Data, nil
}

// leader is the replica that was last heard to lead.
func (c *cluster) leader() *replica {
	members := c.members()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range members {
		if r.name == c.leaderName {
			return r
		}
	}
	return c.replicas[0]
}

// violate records that a promise was broken.
func (c *cluster) violate(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if c.host != nil {
		c.host.violate("of the strangers, %s", text)
		return
	}
	c.mu.Lock()
	c.violations = append(c.violations, text)
	n := len(c.violations)
	if n == 1 {
		c.firstViolation = c.history.now()
	}
	c.mu.Unlock()
	if n <= 20 { // one mistake shows itself a thousand times
		c.note("VIOLATION %s", text)
	}
}

func (c *cluster) note(format string, args ...any) {
	_, _ = fmt.Fprintf(c.out, "%7.1f s  %s\n", c.history.now().Seconds(), fmt.Sprintf(format, args...))
}

func (c *cluster) close() {
	for _, r := range c.all() {
		_ = r.kill() // the checks are over
		r.store.close()
		if r.store.disk != nil {
			_ = os.Remove(r.store.dir)
		}
	}
	c.site.close()
}

// attempt tries until there is no error, and returns the last one when there is one after the time.
func attempt(within time.Duration, try func() error) error {
	deadline := time.Now().Add(within)
	for {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("not within %s", within), err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
