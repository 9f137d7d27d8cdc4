package main

import (
	"context"
	"crypto/x509/pkix"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"pushquorum/test/local"
)

// The addresses exist in the cluster's own network namespace only, so that they collide with nothing.
const (
	nodeName    = "node1"
	nodeAddress = "10.89.0.1"
	podNetwork  = "10.244.0.0/24"
	services    = "10.96.0.0/16,fd00:10:96::/112" // of both families, so that values which ask for both are valid
	apiService  = "10.96.0.1"                     // the first of services: that is where the API server's own is
	imageInside = "docker.io/library/pushquorum:test"
)

// state is where the cluster's programs keep what ends with them: memory, in a mount namespace of its own.
const state = "/run"

// cluster is a Kubernetes of one node: each of its parts is a process of its own.
type cluster struct {
	options
	spawner    *local.Spawner
	components map[string]*local.Process
	proxyMode  string
	*api
}

func newCluster(o options) *cluster {
	return &cluster{options: o, spawner: local.NewSpawner(), components: map[string]*local.Process{}}
}

// up brings it up, and says how long each part takes.
func (c *cluster) up(ctx context.Context, t *table) error {
	parts := []struct {
		name string
		do   func(context.Context) error
	}{
		{"network", c.network},
		{"certificates", c.certificates},
		{"control plane", c.controlPlane},
		{"containers' runtime, images", c.runtime},
		{"node", c.node},
		{"node is ready", c.ready},
		{"volumes, namespaces, CRDs", c.furnish},
	}
	for _, part := range parts {
		began := time.Now()
		if err := part.do(ctx); err != nil {
			return fmt.Errorf("%s: %w%s", part.name, err, c.died())
		}
		t.step(part.name, time.Since(began), nil)
	}
	return nil
}

// start starts one of the cluster's programs.
func (c *cluster) start(name string, args ...string) error {
	p := &local.Process{Name: name, Args: args, Log: filepath.Join(c.logs(), name+".log")}
	c.components[name] = p
	return p.Start(c.spawner)
}

// died tells of programs of the cluster that have ended by themselves.
func (c *cluster) died() string {
	var told strings.Builder
	for _, p := range c.components {
		if err := p.Ended(); err != nil && !p.Over() {
			fmt.Fprintf(&told, "\n%v", err)
		}
	}
	return told.String()
}

func (c *cluster) program(name string) string { return filepath.Join(c.programs, name) }

func (c *cluster) kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }

func (c *cluster) certs() string { return filepath.Join(c.dir, "certificates") }

// command runs a program to its end, and fails with what it said.
func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err,
			strings.TrimSpace(string(out)))
	}
	return nil
}

// network gives the node an address. One end of a pair stands for a network card; a Service's address needs a route
// before it is translated, and so everything that is nowhere else goes there.
func (c *cluster) network(ctx context.Context) error {
	for _, line := range []string{
		"link set lo up",
		"link add node0 type veth peer name node0-end",
		"addr add " + nodeAddress + "/24 dev node0",
		"link set node0 up",
		"link set node0-end up",
		"route add default dev node0",
	} {
		if err := command(ctx, "ip", strings.Fields(line)...); err != nil {
			return err
		}
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return err
	}
	// Where the kernel has it: a pod that asks a Service which leads to itself or a neighbour is translated on the
	// bridge, too.
	_ = os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("1"), 0o644)
	return nil
}

func (c *cluster) certificates(context.Context) error {
	if err := os.MkdirAll(c.certs(), 0o700); err != nil {
		return err
	}
	a, err := newAuthority(c.certs())
	if err != nil {
		return err
	}
	if err := a.serviceAccounts(); err != nil {
		return err
	}
	names := []string{
		"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local",
	}
	server := pkix.Name{CommonName: "kube-apiserver"}
	if err := a.issue("apiserver", server, names, "127.0.0.1", nodeAddress, apiService); err != nil {
		return err
	}
	admin := pkix.Name{Organization: []string{"system:masters"}, CommonName: "admin"}
	if err := a.issue("admin", admin, nil); err != nil {
		return err
	}
	config := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: here, cluster: {server: "https://%s:6443", certificate-authority: %[2]s/authority.crt}}]
users: [{name: admin, user: {client-certificate: %[2]s/admin.crt, client-key: %[2]s/admin.key}}]
contexts: [{name: here, context: {cluster: here, user: admin}}]
current-context: here
`, nodeAddress, c.certs())
	if err := os.WriteFile(c.kubeconfig(), []byte(config), 0o600); err != nil {
		return err
	}
	c.api, err = newAPI(c.certs())
	return err
}

func (c *cluster) controlPlane(ctx context.Context) error {
	const etcd = "http://127.0.0.1:2379"
	err := c.start("etcd", "etcd", "--data-dir="+state+"/etcd", "--listen-client-urls="+etcd,
		"--advertise-client-urls="+etcd, "--listen-peer-urls=http://127.0.0.1:2380")
	if err != nil {
		return err
	}
	if err := until(ctx, 30*time.Second, "etcd is healthy", answers(etcd+"/health")); err != nil {
		return err
	}
	certs := c.certs() + "/"
	err = c.start("kube-apiserver", c.program("kube"), "kube-apiserver", "--etcd-servers="+etcd, "--secure-port=6443",
		"--advertise-address="+nodeAddress, "--tls-cert-file="+certs+"apiserver.crt",
		"--tls-private-key-file="+certs+"apiserver.key",
		"--client-ca-file="+certs+"authority.crt", "--kubelet-client-certificate="+certs+"admin.crt",
		"--kubelet-client-key="+certs+"admin.key", "--kubelet-preferred-address-types=InternalIP",
		"--service-cluster-ip-range="+services, "--allow-privileged=true", "--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file="+certs+"accounts.pub", "--service-account-signing-key-file="+certs+"accounts.key",
		"--profiling=false")
	if err != nil {
		return err
	}
	err = until(ctx, 90*time.Second, "kube-apiserver is ready", func(ctx context.Context) error {
		_, err := c.raw(ctx, http.MethodGet, "/readyz", nil)
		return err
	})
	if err != nil {
		return err
	}
	err = c.start("kube-controller-manager", c.program("kube"), "kube-controller-manager",
		"--kubeconfig="+c.kubeconfig(),
		"--root-ca-file="+certs+"authority.crt", "--service-account-private-key-file="+certs+"accounts.key",
		"--leader-elect=false",
		"--profiling=false")
	if err != nil {
		return err
	}
	return c.start("kube-scheduler", c.program("kube"), "kube-scheduler",
		"--kubeconfig="+c.kubeconfig(), "--leader-elect=false",
		"--profiling=false")
}

// answers holds when a URL answers with 200.
func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := fetch(ctx, http.DefaultClient, http.MethodGet, url, nil)
		return err
	}
}
