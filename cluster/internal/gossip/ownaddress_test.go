package gossip

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestTheAddressThatOthersAreToldIsOneThatTheyReach(t *testing.T) {
	const nearby, far, far6 = "10.9.9.9", "198.51.100.7", "2001:db8::7"
	type routes map[string]string // to an address → from an address
	everywhere := func(from string) routes { return routes{"192.0.2.1": from, nearby: from, far: from} }
	for _, c := range []struct {
		name   string
		has    string
		peers  string
		routes routes
		want   string // an address, or what the error names
	}{
		{"a private address", "127.0.0.1 10.0.0.5 fe80::5", "", everywhere("10.0.0.5"), "10.0.0.5"},
		{
			"a private address on the way to the world, and others beside it",
			"127.0.0.1 172.17.0.1 10.0.0.5 2001:db8::5",
			far6, everywhere("10.0.0.5"), "10.0.0.5",
		},
		{
			"a public address, and a bridge for containers that nobody else reaches",
			"127.0.0.1 203.0.113.5 172.17.0.1",
			far, everywhere("203.0.113.5"), "203.0.113.5",
		},
		{
			"a public address and a private network on which the peer is", "127.0.0.1 203.0.113.5 10.0.0.5", nearby,
			routes{"192.0.2.1": "203.0.113.5", nearby: "10.0.0.5"},
			"10.0.0.5",
		},
		{"one public address and no peer", "127.0.0.1 203.0.113.5", "", everywhere("203.0.113.5"), "203.0.113.5"},
		{
			"IPv6 alone, with a peer", "::1 fe80::5 2001:db8::5 2001:db8::6", far6,
			routes{far6: "2001:db8::6"},
			"2001:db8::6",
		},
		{"IPv6 alone, without a peer", "::1 fe80::5 2001:db8::5", "", routes{}, "2001:db8::5"},
		{
			"a first peer without a route", "::1 2001:db8::5 203.0.113.5", far + " " + far6,
			routes{far6: "2001:db8::5"},
			"2001:db8::5",
		},
		{
			"a peer that is this host by another name", "127.0.0.1 203.0.113.5 2001:db8::5", "127.0.1.1 " + far,
			routes{"127.0.1.1": "127.0.0.1", far: "203.0.113.5"},
			"203.0.113.5",
		},
		{"a private network without a way out", "127.0.0.1 10.0.0.5", "", routes{}, "10.0.0.5"},
		{
			"nothing but the loopback, and peers on it", "127.0.0.1 ::1", "127.0.0.1",
			routes{"127.0.0.1": "127.0.0.1"},
			"127.0.0.1",
		},
		{
			"two public addresses and nothing to choose by", "127.0.0.1 203.0.113.5 2001:db8::5", "",
			everywhere("203.0.113.5"), "203.0.113.5, 2001:db8::5",
		},
		{"nothing but the loopback", "127.0.0.1 ::1 fe80::5", "", routes{}, "no address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var has []netip.Addr
			for _, ip := range strings.Fields(c.has) {
				has = append(has, netip.MustParseAddr(ip))
			}
			var peers []netip.AddrPort
			for _, ip := range strings.Fields(c.peers) {
				peers = append(peers, netip.AddrPortFrom(netip.MustParseAddr(ip), 7946))
			}
			got, err := ownAddress(has, peers, func(to netip.AddrPort) (netip.Addr, error) {
				if from, ok := c.routes[to.Addr().String()]; ok {
					return netip.MustParseAddr(from), nil
				}
				return netip.Addr{}, errors.New("network is unreachable")
			})
			if want, perr := netip.ParseAddr(c.want); perr == nil {
				if got != want || err != nil {
					t.Errorf("got %s, %v; want %s", got, err, want)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %s, %v; want an error that names %s", got, err, c.want)
			}
		})
	}
}

// TestTheSystemSaysFromWhereAPeerIsReached loopback is the one network that tests may use, and answers as any other
// would.
func TestTheSystemSaysFromWhereAPeerIsReached(t *testing.T) {
	has, err := hostAddresses()
	if err != nil {
		t.Fatal(err)
	}
	reached := 0
	for _, ip := range has {
		if !ip.IsLoopback() {
			continue
		}
		reached++
		if from, err := sourceOf(netip.AddrPortFrom(ip, 9)); err != nil || from != ip {
			t.Errorf("%s is reached from %s, %v; want itself", ip, from, err)
		}
	}
	if reached == 0 {
		t.Errorf("no loopback among %v", has)
	}
}
