package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestOneIsAloneWhenAllThatItsPeersLeadToIsItself(t *testing.T) {
	const self = "10.0.0.1"
	for name, c := range map[string]struct {
		peers []string
		dns   map[string][]string
		seen  []string
		wait  string // "" = it founds
	}{
		"no peers":                                {nil, nil, nil, ""},
		"its own address":                         {[]string{self + ":7946"}, nil, nil, ""},
		"the name of all, who are away":           {[]string{"x:7946"}, map[string][]string{"x": {self}}, nil, "none names this replica alone"},
		"its full name":                           {[]string{"x-0.x.svc:7946"}, map[string][]string{"x-0.x.svc": {self}}, nil, ""},
		"its own name":                            {[]string{"x-0:7946"}, map[string][]string{"x-0": {self}}, nil, ""},
		"two names of its own":                    {[]string{"x-0:7946", "x:7946"}, map[string][]string{"x-0": {self}, "x": {self}}, nil, ""},
		"a service that knows more":               {[]string{"x-0:7946", "x:7946"}, map[string][]string{"x-0": {self}, "x": {self, "10.0.0.2"}}, nil, "x:7946 leads to 10.0.0.2:7946, which is not this replica"},
		"the first one is another":                {[]string{"x-0:7946", "x:7946"}, map[string][]string{"x-0": {"10.0.0.2"}, "x": {self}}, nil, "x-0:7946 leads to 10.0.0.2:7946"},
		"the first one is nowhere":                {[]string{"x-0:7946", "x:7946"}, map[string][]string{"x": {self}}, nil, "x-0:7946 has no address yet"},
		"its own address with another port":       {[]string{self + ":7947"}, nil, nil, "leads to 10.0.0.1:7947"},
		"somebody who has come by himself":        {[]string{"x-0:7946"}, map[string][]string{"x-0": {self}}, []string{"x-1"}, "x-1 is here, too"},
		"a silent peer, which may be only silent": {[]string{"10.0.0.9:7946"}, nil, nil, "leads to 10.0.0.9:7946"},
	} {
		t.Run(name, func(t *testing.T) {
			a := &aloneness{
				name: "x-0", peers: c.peers, resolver: &fakeDNS{hosts: c.dns}, settle: 3 * time.Second, every: time.Second,
				own: func(at netip.AddrPort) bool { return at.String() == self+":7946" },
			}
			now := time.Unix(1000, 0)
			err := a.check(t.Context(), now, c.seen)
			if len(c.peers) > 0 && err == nil {
				t.Fatal("it does not wait for a moment")
			}
			for range 60 {
				now = now.Add(100 * time.Millisecond)
				err = a.check(t.Context(), now, c.seen)
			}
			switch {
			case c.wait == "" && err != nil:
				t.Fatalf("after 6 s it waits %v", err)
			case c.wait != "" && (err == nil || !strings.Contains(err.Error(), c.wait) || !strings.Contains(err.Error(), "--cluster.bootstrap-expect")):
				t.Fatalf("after 6 s it waits %v, want %q and what to do", err, c.wait)
			}
		})
	}
}

func TestWhoShowsUpBeginsTheWaitAnew(t *testing.T) {
	dns := &fakeDNS{hosts: map[string][]string{"x": {"10.0.0.1"}}}
	a := &aloneness{
		name: "x", peers: []string{"x:7946"}, resolver: dns, settle: 3 * time.Second, every: time.Second,
		own: func(at netip.AddrPort) bool { return at.Addr().String() == "10.0.0.1" },
	}
	at := func(ms int, seen ...string) bool {
		return a.check(t.Context(), time.Unix(1000, 0).Add(time.Duration(ms)*time.Millisecond), seen) == nil
	}
	if at(0) || at(2900) || at(2950, "other") || at(3100) || at(6000) || !at(6100) {
		t.Error("it does not wait for three seconds after another was here")
	}
	if dns.set("x", "10.0.0.1", "10.0.0.2"); at(7100) {
		t.Error("it does not look at the name again")
	}
	if dns.set("x", "10.0.0.1"); at(8100) || at(11000) || !at(11100) {
		t.Error("it does not wait for three seconds after the name led elsewhere")
	}
}

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
		"where it listens":                          {"127.0.0.1:7946", "127.0.0.1:7946", "127.0.0.1:7946", true},
		"another port":                              {"127.0.0.1:7946", "127.0.0.1:7946", "127.0.0.1:7948", false},
		"another address of the host":               {"127.0.0.5:7946", "127.0.0.5:7946", local.String() + ":7946", false},
		"an address that is translated":             {"10.0.0.1:7946", "203.0.113.7:17946", "203.0.113.7:17946", true},
		"all, at an address of the host":            {"0.0.0.0:7946", "203.0.113.7:7946", local.String() + ":7946", true},
		"all, at the host itself":                   {"0.0.0.0:7946", "203.0.113.7:7946", "127.0.0.1:7946", true},
		"all, at another port":                      {"0.0.0.0:7946", "203.0.113.7:7946", "127.0.0.1:7948", false},
		"all, at another host":                      {"0.0.0.0:7946", "203.0.113.7:7946", "203.0.113.8:7946", false},
		"all of IPv4, at the host itself over IPv6": {"0.0.0.0:7946", "203.0.113.7:7946", "[::1]:7946", false},
		"all, at the host itself over IPv6":         {"[::]:7946", "203.0.113.7:7946", "[::1]:7946", true},
	} {
		t.Run(name, func(t *testing.T) {
			a := addresses{gossipBind: netip.MustParseAddrPort(c.bind), gossipAdvertise: netip.MustParseAddrPort(c.advertise)}
			if got := a.isOwnGossip(netip.MustParseAddrPort(c.at)); got != c.want {
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
	s := &statefulSet{t: t, net: newTestNet(), dns: &fakeDNS{hosts: map[string][]string{}}, ips: []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}}
	s.port = freePortOn(t, s.ips...)
	return s
}

// add makes the next replica, and an address for it, without starting it.
func (s *statefulSet) add() *replicaT {
	i := len(s.all)
	r := newReplica(s.t, s.net, fmt.Sprintf("x-%d", i), net.JoinHostPort(s.ips[i], s.port), 1, "x-0.x.test:"+s.port, "x.test:"+s.port)
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
		eventually(t, r.cfg.Name+" says why it waits", func() bool { return strings.Contains(r.logs.String(), ", which is not this replica") })
		eventually(t, r.cfg.Name+" goes on waiting", func() bool { return strings.Count(r.logs.String(), "waiting for a cluster") > 5 })
		if r.hasState() {
			t.Errorf("replica %d has founded a cluster", i)
		}
	}
}

// TestOneThatLostItsDiskIsAddedAgain: the founder's command line founds nothing while others are there.
func TestOneThatLostItsDiskIsAddedAgain(t *testing.T) {
	t.Parallel()
	s := newStatefulSet(t)
	first := s.add().start()
	waitReady(t, first)
	for range 2 {
		s.add().start()
	}
	waitReady(t, s.all...)
	eventually(t, "all vote", func() bool { return exactly(s.all, s.all...) })
	cluster := first.store.clusterID()
	first.crash()
	first.cfg.DataDir += "-new"
	first.start()
	waitReady(t, s.all...)
	if c := clusters(s.all); c[cluster] != 3 {
		t.Fatalf("clusters %v, want %s with all three", c, cluster)
	}
}
