package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// installed are the programs that the distribution brings, and the package of each in Debian.
var installed = [][2]string{
	{"etcd", "etcd-server"},
	{"containerd", "containerd"},
	{"ctr", "containerd"},
	{"containerd-shim-runc-v2", "containerd"},
	{"runc", "runc"},
	{"nft", "nftables"},
	{"iptables", "iptables"},
	{"conntrack", "conntrack"},
	{"ip", "iproute2"},
	{"mount", "util-linux"},
	{"curl", "curl"},
	{"prometheus", "prometheus"},
	{"docker", "docker.io"},
}

// pluginsDir is where Debian's containernetworking-plugins are.
const pluginsDir = "/usr/lib/cni"

// machine says what is missing for a cluster here.
func (o options) machine() error {
	if os.Geteuid() != 0 {
		return errors.New("a cluster in namespaces of its own needs root")
	}
	var missing []string
	for _, p := range installed {
		if _, err := exec.LookPath(p[0]); err != nil {
			missing = append(missing, fmt.Sprintf("%s (Debian: %s)", p[0], p[1]))
		}
	}
	for _, plugin := range []string{"bridge", "host-local", "loopback", "portmap"} {
		if _, err := os.Stat(filepath.Join(pluginsDir, plugin)); err != nil {
			missing = append(missing, fmt.Sprintf("%s/%s (Debian: containernetworking-plugins)", pluginsDir, plugin))
		}
	}
	for _, program := range []string{"kube", "coredns", "pause", "helm", "crds"} {
		if _, err := os.Stat(filepath.Join(o.programs, program)); err != nil {
			missing = append(missing, fmt.Sprintf("%s (make kubernetes-programs)", filepath.Join(o.programs, program)))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("this machine has no %s", strings.Join(missing, ", no "))
	}
	return nil
}

// debugImage is the one with a shell, in which the chart's test runs.
func (o options) debugImage() string { return withTag(o.image) + "-debug" }

// prepare empties the run's directory and saves the images there.
func (o options) prepare() error {
	if err := os.RemoveAll(o.dir); err != nil {
		return err
	}
	for _, dir := range []string{o.logs(), o.volumes()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	out, err := exec.Command("docker", "save", "--output", o.savedImages(), o.image, o.debugImage()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("save the images %s and %s (make docker-debug builds both): %w: %s",
			o.image, o.debugImage(), err,
			strings.TrimSpace(string(out)))
	}
	return nil
}

func (o options) logs() string        { return filepath.Join(o.dir, "logs") }
func (o options) volumes() string     { return filepath.Join(o.dir, "volumes") }
func (o options) savedImages() string { return filepath.Join(o.dir, "images.tar") }
