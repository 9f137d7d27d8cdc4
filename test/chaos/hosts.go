package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

// site is where replicas run: on hosts, or in containers. They count from 1.
type site interface {
	// address is where others reach a replica's service that listens on port, as host:port.
	address(i, port int) (string, error)
	storage(i int, name string) (*storage, error)
	// start starts the replica's process, with its output in log.
	start(i int, args []string, log *os.File) (*process, error)
	// set makes the weather from one replica to another, as far as the site has any.
	set(from, to int, w weather)
	// readdress gives a replica that does not run another address.
	readdress(i int) error
	close()
}

// newSite makes room for n replicas, with what they leave behind under dir.
func newSite(n int, m machine, binary, dir string, chance *rand.Rand) (site, error) {
	if m.image != "" {
		return newContainers(n, m.image)
	}
	return newHosts(n, m, binary, dir, chance)
}

// hosts run processes: each in a network namespace of its own, or all on loopback.
type hosts struct {
	machine     machine
	binary, dir string
	network     *network  // nil: all on loopback
	threads     []*thread // by index of the replica, from 1
}

func newHosts(n int, m machine, binary, dir string, chance *rand.Rand) (*hosts, error) {
	h := &hosts{machine: m, binary: binary, dir: dir, threads: make([]*thread, n+1)}
	if m.network == nil {
		var err error
		if h.network, err = newNetwork(n, chance); err != nil {
			return nil, err
		}
		for i := range h.threads {
			h.threads[i] = h.network.ports[i].thread
		}
		return h, nil
	}
	one, err := newThread(false)
	if err != nil {
		return nil, err
	}
	for i := range h.threads {
		h.threads[i] = one
	}
	return h, nil
}

// address implements site. Hosts have their own addresses, loopback has free ports.
func (h *hosts) address(i, port int) (string, error) {
	if h.network != nil {
		return fmt.Sprintf("%s:%d", h.network.addr(i), port), nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

func (h *hosts) storage(_ int, name string) (*storage, error) {
	return newStorage(filepath.Join(h.dir, name), h.machine)
}

func (h *hosts) start(i int, args []string, log *os.File) (*process, error) {
	cmd := exec.Command(h.binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = h.dir, log, log
	if err := h.threads[i].start(cmd); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, signal: cmd.Process.Signal, done: make(chan struct{})}
	if h.machine.clock != nil { // why there is no clock to be taken over
		return p, nil //nolint:nilerr // see above
	}
	var err error
	p.clock, err = takeClock(cmd.Process.Pid)
	return p, err
}

func (h *hosts) set(from, to int, w weather) {
	if h.network != nil {
		h.network.set(from, to, w)
	}
}

func (h *hosts) readdress(i int) error {
	if h.network == nil {
		return errors.New("on loopback there are no other addresses")
	}
	return h.network.readdress(i)
}

func (h *hosts) close() {
	if h.network != nil {
		h.network.close()
	}
}
