package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// containers run the project's image. Each is in two networks: in one its clients reach it, always, and the other,
// which it can be taken out of, is the replicas' own. Neither leads anywhere else. Its data is in a volume.
type containers struct {
	image, name string // the name begins those of all containers, networks and volumes
	net         int    // third byte of the addresses

	mu   sync.Mutex
	made []bool   // containers, by index of the replica, from 1
	cut  [][]bool // from, to
	out  []bool   // of the replicas' network
}

func newContainers(n int, image string) (*containers, error) {
	c := &containers{image: image, name: fmt.Sprintf("pushquorum-chaos-%d", os.Getpid()), net: os.Getpid() % 256}
	c.made, c.out, c.cut = make([]bool, n+1), make([]bool, n+1), make([][]bool, n+1)
	for i := range c.cut {
		c.cut[i] = make([]bool, n+1)
	}
	for i, network := range []string{c.front(), c.back()} {
		subnet := fmt.Sprintf("--subnet=10.%d.%d.0/24", 78+i, c.net)
		if err := docker("network", "create", "--internal", subnet, network); err != nil {
			c.close()
			return nil, err
		}
	}
	return c, nil
}

// docker runs the client and says what it says when that fails.
func docker(args ...string) error {
	if out, err := exec.Command("docker", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (c *containers) front() string          { return c.name + "-clients" }
func (c *containers) back() string           { return c.name + "-replicas" }
func (c *containers) container(i int) string { return fmt.Sprintf("%s-r%d", c.name, i) }

// ip is the address of a replica for its clients (78) or for the other replicas (79).
func (c *containers) ip(network, i int) string {
	return fmt.Sprintf("10.%d.%d.%d", network, c.net, 10+i)
}

// address implements site.
func (c *containers) address(i, port int) (string, error) {
	network := 79
	if port == webPort {
		network = 78
	}
	return fmt.Sprintf("%s:%d", c.ip(network, i), port), nil
}

func (c *containers) storage(i int, _ string) (*storage, error) {
	return &storage{dir: "/data", wipe: func() error { return c.remove(i) }}, nil
}

// remove takes a container that does not run away, and its volume.
func (c *containers) remove(i int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.made[i] {
		return nil
	}
	c.made[i] = false
	if err := docker("rm", "--force", c.container(i)); err != nil {
		return err
	}
	return docker("volume", "rm", c.container(i))
}

func (c *containers) start(i int, args []string, log *os.File) (*process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := c.container(i)
	if !c.made[i] {
		create := append([]string{
			"create", "--name=" + name, "--hostname=" + name, "--network=" + c.front(), "--ip=" + c.ip(78, i),
			"--volume=" + name + ":/data", c.image,
		}, args...)
		if err := docker(create...); err != nil {
			return nil, err
		}
		c.made[i] = true
		if !c.out[i] {
			if err := c.connect(i); err != nil {
				return nil, err
			}
		}
	}
	cmd := exec.Command("docker", "start", "--attach", name)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd: cmd, done: make(chan struct{}), signal: func(s os.Signal) error {
		return docker("kill", fmt.Sprintf("--signal=%d", s.(syscall.Signal)), name)
	}}, nil
}

func (c *containers) connect(i int) error {
	return docker("network", "connect", "--ip="+c.ip(79, i), c.back(), c.container(i))
}

// set implements site. Who is cut off from all others, in both directions, is taken out of their network; there is no
// other weather.
func (c *containers) set(from, to int, w weather) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut[from][to] = w.cut
	for _, i := range []int{from, to} {
		out := true
		for j := 1; j < len(c.cut); j++ {
			out = out && (i == j || c.cut[i][j] && c.cut[j][i])
		}
		if out == c.out[i] {
			continue
		}
		c.out[i] = out
		if !c.made[i] {
			continue
		}
		var err error
		if out {
			err = docker("network", "disconnect", c.back(), c.container(i))
		} else {
			err = c.connect(i)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "chaos: %v\n", err)
		}
	}
}

func (c *containers) readdress(int) error { return fmt.Errorf("containers keep their addresses") }

func (c *containers) close() {
	for i := range slices.Backward(c.made) {
		if i == 0 {
			break
		}
		if err := c.remove(i); err != nil {
			fmt.Fprintf(os.Stderr, "chaos: %v\n", err)
		}
	}
	for _, network := range []string{c.front(), c.back()} {
		_ = docker("network", "rm", network) // that there was none has been said
	}
}
