package test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The figures of the cluster's life cycle: how long things take when something dies. They are printed, not judged: a
// busy machine is no bug. `make figures` runs them.
func figures(t *testing.T) {
	t.Helper()
	if os.Getenv("PUSHQUORUM_FIGURES") != "1" {
		t.Skip("measures for some minutes; make figures runs it")
	}
}

// figureRuns is how often each is measured.
const figureRuns = 5

// pushers push without a pause through some replicas, and remember when a push was acknowledged.
type pushers struct {
	quit chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex
	acks    []time.Time
	failed  []string
	slowest time.Duration
}

// startPushers lets each replica be pushed to by so many clients.
func startPushers(t testing.TB, clients int, through ...*replica) *pushers {
	t.Helper()
	p := &pushers{quit: make(chan struct{})}
	for i := range clients * len(through) {
		r := through[i%len(through)]
		p.wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-p.quit:
					return
				default:
				}
				began := time.Now()
				a, err := do(request{
					method: http.MethodPut, url: r.url(fmt.Sprintf("/metrics/job/figures/client/%d", i)),
					body: gauge("e2e_figures", n),
				})
				p.note(began, a, err)
			}
		})
	}
	t.Cleanup(p.stop)
	return p
}

func (p *pushers) note(began time.Time, a answer, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if err != nil || a.status != http.StatusOK {
		p.failed = append(p.failed, fmt.Sprintf("%s (%v)", a, err))
		return
	}
	p.acks = append(p.acks, now)
	p.slowest = max(p.slowest, now.Sub(began))
}

func (p *pushers) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.acks)
}

func (p *pushers) stop() {
	select {
	case <-p.quit:
	default:
		close(p.quit)
	}
	p.wg.Wait()
}

// gap is the longest time without an acknowledgement.
func (p *pushers) gap() time.Duration {
	var gap time.Duration
	for i := 1; i < len(p.acks); i++ {
		gap = max(gap, p.acks[i].Sub(p.acks[i-1]))
	}
	return gap
}

// someMore waits until some hundred more pushes were acknowledged.
func (p *pushers) someMore(t testing.TB) {
	t.Helper()
	want := p.count() + 500
	eventually(t, time.Minute, "acknowledge pushes", func() error {
		if got := p.count(); got < want {
			return fmt.Errorf("%d to go", want-got)
		}
		return nil
	})
}

func TestFigureLeaderKilled(t *testing.T) {
	figures(t)
	c := startCluster(t)
	for run := range figureRuns {
		leader, others := c.leader(), c.followers()
		p := startPushers(t, 4, others...)
		p.someMore(t)
		leader.kill()
		p.someMore(t)
		p.stop()
		t.Logf("kill -9 of the leader, run %d: %d pushes, %d failed, longest gap %s, slowest push %s",
			run+1, len(p.acks), len(p.failed), p.gap().Round(time.Millisecond), p.slowest.Round(time.Millisecond))
		if len(p.failed) > 0 {
			t.Errorf("failed: %s", p.failed[0])
		}
		leader.restart()
	}
}

func TestFigureLeaderPartitionedAway(t *testing.T) {
	figures(t)
	c := startNetnsCluster(t)
	for run := range figureRuns {
		leader, others := c.leader(), c.followers()
		p := startPushers(t, 4, others...)
		p.someMore(t)
		c.cut(leader, true)
		p.someMore(t)
		p.stop()
		t.Logf("leader partitioned away, run %d: %d pushes, %d failed, the majority accepts again after %s, slowest "+
			"push %s",
			run+1, len(p.acks), len(p.failed), p.gap().Round(time.Millisecond), p.slowest.Round(time.Millisecond))
		if len(p.failed) > 0 {
			t.Errorf("failed: %s", p.failed[0])
		}
		c.cut(leader, false)
		began := time.Now()
		c.mustBeReady()
		t.Logf("… healed, run %d: all ready after %s", run+1, time.Since(began).Round(time.Millisecond))
	}
}

func TestFigureLostDisk(t *testing.T) {
	figures(t)
	const groups, size = 250, 100 << 10 // 25 MB
	c := startCluster(t)
	for i := range groups {
		c.at(i).push(fmt.Sprintf("/metrics/job/state/shard/%d", i), bulk(i, size))
	}
	for run := range figureRuns {
		lost := c.followers()[0]
		lost.kill()
		if err := os.RemoveAll(lost.data); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		lost.start()
		lost.mustBeReady()
		ready := time.Since(began)
		var votes time.Duration
		eventually(t, 2*time.Minute, "vote, and have the predecessor removed", func() error {
			status, err := c.leader().status()
			if err != nil {
				return err
			}
			voters := 0
			for _, m := range status.Members {
				if m.Role == "voter" && m.Healthy {
					voters++
				}
			}
			if voters == 3 && votes == 0 {
				votes = time.Since(began)
			}
			if voters != 3 || len(status.Members) != 3 {
				return fmt.Errorf("members %+v", status.Members)
			}
			return nil
		})
		t.Logf("lost disk, %d MB of state, run %d: ready after %s, a voter after %s, the predecessor removed after %s",
			groups*size>>20, run+1,
			ready.Round(time.Millisecond), votes.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	}
	c.mustAgree()
}

// bulk is about so many bytes of gauges, whose names are the group's own.
func bulk(group, size int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# HELP e2e_bulk_%d Bulk.\n# TYPE e2e_bulk_%d gauge\n", group, group)
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "e2e_bulk_%d{label=\"some value of a usual length %d\"} %d\n", group, i, i)
	}
	return b.String()
}

// netnsCluster has every replica in a network namespace of its own, on a bridge; a link can be cut.
type netnsCluster struct {
	*clusterOf
	prefix string
}

// startNetnsCluster needs root and iproute2.
func startNetnsCluster(t *testing.T) *netnsCluster {
	t.Helper()
	need(t, "ip")
	if os.Geteuid() != 0 {
		missing(t, "root", "network namespaces need it")
	}
	c := &netnsCluster{clusterOf: &clusterOf{t: t}, prefix: fmt.Sprintf("pqf%d", os.Getpid()%100000)}
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	third := os.Getpid() % 250
	address := func(i int) string { return fmt.Sprintf("10.213.%d.%d", third, i) }
	// The bridge has a namespace of its own: the host's firewall, a container engine's say, might drop what goes over
	// one.
	hub := c.hub()
	run("netns", "add", hub)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", hub).Run() })
	run("-n", hub, "link", "add", "bridge0", "type", "bridge")
	run("-n", hub, "link", "set", "bridge0", "up")
	run("link", "add", c.prefix, "type", "veth", "peer", "name", "host", "netns", hub)
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", c.prefix).Run() })
	run("-n", hub, "link", "set", "host", "master", "bridge0", "up")
	run("addr", "add", address(254)+"/24", "dev", c.prefix)
	run("link", "set", c.prefix, "up")
	var peers []string
	for i := 1; i <= 3; i++ {
		peers = append(peers, address(i)+":7946")
	}
	for i := 1; i <= 3; i++ {
		ns := fmt.Sprintf("%s-%d", c.prefix, i)
		run("netns", "add", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		run("-n", hub, "link", "add", c.port(i), "type", "veth", "peer", "name", "eth0", "netns", ns)
		run("-n", hub, "link", "set", c.port(i), "master", "bridge0", "up")
		run("-n", ns, "addr", "add", address(i)+"/24", "dev", "eth0")
		run("-n", ns, "link", "set", "eth0", "up")
		run("-n", ns, "link", "set", "lo", "up")
		c.replicas = append(c.replicas, &replica{
			t: t, name: fmt.Sprintf("r%d", i), data: t.TempDir(), web: address(i) + ":9091", gossip: peers[i-1],
			peers: peers, expect: 3,
			wrap: []string{"ip", "netns", "exec", ns},
		})
	}
	for _, r := range c.replicas {
		r.start()
	}
	c.mustBeReady()
	return c
}

func (c *netnsCluster) hub() string { return c.prefix + "-hub" }

func (c *netnsCluster) port(i int) string { return fmt.Sprintf("port%d", i) }

// cut takes a replica's link down, or up again.
func (c *netnsCluster) cut(r *replica, down bool) {
	c.t.Helper()
	state := "up"
	if down {
		state = "down"
	}
	i := slices.Index(c.replicas, r) + 1
	if out, err := exec.Command("ip", "-n", c.hub(), "link", "set", c.port(i), state).CombinedOutput(); err != nil {
		c.t.Fatalf("ip link set %s %s: %v: %s", c.port(i), state, err, out)
	}
}
