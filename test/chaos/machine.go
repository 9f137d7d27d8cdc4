package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"

	"pushquorum/test/chaos/powerfs"
)

// machine says what this machine allows: nil, or why not.
type machine struct{ network, disk, clock error }

// look tries each thing once. Outside of namespaces of its own the harness changes nothing but processes that it started.
func look(inside bool, why error) machine {
	if !inside {
		return machine{network: why, disk: why, clock: tryClock()}
	}
	return machine{network: tryNetwork(), disk: tryDisk(), clock: tryClock()}
}

func tryDisk() error {
	dir, err := os.MkdirTemp("", "chaos-disk-")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(dir) }()
	mount, err := powerfs.New(1 << 20).Mount(dir)
	if err != nil {
		return err
	}
	return mount.Unmount()
}

// idleVariable makes this program wait for the end of its input, to be one whose clock is taken over.
const idleVariable = "PUSHQUORUM_CHAOS_IDLE"

func tryClock() error {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), idleVariable+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // how it ended is of no interest
	}()
	c, err := takeClock(cmd.Process.Pid)
	if err == nil {
		c.close()
	}
	return err
}

// report says plainly what will not be done here, and why.
func (m machine) report(out io.Writer) {
	for _, part := range []struct {
		what, without string
		err           error
	}{
		{"a network namespace for each replica", "all replicas on 127.0.0.1, no faults of the network", m.network},
		{"a disk of its own for each replica", "no faults of the disk but the loss of all of it", m.disk},
		{"a clock of its own for each replica", "no clock jumps", m.clock},
	} {
		if part.err == nil {
			_, _ = fmt.Fprintf(out, "machine: %s\n", part.what)
		} else {
			_, _ = fmt.Fprintf(out, "machine: NOT %s (%v): %s\n", part.what, part.err, part.without)
		}
	}
}

// hosts are where replicas run.
type hosts struct {
	network *network  // nil: all on loopback
	threads []*thread // by index of the replica, from 1
}

func newHosts(n int, m machine, chance *rand.Rand) (*hosts, error) {
	h := &hosts{threads: make([]*thread, n+1)}
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

// address is where a service of a replica listens. Hosts have their own addresses, loopback has free ports.
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
