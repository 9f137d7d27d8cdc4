package formation

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// selfT is the address of the replica in these tests; it gossips at port 7946.
const selfT = "10.0.0.1"

// namesT is what each host name stands for.
type namesT map[string][]string

func (n namesT) resolve(_ context.Context, peer string) (out []netip.AddrPort, err error) {
	host, port, _ := strings.Cut(peer, ":")
	addresses := n[host]
	if _, err := netip.ParseAddr(host); err == nil {
		addresses = []string{host}
	}
	if len(addresses) == 0 {
		return nil, fmt.Errorf("lookup %s: no such host", host)
	}
	for _, address := range addresses {
		out = append(out, netip.MustParseAddrPort(address+":"+port))
	}
	return out, nil
}

func aloneT(name string, names namesT, peers ...string) *Alone {
	a := &Alone{
		Name: name, Resolve: names.resolve, Settle: 3 * time.Second, Every: time.Second,
		Own: func(at netip.AddrPort) bool { return at.String() == selfT+":7946" },
	}
	for _, peer := range peers {
		host, _, _ := strings.Cut(peer, ":")
		a.Peers = append(a.Peers, Peer{Address: peer, Host: host})
	}
	return a
}

func TestOneIsAloneWhenAllThatItsPeersLeadToIsItself(t *testing.T) {
	const self = selfT
	for name, c := range map[string]struct {
		peers []string
		dns   map[string][]string
		seen  []string
		wait  string // "" = it founds
	}{
		"no peers":        {nil, nil, nil, ""},
		"its own address": {[]string{self + ":7946"}, nil, nil, ""},
		"the name of all, who are away": {
			[]string{"x:7946"},
			map[string][]string{"x": {self}},
			nil,
			"none names this replica alone",
		},
		"its full name": {
			[]string{"x-0.x.svc:7946"},
			map[string][]string{"x-0.x.svc": {self}},
			nil, "",
		},
		"its own name": {[]string{"x-0:7946"}, map[string][]string{"x-0": {self}}, nil, ""},
		"two names of its own": {
			[]string{"x-0:7946", "x:7946"},
			map[string][]string{"x-0": {self}, "x": {self}},
			nil, "",
		},
		"a service that knows more": {
			[]string{"x-0:7946", "x:7946"},
			map[string][]string{"x-0": {self}, "x": {self, "10.0.0.2"}},
			nil,
			"x:7946 leads to 10.0.0.2:7946, which is not this replica",
		},
		"the first one is another": {
			[]string{"x-0:7946", "x:7946"},
			map[string][]string{"x-0": {"10.0.0.2"}, "x": {self}},
			nil, "x-0:7946 leads to 10.0.0.2:7946",
		},
		"the first one is nowhere": {
			[]string{"x-0:7946", "x:7946"},
			map[string][]string{"x": {self}},
			nil, "x-0:7946 has no address yet",
		},
		"its own address with another port": {[]string{self + ":7947"}, nil, nil, "leads to 10.0.0.1:7947"},
		"somebody who has come by himself": {
			[]string{"x-0:7946"},
			map[string][]string{"x-0": {self}},
			[]string{"x-1"},
			"x-1 is here, too",
		},
		"a silent peer, which may be only silent": {[]string{"10.0.0.9:7946"}, nil, nil, "leads to 10.0.0.9:7946"},
	} {
		t.Run(name, func(t *testing.T) {
			a := aloneT("x-0", namesT(c.dns), c.peers...)
			now := time.Unix(1000, 0)
			err := a.Check(t.Context(), now, c.seen)
			if len(c.peers) > 0 && err == nil {
				t.Fatal("it does not wait for a moment")
			}
			for range 60 {
				now = now.Add(100 * time.Millisecond)
				err = a.Check(t.Context(), now, c.seen)
			}
			switch {
			case c.wait == "" && err != nil:
				t.Fatalf("after 6 s it waits %v", err)
			case c.wait != "" && (err == nil || !strings.Contains(err.Error(), c.wait) ||
				!strings.Contains(err.Error(), "--cluster.bootstrap-expect")):
				t.Fatalf("after 6 s it waits %v, want %q and what to do", err, c.wait)
			}
		})
	}
}

func TestWhoShowsUpBeginsTheWaitAnew(t *testing.T) {
	names := namesT{"x": {selfT}}
	a := aloneT("x", names, "x:7946")
	at := func(ms int, seen ...string) bool {
		return a.Check(t.Context(), time.Unix(1000, 0).Add(time.Duration(ms)*time.Millisecond), seen) == nil
	}
	if at(0) || at(2900) || at(2950, "other") || at(3100) || at(6000) || !at(6100) {
		t.Error("it does not wait for three seconds after another was here")
	}
	if names["x"] = []string{selfT, "10.0.0.2"}; at(7100) {
		t.Error("it does not look at the name again")
	}
	if names["x"] = []string{selfT}; at(8100) || at(11000) || !at(11100) {
		t.Error("it does not wait for three seconds after the name led elsewhere")
	}
}
