package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// hierarchy is where control groups can be made: of version 1, which has one for each controller, or 2, which has one
// for all.
type hierarchy struct {
	version int
	root    string
}

// hierarchies are the mounted ones that a controller may be in, as mountinfo of proc(5) lists them.
func hierarchies(mountinfo, controller string) ([]hierarchy, error) {
	text, err := os.ReadFile(mountinfo)
	if err != nil {
		return nil, err
	}
	var out []hierarchy
	for line := range strings.Lines(string(text)) {
		mount, filesystem, ok := strings.Cut(line, " - ")
		at, kind := strings.Fields(mount), strings.Fields(filesystem)
		if !ok || len(at) < 5 || len(kind) < 3 {
			continue
		}
		switch {
		case kind[0] == "cgroup" && slices.Contains(strings.Split(kind[2], ","), controller):
			out = append(out, hierarchy{1, at[4]})
		case kind[0] == "cgroup2":
			out = append(out, hierarchy{2, at[4]})
		}
	}
	return out, nil
}

// make makes a group for a process, with the controller, or says why it cannot.
func (h hierarchy) make(name, controller string) (string, error) {
	if h.version == 2 {
		// A group has the controllers that the one above it gives to those below.
		control := filepath.Join(h.root, "cgroup.subtree_control")
		if err := os.WriteFile(control, []byte("+"+controller), 0); err != nil {
			return "", fmt.Errorf("give the controller %s to groups: %w", controller, err)
		}
	}
	path := filepath.Join(h.root, name)
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	return path, nil
}

// control is where groups that bound memory and processors are made on this machine.
type control struct {
	name        string // that all groups begin with
	memory, cpu hierarchy
}

// findControl tries each hierarchy: what is mounted says little about what is allowed.
func findControl(mountinfo, name string) (control, error) {
	c := control{name: name}
	for _, part := range []struct {
		controller, file string
		into             *hierarchy
	}{{"memory", "memory.stat", &c.memory}, {"cpu", "cpu.stat", &c.cpu}} {
		all, err := hierarchies(mountinfo, part.controller)
		if err == nil && len(all) == 0 {
			err = errors.New("no cgroup or cgroup2 file system is mounted with it")
		}
		for _, h := range all {
			path, failed := h.make(name+"-try", part.controller)
			if failed == nil {
				_, failed = os.Stat(filepath.Join(path, part.file))
				_ = os.Remove(path) // what is left is removed at the end
			}
			if failed == nil {
				*part.into = h
				break
			}
			err = errors.Join(err, failed)
		}
		if part.into.version == 0 {
			return c, fmt.Errorf("control groups with the controller %s cannot be made here: %w; "+
				"what is needed is root, and /sys/fs/cgroup mounted for writing", part.controller, err)
		}
	}
	return c, nil
}

func (c control) String() string {
	return fmt.Sprintf("control groups of version %d", c.memory.version)
}

// removeGroups removes all that begin with the name; no process is left in them, or the kernel refuses.
func removeGroups(mountinfo, name string) {
	for _, controller := range []string{"memory", "cpu"} {
		all, _ := hierarchies(mountinfo, controller) // it could be read when they were made
		for _, h := range all {
			groups, _ := filepath.Glob(filepath.Join(h.root, name+"-*"))
			for _, path := range groups {
				removeGroup(path)
			}
		}
	}
}

// removeGroup waits for the kernel, which takes a moment to forget a process that has ended.
func removeGroup(path string) {
	if err := attempt(context.Background(), 5*time.Second, func() error {
		if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}); err != nil {
		fmt.Fprintf(os.Stderr, "limits: %v\n", err)
	}
}

// group is the control groups that one replica runs in, one process after the other.
type group struct {
	version int
	memory  string
	paths   []string
}

// group makes those that bound memory, in bytes, and processors; 0 is no bound.
func (c control) group(name string, memory int64, cpus float64) (*group, error) {
	g := &group{version: c.memory.version}
	var err error
	if g.memory, err = c.memory.make(c.name+"-"+name, "memory"); err != nil {
		return nil, err
	}
	g.paths = []string{g.memory}
	if memory > 0 {
		if err := g.bound(memory); err != nil {
			return nil, err
		}
	}
	if cpus == 0 {
		return g, nil
	}
	path, err := c.cpu.make(c.name+"-"+name, "cpu")
	if err != nil {
		return nil, err
	}
	if path != g.memory {
		g.paths = append(g.paths, path)
	}
	const period = 100_000 // microseconds, the kernel's default and Kubernetes's
	quota := int64(cpus * period)
	if c.cpu.version == 2 {
		return g, write(path, "cpu.max", fmt.Sprintf("%d %d", quota, period))
	}
	return g, errors.Join(write(path, "cpu.cfs_period_us", strconv.Itoa(period)),
		write(path, "cpu.cfs_quota_us", strconv.FormatInt(quota, 10)))
}

// bound leaves no swap, where the machine has some: a replica that swaps is not killed, and not alive.
func (g *group) bound(memory int64) error {
	limit, swap, noSwap := "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", strconv.FormatInt(memory, 10)
	if g.version == 2 {
		limit, swap, noSwap = "memory.max", "memory.swap.max", "0"
	}
	if err := write(g.memory, limit, strconv.FormatInt(memory, 10)); err != nil {
		return err
	}
	if err := write(g.memory, swap, noSwap); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func write(group, file, text string) error {
	f, err := os.OpenFile(filepath.Join(group, file), os.O_WRONLY, 0) // it is there or it is not: none is to be made
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// command is what runs a program in the groups.
func (g *group) command(self string, args []string) []string {
	return append([]string{self, intoFlag, strings.Join(g.paths, ",")}, args...)
}

// kernelKills is how many processes of the group the kernel has killed for the want of memory.
func (g *group) kernelKills() (int64, error) {
	if g.version == 2 {
		return g.value("memory.events", "oom_kill")
	}
	return g.value("memory.oom_control", "oom_kill")
}

// usage is all that is charged to the group, and what of it the kernel cannot take back: the rest is mostly pages of
// files.
func (g *group) usage() (all, anonymous int64, err error) {
	total, own := "memory.usage_in_bytes", "rss"
	if g.version == 2 {
		total, own = "memory.current", "anon"
	}
	if all, err = g.value(total, ""); err == nil {
		anonymous, err = g.value("memory.stat", own)
	}
	return all, anonymous, err
}

// value is the number of a line "name number" of a file, or the only one.
func (g *group) value(file, name string) (int64, error) {
	path := filepath.Join(g.memory, file)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 1 && name == "":
			return strconv.ParseInt(fields[0], 10, 64)
		case len(fields) == 2 && fields[0] == name:
			return strconv.ParseInt(fields[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no line %q", path, name)
}
