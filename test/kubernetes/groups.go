package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hierarchies are the roots of the control groups, of version 1 (one a controller) or 2.
func hierarchies() ([]string, error) {
	file, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	var roots []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if field := strings.Fields(lines.Text()); len(field) > 2 && (field[2] == "cgroup" || field[2] == "cgroup2") {
			roots = append(roots, field[1])
		}
	}
	if len(roots) == 0 {
		return nil, errors.New("no control groups are mounted")
	}
	return roots, nil
}

// groupPrefix is what the names of the groups begin with; the number of the process that made them follows.
const groupPrefix = "pushquorum-kubernetes-"

// makeGroups makes those of this run, and removes what runs have left that were killed.
func makeGroups(name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		left, err := filepath.Glob(filepath.Join(root, groupPrefix+"*"))
		if err != nil {
			return err
		}
		for _, group := range left {
			pid := strings.TrimPrefix(filepath.Base(group), groupPrefix)
			if _, err := os.Stat("/proc/" + pid); errors.Is(err, fs.ErrNotExist) {
				removeGroups(filepath.Base(group))
			}
		}
	}
	for _, root := range roots {
		group := filepath.Join(root, name)
		if err := os.Mkdir(group, 0o755); err != nil {
			return err
		}
		for _, setting := range []string{"cpuset.cpus", "cpuset.mems"} {
			if err := inherit(root, group, setting); err != nil {
				return err
			}
		}
	}
	return nil
}

// inherit copies a setting that is empty in a new group of version 1, and without which no process may enter it.
func inherit(root, group, setting string) error {
	value, err := os.ReadFile(filepath.Join(root, setting))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(group, setting), value, 0o644)
	}
	return err
}

// removeGroups removes the groups of that name, the innermost first. Who was in them is dead, and the kernel may need a
// moment.
func removeGroups(name string) {
	roots, err := hierarchies()
	if err != nil {
		return
	}
	for _, root := range roots {
		var groups []string
		_ = filepath.WalkDir(filepath.Join(root, name), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				groups = append(groups, path)
			}
			return nil // a group that is gone is what is wanted
		})
		slices.Reverse(groups)
		for _, group := range groups {
			if err := removeGroup(group); err != nil {
				fmt.Fprintf(os.Stderr, "kubernetes: %v is left\n", err)
			}
		}
	}
}
