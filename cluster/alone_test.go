package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pushquorum/cluster/internal/gossip"
)

func TestOwnGossipAddresses(t *testing.T) {
	local := netip.MustParseAddr("127.0.0.1") // a host may have no other
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			local = p.Addr()
		}
	}
	for name, c := range map[string]struct {
		bind, advertise, at string
		want                bool
	}{
		"where it listens": {"127.0.0.1:7946", "127.0.0.1:7946", "127.0.0.1:7946", true},
		"another port":     {"127.0.0.1:7946", "127.0.0.1:7946", "127.0.0.1:7948", false},
		"another address of the host": {
			"127.0.0.5:7946", "127.0.0.5:7946", local.String() + ":7946",
			false,
		},
		"an address that is translated": {"10.0.0.1:7946", "203.0.113.7:17946", "203.0.113.7:17946", true},
		"all, at an address of the host": {
			"0.0.0.0:7946", "203.0.113.7:7946", local.String() + ":7946",
			true,
		},
		"all, at the host itself":                   {"0.0.0.0:7946", "203.0.113.7:7946", "127.0.0.1:7946", true},
		"all, at another port":                      {"0.0.0.0:7946", "203.0.113.7:7946", "127.0.0.1:7948", false},
		"all, at another host":                      {"0.0.0.0:7946", "203.0.113.7:7946", "203.0.113.8:7946", false},
		"all of IPv4, at the host itself over IPv6": {"0.0.0.0:7946", "203.0.113.7:7946", "[::1]:7946", false},
		"all, at the host itself over IPv6":         {"[::]:7946", "203.0.113.7:7946", "[::1]:7946", true},
	} {
		t.Run(name, func(t *testing.T) {
			a := gossip.Addresses{
				GossipBind:      netip.MustParseAddrPort(c.bind),
				GossipAdvertise: netip.MustParseAddrPort(c.advertise),
			}
			if got := a.IsOwnGossip(netip.MustParseAddrPort(c.at)); got != c.want {
				t.Errorf("listening on %s and told as %s, %s is its own: %t", c.bind, c.advertise, c.at, got)
			}
		})
	}
}

// statefulSet is replicas with one command line, behind a Service whose name stands for those that were started.
type statefulSet struct {
	t    *testing.T
	net  *testNet
	dns  *fakeDNS
	port string
	ips  []string
	all  []*replicaT
}

func newStatefulSet(t *testing.T) *statefulSet {
	s := &statefulSet{
		t: t, net: newTestNet(), dns: &fakeDNS{hosts: map[string][]string{}},
		ips: []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"},
	}
	s.port = freePortOn(t, s.ips...)
	return s
}

// add makes the next replica, and an address for it, without starting it.
func (s *statefulSet) add() *replicaT {
	i := len(s.all)
	r := newReplica(s.t, s.net, fmt.Sprintf("x-%d", i), net.JoinHostPort(s.ips[i], s.port), 1, "x-0.x.test:"+s.port,
		"x.test:"+s.port)
	r.tune.resolver, r.tune.waitLog = s.dns, 100*time.Millisecond
	s.all = append(s.all, r)
	s.dns.set(r.cfg.Name+".x.test", s.ips[i])
	s.dns.set("x.test", s.ips[:len(s.all)]...)
	return r
}

func TestOneGrowsToThreeByTheSameCommandLine(t *testing.T) {
	t.Parallel()
	s := newStatefulSet(t)
	first := s.add().start()
	waitReady(t, first)
	push(t, first, "alone", 1)
	for range 2 {
		s.add().start()
	}
	first.crash() // it comes last in a rolling update, but may fail at any time
	first.start()
	waitReady(t, s.all...)
	eventually(t, "all vote", func() bool { return exactly(s.all, s.all...) })
	if c := clusters(s.all); len(c) != 1 || !hasJob(s.all[2], "alone") {
		t.Fatalf("clusters %v", c)
	}
}

func TestThreeThatExpectOneAndNameEachOtherWaitAndSayWhy(t *testing.T) {
	t.Parallel()
	s := newStatefulSet(t)
	for range 3 {
		s.add()
	}
	for _, r := range s.all {
		r.tune.settleAlone = 50 * time.Millisecond
		r.start()
	}
	for i, r := range s.all {
		eventually(t, r.cfg.Name+" says why it waits",
			func() bool { return strings.Contains(r.logs.String(), ", which is not this replica") })
		eventually(t, r.cfg.Name+" goes on waiting",
			func() bool { return strings.Count(r.logs.String(), "waiting for a cluster") > 5 })
		if r.hasState() {
			t.Errorf("replica %d has founded a cluster", i)
		}
	}
}

// TestOneThatLostItsDiskIsAddedAgain: the founder's command line founds nothing while others are there.
func TestOneThatLostItsDiskIsAddedAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it waits for elections and for gossip")
	}
	t.Parallel()
	s := newStatefulSet(t)
	first := s.add().start()
	waitReady(t, first)
	for range 2 {
		s.add().start()
	}
	waitReady(t, s.all...)
	eventually(t, "all vote", func() bool { return exactly(s.all, s.all...) })
	cluster := first.store.ClusterID()
	first.crash()
	first.cfg.DataDir += "-new"
	first.start()
	waitReady(t, s.all...)
	if c := clusters(s.all); c[cluster] != 3 {
		t.Fatalf("clusters %v, want %s with all three", c, cluster)
	}
}
