package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pushquorum/test/local"
)

// cluster is the replicas of one room.
type cluster struct {
	room     room
	dir      string
	spawner  *local.Spawner
	replicas []*replica
	ledger   *ledger
	client   *http.Client // of the harness, which asks how things are
}

// replica is one PushQuorum in its control groups, one process after another.
type replica struct {
	local.Process
	web   string
	data  string
	group *group

	kills     int64        // by the kernel, as far as they are known
	all, rss  atomic.Int64 // the most that was seen of what is charged, and what of it is no page of a file
	unsampled func()
}

// newCluster makes the room and starts nothing. The replicas run with their defaults, as users run them; only the wait
// for a load balancer is left out, and wiping let in.
func (p *plan) newCluster(r room, spawner *local.Spawner, ports *local.Ports) (*cluster, error) {
	c := &cluster{
		room: r, dir: filepath.Join(p.dir, r.name), spawner: spawner, ledger: newLedger(), client: newClient(0),
	}
	if err := os.RemoveAll(c.dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var gossip []string
	for range r.replicas {
		port, err := ports.Free()
		if err != nil {
			return nil, err
		}
		gossip = append(gossip, local.Address(port))
	}
	for i := range r.replicas {
		port, err := ports.Free()
		if err != nil {
			return nil, err
		}
		name := fmt.Sprintf("r%d", i+1)
		disk := filepath.Join(c.dir, name)
		if err := os.MkdirAll(disk, 0o755); err != nil {
			return nil, err
		}
		if r.disk > 0 {
			if err := smallDisk(disk, r.disk, p.out); err != nil {
				return nil, err
			}
		}
		one := &replica{web: local.Address(port), data: filepath.Join(disk, "data"), unsampled: func() {}}
		if one.group, err = p.control.group(r.name+"-"+name, r.memory, r.cpus); err != nil {
			return nil, err
		}
		args := []string{
			p.binary, "--web.listen-address=" + one.web, "--storage.path=" + one.data,
			"--web.enable-admin-api", "--web.drain-delay=0s",
		}
		if r.replicas > 1 {
			args = append(args, "--cluster.name="+name, "--cluster.listen-address="+gossip[i],
				fmt.Sprintf("--cluster.bootstrap-expect=%d", r.replicas))
			for _, peer := range gossip {
				args = append(args, "--cluster.peer="+peer)
			}
		}
		one.Process = local.Process{
			Name: r.name + "/" + name, Args: one.group.command(self, args), Log: filepath.Join(c.dir, name+".log"),
		}
		c.replicas = append(c.replicas, one)
	}
	return c, nil
}

// start starts the process, and looks at its memory until it ends.
func (r *replica) start(s *local.Spawner) error {
	r.unsampled()
	if err := r.Start(s); err != nil {
		return err
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	r.unsampled = sync.OnceFunc(func() { close(stop); <-stopped })
	go func() {
		defer close(stopped)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			if all, rss, err := r.group.usage(); err == nil {
				raise(&r.all, all)
				raise(&r.rss, rss)
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	return nil
}

func raise(most *atomic.Int64, to int64) {
	for {
		was := most.Load()
		if to <= was || most.CompareAndSwap(was, to) {
			return
		}
	}
}

// killed says that the kernel has ended the process, or an earlier one since it was asked last. It counts a kill before
// the process is gone, which is waited for.
func (r *replica) killed() error {
	kills, err := r.group.kernelKills()
	if err != nil {
		return err
	}
	counted := kills > r.kills
	r.kills = kills
	if counted && r.Gone() != nil {
		select {
		case <-r.Gone():
		case <-time.After(10 * time.Second):
		}
	}
	if counted || r.Killed() {
		return fmt.Errorf("%s was killed by the kernel: its memory was at an end (%s)", r.Name, r.Log)
	}
	return nil
}

// dead says which replicas were killed by the kernel, or have ended otherwise.
func (c *cluster) dead() error {
	var errs []error
	for _, r := range c.replicas {
		err := r.killed()
		if err == nil && !r.Over() {
			err = r.Ended()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// gone says whether a process is not there any more, at no cost.
func (c *cluster) gone() bool {
	return slices.ContainsFunc(c.replicas, func(r *replica) bool { return r.Ended() != nil })
}

func (c *cluster) start(replicas ...*replica) error {
	for _, r := range replicas {
		if err := r.start(c.spawner); err != nil {
			return err
		}
	}
	return nil
}

// ready waits until all are; one that ends instead will not be.
func (c *cluster) ready(ctx context.Context) error {
	return attempt(ctx, c.room.ready, func() error {
		if err := c.dead(); err != nil {
			return hopeless{err}
		}
		for _, r := range c.replicas {
			a, err := c.get(ctx, r, "/-/ready")
			if err == nil && a.status != http.StatusOK {
				err = fmt.Errorf("status %d: %s", a.status, strings.TrimSpace(a.body))
			}
			if err != nil {
				return fmt.Errorf("%s is not ready: %w", r.Name, err)
			}
		}
		return nil
	})
}

func (c *cluster) get(ctx context.Context, r *replica, path string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.room.ready)
	defer cancel()
	return do(ctx, c.client, ask{method: http.MethodGet, url: r.url(path)})
}

func (r *replica) url(path string) string { return "http://" + r.web + path }

// emptied starts all of them anew with nothing, after which nothing is booked any more.
func (c *cluster) emptied(ctx context.Context) error {
	c.killAll()
	for _, r := range c.replicas {
		if err := os.RemoveAll(r.data); err != nil {
			return err
		}
	}
	c.ledger.clear()
	if err := c.start(c.replicas...); err != nil {
		return err
	}
	return c.ready(ctx)
}

func (c *cluster) killAll() {
	for _, r := range c.replicas {
		if !r.Over() {
			r.Kill()
		}
	}
}

// close ends it all, and leaves the logs.
func (c *cluster) close() error {
	c.killAll()
	var errs []error
	for _, r := range c.replicas {
		r.unsampled()
		disk := filepath.Dir(r.data)
		if c.room.disk > 0 {
			errs = append(errs, unmount(disk), removeIfThere(disk+".ext4"))
		}
		errs = append(errs, os.RemoveAll(disk))
	}
	return errors.Join(errs...)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// agree waits until all replicas are at the same index with the same state, and holds the page of each against the
// ledger. Nobody may be writing.
func (c *cluster) agree(ctx context.Context) error {
	err := attempt(ctx, c.room.ready, func() error {
		if err := c.dead(); err != nil {
			return hopeless{err}
		}
		var at []string
		for _, r := range c.replicas {
			state, err := c.state(ctx, r)
			if err != nil {
				return err
			}
			at = append(at, state)
		}
		if slices.Sort(at); at[0] != at[len(at)-1] {
			return fmt.Errorf("the replicas are not at one state: %q", at)
		}
		return nil
	})
	if err != nil {
		return err
	}
	first := ""
	for i, r := range c.replicas {
		a, err := c.get(ctx, r, "/metrics")
		if err == nil && a.status != http.StatusOK {
			err = fmt.Errorf("status %d: %.200s", a.status, a.body)
		}
		if err != nil {
			return fmt.Errorf("the page of %s: %w", r.Name, err)
		}
		switch {
		case i == 0:
			first = a.body
			if err := c.ledger.check(a.body); err != nil {
				return fmt.Errorf("%s: %w", r.Name, err)
			}
		case a.body != first:
			return fmt.Errorf("the pages of %s and %s differ at the same state", c.replicas[0].Name, r.Name)
		}
	}
	return nil
}

// state is where a replica stands and what it holds there.
func (c *cluster) state(ctx context.Context, r *replica) (string, error) {
	a, err := c.get(ctx, r, "/api/v1/cluster")
	if err != nil {
		return "", err
	}
	var page struct {
		Data struct {
			AppliedIndex uint64 `json:"applied_index"`
			StateHash    string `json:"state_hash"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(a.body), &page); err != nil || page.Data.StateHash == "" {
		return "", fmt.Errorf("%s does not say its state: status %d: %.200q", r.Name, a.status, a.body)
	}
	return fmt.Sprintf("index %d hash %s", page.Data.AppliedIndex, page.Data.StateHash), nil
}
