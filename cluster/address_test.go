package cluster

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
)

func TestAddressesMayChangeAllAtOnce(t *testing.T) {
	_, replicas := trio(t)
	push(t, replicas[0], "before", 1)
	var addresses []string
	for _, r := range replicas {
		r.crash()
		addresses = append(addresses, freePorts(t))
	}
	for i, r := range replicas {
		r.cfg.ListenAddress, r.cfg.Peers = addresses[i], addresses
	}
	for _, r := range replicas {
		r.start()
	}
	waitReady(t, replicas...)
	push(t, replicas[2], "after", 2)
	for _, r := range replicas {
		if err := r.ReadBarrier(testContext(t)); err != nil || !hasJob(r, "before") || !hasJob(r, "after") {
			t.Fatalf("%s: %v", r.cfg.Name, err)
		}
	}
}

// freePortOn gives a port that is free, like the next one, on all of the hosts.
func freePortOn(t *testing.T, hosts ...string) (port string) {
	t.Helper()
	for range 100 {
		_, port, _ = net.SplitHostPort(freePorts(t))
		free := true
		for _, h := range hosts {
			ln, err := net.Listen("tcp", net.JoinHostPort(h, port))
			if free = free && err == nil; err == nil {
				_ = ln.Close()
			}
		}
		if free {
			return port
		}
	}
	t.Skipf("this machine does not listen on all of %v", hosts)
	return ""
}

func TestEveryReplicaMayGetAnotherIPAndEvenAnothersOldOne(t *testing.T) {
	ips := []string{"127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6"}
	port := freePortOn(t, ips...)
	dns := &fakeDNS{hosts: map[string][]string{}}
	dns.set("peers.test", ips[:3]...)
	tn := newTestNet()
	var replicas []*replicaT
	for i := range 3 {
		r := newReplica(t, tn, fmt.Sprintf("r%d", i+1), net.JoinHostPort(ips[i], port), 3, "peers.test:"+port)
		r.tune.resolver = dns
		replicas = append(replicas, r.start())
	}
	waitReady(t, replicas...)
	push(t, replicas[0], "before", 1)
	// All new; then each at the address at which another was known; then some new, some another's.
	for round, now := range [][]string{{ips[3], ips[4], ips[0]}, {ips[4], ips[0], ips[3]}, {ips[0], ips[1], ips[4]}} {
		for _, r := range replicas {
			r.crash()
		}
		dns.set("peers.test", now...)
		for i, r := range replicas {
			r.cfg.ListenAddress = net.JoinHostPort(now[i], port)
			r.start()
		}
		waitReady(t, replicas...)
		job := fmt.Sprintf("round%d", round)
		push(t, replicas[round], job, 2)
		for i, r := range replicas {
			if err := r.ReadBarrier(testContext(t)); err != nil || !hasJob(r, "before") || !hasJob(r, job) {
				t.Fatalf("%s: %v", r.cfg.Name, err)
			}
			eventually(t, "the configuration says where it is now", func() bool {
				for _, s := range replicas[0].raft.GetConfiguration().Configuration().Servers {
					if a, err := parseServerAddress(s.Address); err == nil && a.id == r.self {
						return strings.HasPrefix(a.peer, now[i]+":") && a.name == r.cfg.Name
					}
				}
				return false
			})
		}
		if !exactly(replicas, replicas...) {
			t.Fatalf("the members have changed: %v", configured(replicas[0]))
		}
	}
}

// fakeDNS is a resolver whose answers can be changed.
type fakeDNS struct {
	mu    sync.Mutex
	hosts map[string][]string
}

func (d *fakeDNS) set(host string, ips ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hosts[host] = ips
}

func (d *fakeDNS) LookupIPAddr(_ context.Context, host string) ([]net.IPAddr, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.hosts[host]) == 0 {
		return nil, fmt.Errorf("lookup %s: no such host", host)
	}
	var out []net.IPAddr
	for _, ip := range d.hosts[host] {
		out = append(out, net.IPAddr{IP: net.ParseIP(ip)})
	}
	return out, nil
}

func TestPeerNameIsResolvedAgainUntilItAnswers(t *testing.T) {
	tn := newTestNet()
	dns := &fakeDNS{hosts: map[string][]string{}}
	a := newReplica(t, tn, "a", freePorts(t), 1).start()
	_, port, err := net.SplitHostPort(a.cfg.ListenAddress)
	if err != nil {
		t.Fatal(err)
	}
	b := newReplica(t, tn, "b", freePorts(t), 1, "peers.test:"+port)
	b.tune.resolver = dns
	b.start()
	eventually(t, "the failure is logged", func() bool { return strings.Contains(b.logs.String(), "does not resolve") })
	dns.set("peers.test", "127.0.0.2", "127.0.0.1")
	waitReady(t, a, b)
	if n := strings.Count(b.logs.String(), "does not resolve"); n != 1 {
		t.Errorf("the failure is logged %d times, want once", n)
	}
}
