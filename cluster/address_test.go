package cluster

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
)

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
	t.Parallel()
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
