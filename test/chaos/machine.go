package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"pushquorum/test/chaos/powerfs"
)

// machine says what this machine allows: nil, or why not.
type machine struct {
	network error // weather between the replicas, and other addresses
	links   error // replicas can be cut off, at least
	disk    error
	clock   error
	image   string // replicas are containers of it; "": processes
}

// look tries each thing once. Outside of namespaces of its own the harness changes nothing but processes that it
// started.
func look(inside bool, why error) machine {
	if !inside {
		return machine{network: why, links: why, disk: why, clock: tryClock()}
	}
	network := tryNetwork()
	return machine{network: network, links: network, disk: tryDisk(), clock: tryClock()}
}

// containerised is what containers allow, wherever they run.
func containerised(image string) machine {
	none := errors.New("it is a container")
	return machine{network: none, disk: none, clock: none, image: image}
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

// lacks says what is missing for all faults, nil if nothing is.
func (m machine) lacks() error { return errors.Join(m.network, m.disk, m.clock) }

// report says plainly what will not be done here, and why.
func (m machine) report(out io.Writer) {
	if m.image != "" {
		_, _ = fmt.Fprintf(
			out, "machine: containers of the image %s: they are killed, stopped and cut off, and lose their volumes\n",
			m.image)
		return
	}
	for _, part := range []struct {
		text, without string
		err           error
	}{
		{"a network namespace for each replica", "all replicas on 127.0.0.1, no faults of the network", m.network},
		{"a disk of its own for each replica", "no faults of the disk but the loss of all of it", m.disk},
		{"a clock of its own for each replica", "no clock jumps", m.clock},
	} {
		if part.err == nil {
			_, _ = fmt.Fprintf(out, "machine: %s\n", part.text)
		} else {
			_, _ = fmt.Fprintf(out, "machine: NOT %s (%v): %s\n", part.text, part.err, part.without)
		}
	}
}
