package test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Ports are taken from below the range that the kernel gives to outgoing connections: a replica that was killed must
// find its port free again, whatever else the tests have opened meanwhile.
const (
	firstPort = 20000
	lastPort  = 31998
)

var ports struct {
	sync.Mutex
	taken map[int]bool
}

// freePort is a port p of 127.0.0.1 where nothing listened a moment ago, neither on p nor on p+1, with TCP or UDP. No
// test gets one that another test of this run had; another program may still take it, and then the start is tried again.
func freePort(t testing.TB) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.taken == nil {
		ports.taken = map[int]bool{}
	}
	for range 1000 {
		port := firstPort + 2*rand.IntN((lastPort-firstPort)/2)
		if ports.taken[port] {
			continue
		}
		ports.taken[port] = true
		if isFree(port) && isFree(port+1) {
			return port
		}
	}
	t.Fatal("no free port on 127.0.0.1")
	return 0
}

func isFree(port int) bool {
	tcp, err := net.Listen("tcp", local(port))
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", local(port))
	if err != nil {
		return false
	}
	_ = udp.Close()
	return true
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
