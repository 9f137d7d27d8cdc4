package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken from below the range that the kernel gives to outgoing connections: a server that is started again must
// find its port free, whatever has been opened meanwhile.
const (
	firstPort = 20000
	lastPort  = 31998
)

// freePort is an address p of 127.0.0.1 where nothing listens, neither on p nor on p+1, with TCP or UDP. No two calls give
// the same.
func (b *bench) freePort() (int, error) {
	for range 1000 {
		port := firstPort + 2*rand.IntN((lastPort-firstPort)/2)
		if b.ports[port] {
			continue
		}
		b.ports[port] = true
		if isFree(port) && isFree(port+1) {
			return port, nil
		}
	}
	return 0, errors.New("no free port on 127.0.0.1")
}

func isFree(port int) bool {
	tcp, err := net.Listen("tcp", local(port))
	if err != nil {
		return false
	}
	defer func() { _ = tcp.Close() }()
	udp, err := net.ListenPacket("udp", local(port))
	if err != nil {
		return false
	}
	_ = udp.Close()
	return true
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
