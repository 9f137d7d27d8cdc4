package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pushquorum/test/local"
)

const (
	readyWithin = 30 * time.Second
	stopWithin  = 30 * time.Second
)

// replica is one PushQuorum and what is needed to start it again as the same one.
type replica struct {
	*process
	t    testing.TB
	name string
	data string
	// web and gossip are host:port; without gossip the replica is standalone.
	web, gossip string
	peers       []string
	flags       []string
	// wrap is a program that runs the replica, with its first arguments.
	wrap []string
	// expect is --cluster.bootstrap-expect.
	expect int
}

// startReplica starts a standalone replica with a data directory of its own and waits until it is ready.
func startReplica(t testing.TB, flags ...string) *replica {
	t.Helper()
	for range 3 {
		r := &replica{t: t, name: "alone", data: t.TempDir(), web: local.Address(freePort(t)), flags: flags}
		r.start()
		if err := r.awaitReady(); errors.Is(err, errPortTaken) {
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		return r
	}
	t.Fatal("three times in a row, another program took the port meanwhile")
	return nil
}

var errPortTaken = errors.New("another program took the port meanwhile")

// start starts the process and waits for nothing.
func (r *replica) start() {
	r.t.Helper()
	line := append(slices.Clone(r.wrap), append([]string{binary(r.t)}, r.args()...)...)
	r.process = startProcess(r.t, r.name, line[0], line[1:]...)
}

// args is the command line of the replica.
func (r *replica) args() []string {
	args := []string{"--web.listen-address=" + r.web, "--storage.path=" + r.data}
	if r.gossip != "" {
		args = append(args, "--cluster.name="+r.name, "--cluster.listen-address="+r.gossip,
			fmt.Sprintf("--cluster.bootstrap-expect=%d", r.expect))
		for _, peer := range r.peers {
			args = append(args, "--cluster.peer="+peer)
		}
		if !slices.ContainsFunc(r.flags, func(f string) bool { return strings.HasPrefix(f, "--web.drain-delay=") }) {
			args = append(args, "--web.drain-delay=0s") // no load balancer has to notice
		}
	}
	return append(args, r.flags...)
}

// restart starts a replica that has ended again, on the same data and ports, and waits until it is ready.
func (r *replica) restart() {
	r.t.Helper()
	r.start()
	r.mustBeReady()
}

func (r *replica) mustBeReady() {
	r.t.Helper()
	if err := r.awaitReady(); err != nil {
		r.t.Fatal(err)
	}
}

// awaitReady waits for GET /-/ready to answer 200.
func (r *replica) awaitReady() error {
	err := attempt(readyWithin, func() error {
		if r.ended() {
			out := r.output()
			if bytes.Contains(out, []byte("address already in use")) {
				return hopeless{errPortTaken}
			}
			return hopeless{fmt.Errorf("%s ended (%s) instead of getting ready:\n%s",
				r.name, r.ending(), lastLines(out, 20))}
		}
		answer, err := do(request{url: r.url("/-/ready")})
		if err != nil {
			return err
		}
		if answer.status != http.StatusOK {
			return fmt.Errorf("GET /-/ready: %s", answer)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("wait for %s to be ready: %w", r.name, err)
	}
	return nil
}

// url is where the replica serves the path, behind its --web.route-prefix if it has one.
func (r *replica) url(path string) string {
	prefix := ""
	for _, flag := range r.flags {
		if p, ok := strings.CutPrefix(flag, "--web.route-prefix="); ok {
			prefix = p
		}
	}
	return "http://" + r.web + prefix + path
}

func (r *replica) stopNow() {
	r.t.Helper()
	r.stop(r.t, stopWithin)
}

// clusterStatus is the data of GET /api/v1/cluster.
type clusterStatus struct {
	Self         string         `json:"self"`
	Leader       string         `json:"leader"`
	Term         uint64         `json:"term"`
	CommitIndex  uint64         `json:"commit_index"`
	AppliedIndex uint64         `json:"applied_index"`
	StateHash    string         `json:"state_hash"`
	Members      []memberStatus `json:"members"`
}

type memberStatus struct {
	Name         string `json:"name"`
	ID           string `json:"id"`
	PeerAddress  string `json:"peer_address"`
	Role         string `json:"role"`
	State        string `json:"state"`
	Healthy      bool   `json:"healthy"`
	AppliedIndex uint64 `json:"applied_index"`
	Version      string `json:"version"`
}

// status asks the replica what it knows of the cluster.
func (r *replica) status() (clusterStatus, error) {
	answer, err := do(request{url: r.url("/api/v1/cluster")})
	if err != nil {
		return clusterStatus{}, err
	}
	var body struct {
		Status string        `json:"status"`
		Data   clusterStatus `json:"data"`
	}
	decoder := json.NewDecoder(strings.NewReader(answer.body))
	decoder.DisallowUnknownFields() // the page is an interface: a field that is not in it is a mistake
	if err := decoder.Decode(&body); err != nil || answer.status != http.StatusOK || body.Status != "success" {
		return clusterStatus{}, fmt.Errorf("GET /api/v1/cluster of %s: %s (%w)", r.name, answer, err)
	}
	return body.Data, nil
}

// clusterOf is a set of replicas that know each other.
type clusterOf struct {
	t        testing.TB
	replicas []*replica
}

// startCluster starts three fresh replicas that form one cluster, and waits until all are ready.
func startCluster(t testing.TB, flags ...string) *clusterOf {
	t.Helper()
	for range 3 {
		c := newCluster(t, flags...)
		for _, r := range c.replicas {
			r.start()
		}
		err := c.awaitReady()
		if errors.Is(err, errPortTaken) {
			for _, r := range c.replicas {
				r.kill()
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Fatal("three times in a row, another program took a port meanwhile")
	return nil
}

// newCluster is a cluster of three replicas, r1 to r3, of which none is started yet.
func newCluster(t testing.TB, flags ...string) *clusterOf {
	t.Helper()
	c := &clusterOf{t: t}
	var peers []string
	for range 3 {
		peers = append(peers, local.Address(freePort(t)))
	}
	for i, gossip := range peers {
		c.replicas = append(c.replicas, &replica{
			t: t, name: fmt.Sprintf("r%d", i+1), data: t.TempDir(), web: local.Address(freePort(t)),
			gossip: gossip, peers: peers, flags: flags, expect: len(peers),
		})
	}
	return c
}

func (c *clusterOf) awaitReady() error {
	for _, r := range c.replicas {
		if err := r.awaitReady(); err != nil {
			return err
		}
	}
	return nil
}

func (c *clusterOf) mustBeReady() {
	c.t.Helper()
	if err := c.awaitReady(); err != nil {
		c.t.Fatal(err)
	}
}

// at is the i-th replica, counted round and round.
func (c *clusterOf) at(i int) *replica { return c.replicas[i%len(c.replicas)] }

// leader is the replica that all running replicas agree to be the leader, once they do.
func (c *clusterOf) leader() *replica {
	c.t.Helper()
	var leader *replica
	eventually(c.t, readyWithin, "agree on a leader", func() error {
		names := map[string]bool{}
		for _, r := range c.running() {
			status, err := r.status()
			if err != nil {
				return err
			}
			names[status.Leader] = true
			leader = c.named(status.Leader)
		}
		if leader == nil || leader.ended() || len(names) != 1 {
			return fmt.Errorf("the replicas name as leader: %v", names)
		}
		return nil
	})
	return leader
}

// followers are the running replicas that do not lead.
func (c *clusterOf) followers() []*replica {
	c.t.Helper()
	leader := c.leader()
	return slices.DeleteFunc(c.running(), func(r *replica) bool { return r == leader })
}

func (c *clusterOf) running() []*replica {
	return slices.DeleteFunc(slices.Clone(c.replicas), func(r *replica) bool { return r.process == nil || r.ended() })
}

func (c *clusterOf) named(name string) *replica {
	i := slices.IndexFunc(c.replicas, func(r *replica) bool { return r.name == name })
	if i < 0 {
		return nil
	}
	return c.replicas[i]
}

// mustAgree waits until all replicas have applied the same index, and fails when their state differs there. It returns
// the one scrape they all give.
func (c *clusterOf) mustAgree() string {
	c.t.Helper()
	eventually(c.t, readyWithin, "apply the same index on all replicas", func() error {
		byIndex := map[uint64]map[string][]string{}
		for _, r := range c.replicas {
			status, err := r.status()
			if err != nil {
				return err
			}
			if byIndex[status.AppliedIndex] == nil {
				byIndex[status.AppliedIndex] = map[string][]string{}
			}
			byIndex[status.AppliedIndex][status.StateHash] = append(byIndex[status.AppliedIndex][status.StateHash],
				r.name)
		}
		for index, hashes := range byIndex {
			if len(hashes) != 1 {
				return hopeless{fmt.Errorf("the replicas have diverged at index %d: %v", index, hashes)}
			}
			if hashes[""] != nil {
				return hopeless{fmt.Errorf("no state hash at index %d", index)}
			}
		}
		if len(byIndex) != 1 {
			return fmt.Errorf("applied index → state hash → replicas: %v", byIndex)
		}
		return nil
	})
	first := c.replicas[0].scrape()
	for _, r := range c.replicas[1:] {
		if other := r.scrape(); other != first {
			c.t.Fatalf("%s and %s give different scrapes:\n%s", c.replicas[0].name, r.name, diff(first, other))
		}
	}
	return first
}
