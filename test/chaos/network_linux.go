package main

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
)

// network joins hosts, each in a network namespace of its own with one device. Every packet passes through the harness,
// which is the switch between them: so it can cut, lose, delay, duplicate and reorder in one direction or both, without
// netem, which many kernels lack. Port 0 is the harness itself, whose clients reach every host in any weather.
type network struct {
	quit  chan struct{}
	done  sync.WaitGroup
	ports []*port
	paths [][]*path // from, to

	mu      sync.RWMutex
	routes  map[netip.Addr]int
	lastOne byte // last byte of the last address given
}

type port struct {
	thread *thread
	device *os.File
	addr   netip.Addr
}

const deviceName = "chaos0"

// newNetwork gives the harness and so many hosts a device and an address each.
func newNetwork(hosts int, chance *rand.Rand) (*network, error) {
	n := &network{quit: make(chan struct{}), routes: map[netip.Addr]int{}}
	for i := range hosts + 1 {
		t, err := newThread(i > 0)
		if err != nil {
			return nil, err
		}
		p := &port{thread: t}
		n.ports = append(n.ports, p)
		if p.device, err = t.tun(deviceName); err != nil {
			return nil, err
		}
		if err := t.address("lo", netip.AddrFrom4([4]byte{127, 0, 0, 1})); err != nil {
			return nil, err
		}
		if err := n.readdress(i); err != nil {
			return nil, err
		}
	}
	for i := range n.ports {
		n.paths = append(n.paths, nil)
		for _, to := range n.ports {
			p := newPath(rand.New(rand.NewPCG(chance.Uint64(), uint64(i))), func(data []byte) {
				_, _ = to.device.Write(data) // a host that takes no packets loses them
			})
			n.paths[i] = append(n.paths[i], p)
			n.done.Go(func() { p.run(n.quit) })
		}
	}
	for i := range n.ports {
		n.done.Go(func() { n.forward(i) })
	}
	return n, nil
}

// readdress gives a host another address. Nothing may be using the old one.
func (n *network) readdress(i int) error {
	p := n.ports[i]
	n.mu.Lock()
	n.lastOne++
	addr := netip.AddrFrom4([4]byte{10, 77, 0, n.lastOne})
	delete(n.routes, p.addr)
	n.routes[addr] = i
	n.mu.Unlock()
	p.addr = addr
	return p.thread.address(deviceName, addr)
}

// forward takes what a host sends to where it is addressed.
func (n *network) forward(from int) {
	buffer := make([]byte, 64<<10)
	for {
		size, err := n.ports[from].device.Read(buffer)
		if err != nil {
			return // closed
		}
		if size < 20 || buffer[0]>>4 != 4 {
			continue // IPv6 looks for neighbours; there are none
		}
		n.mu.RLock()
		to, known := n.routes[netip.AddrFrom4([4]byte(buffer[16:20]))]
		n.mu.RUnlock()
		if known {
			n.paths[from][to].send(buffer[:size])
		}
	}
}

// set makes the weather from one host to another; hosts count from 1.
func (n *network) set(from, to int, w weather) { n.paths[from][to].set(w) }

func (n *network) addr(i int) string { return n.ports[i].addr.String() }

func (n *network) close() {
	close(n.quit)
	for _, p := range n.ports {
		_ = p.device.Close()
	}
	n.done.Wait()
	for _, p := range n.ports {
		close(p.thread.work)
	}
}

// tryNetwork says why this machine has no network for the harness, nil if it has.
func tryNetwork() error {
	n, err := newNetwork(1, rand.New(rand.NewPCG(0, 0)))
	if err != nil {
		return err
	}
	defer n.close()
	if n.addr(1) == n.addr(0) {
		return fmt.Errorf("two hosts have the address %s", n.addr(0))
	}
	return nil
}
