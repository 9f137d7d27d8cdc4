package local

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// Ports are taken from below the range that the kernel gives to outgoing connections: a server that is started again
// must find its port free, whatever has been opened meanwhile.
const (
	firstPort = 20000
	lastPort  = 31998
)

// Ports are those that have been given out.
type Ports struct {
	mu    sync.Mutex
	taken map[int]bool
}

// Free is a port p of 127.0.0.1 where nothing listens, neither on p nor on p+1, with TCP or UDP. No two calls give the
// same.
func (p *Ports) Free() (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken == nil {
		p.taken = map[int]bool{}
	}
	for range 1000 {
		port := firstPort + 2*rand.IntN((lastPort-firstPort)/2)
		if p.taken[port] {
			continue
		}
		p.taken[port] = true
		if isFree(port) && isFree(port+1) {
			return port, nil
		}
	}
	return 0, errors.New("no free port on 127.0.0.1")
}

func isFree(port int) bool {
	tcp, err := net.Listen("tcp", Address(port))
	if err != nil {
		return false
	}
	defer func() { _ = tcp.Close() }()
	udp, err := net.ListenPacket("udp", Address(port))
	if err != nil {
		return false
	}
	_ = udp.Close()
	return true
}

// Address is the port on 127.0.0.1.
func Address(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
