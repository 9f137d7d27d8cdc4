package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// peers says where the binaries of the peers are: where a variable says, or on PATH.
type peers struct {
	pushgatewayPath, etcdPath string
}

// missingPeer is a peer that is not installed. Figures without it have no ratio, and say so.
type missingPeer struct{ name, debian, variable string }

func (m missingPeer) Error() string {
	return fmt.Sprintf("%s is missing: apt-get install %s, or name a binary with %s", m.name, m.debian, m.variable)
}

func (p peers) pushgateway() (string, error) {
	return found(p.pushgatewayPath, missingPeer{"Pushgateway", "prometheus-pushgateway", "PUSHQUORUM_PUSHGATEWAY"})
}

func (p peers) etcd() (string, error) {
	return found(p.etcdPath, missingPeer{"etcd", "etcd-server", "PUSHQUORUM_ETCD"})
}

func found(path string, or missingPeer) (string, error) {
	if path == "" {
		return "", or
	}
	return path, nil
}

// findPeers looks for all peers. A binary that a variable names must be there.
func findPeers() (p peers, err error) {
	if p.pushgatewayPath, err = find("PUSHQUORUM_PUSHGATEWAY", "prometheus-pushgateway", "pushgateway"); err != nil {
		return p, err
	}
	p.etcdPath, err = find("PUSHQUORUM_ETCD", "etcd")
	return p, err
}

func find(variable string, names ...string) (string, error) {
	if named := os.Getenv(variable); named != "" {
		path, err := exec.LookPath(named)
		if err != nil {
			return "", fmt.Errorf("%s=%s: %w", variable, named, err)
		}
		return path, nil
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", nil
}

// versionOf is the line in which a program says what it is.
func versionOf(program string) string {
	if program == "" {
		return "missing"
	}
	out, err := exec.Command(program, "--version").CombinedOutput()
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if err != nil {
		return fmt.Sprintf("does not tell its version: %v", err)
	}
	return first
}
