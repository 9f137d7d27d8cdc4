package cluster

import (
	"net"
	"net/netip"
	"testing"
)

// A replica that listens on all addresses, IPv6 or not, is reached at the one that it tells the others.
func TestListeningOnAllAddressesIsListeningOnTheOneThatIsTold(t *testing.T) {
	_, port, err := net.SplitHostPort(freePorts(t))
	if err != nil {
		t.Fatal(err)
	}
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, all := range []string{"0.0.0.0", "::", ""} {
		for _, address := range interfaces {
			prefix, err := netip.ParsePrefix(address.String())
			if err != nil {
				t.Fatal(err)
			}
			ip := prefix.Addr().Unmap()
			if !ip.IsLoopback() {
				continue
			}
			r := newReplica(t, newTestNet(), "alone", net.JoinHostPort(all, port), 1)
			r.cfg.AdvertiseAddress = net.JoinHostPort(ip.String(), port)
			r.start()
			waitReady(t, r)
			if err := r.gossip.Join(r.cfg.AdvertiseAddress); err != nil {
				t.Errorf("the gossip on %q is not reached at %s: %v", all, ip, err)
			}
			c, err := net.Dial("tcp", r.addrs.PeerAdvertise)
			if err != nil {
				t.Errorf("the peer port of %q is not reached at %s: %v", all, ip, err)
			} else if err := c.Close(); err != nil {
				t.Error(err)
			}
			r.crash()
		}
	}
}
