package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	pauseImage  = "localhost/pause:1"
	dnsReady    = "http://" + nodeAddress + ":8054/ready"
	socket      = state + "/containerd/containerd.sock"
	proxyConfig = state + "/proxy.yaml"
)

// runtime starts containerd, and gives it the only images there are.
func (c *cluster) runtime(ctx context.Context) error {
	err := c.write(map[string]string{
		state + "/cni/10-bridge.conflist": fmt.Sprintf(`{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipam": {
    "type": "host-local", "dataDir": "%s/ipam", "ranges": [[{"subnet": "%s"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}`, state, podNetwork),
		state + "/containerd.toml": fmt.Sprintf(`version = 2
root = "%[1]s/containerd-root"
state = "%[1]s/containerd-state"
[grpc]
  address = "%[2]s"
[plugins."io.containerd.internal.v1.opt"]
  path = "%[1]s/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "%[3]s"
  netns_mounts_under_state_dir = true
  # Without CAP_SYS_RESOURCE runc cannot lower it to what is asked for, and no pod would start.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "%[4]s"
    conf_dir = "%[1]s/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
`, state, socket, pauseImage, pluginsDir),
	})
	if err != nil {
		return err
	}
	if err := c.start("containerd", "containerd", "--config", state+"/containerd.toml"); err != nil {
		return err
	}
	err = until(ctx, 30*time.Second, "containerd answers",
		func(ctx context.Context) error { return c.ctr(ctx, "version") })
	if err != nil {
		return err
	}
	pause := filepath.Join(state, "pause.tar")
	if err := writeImage(pause, pauseImage, c.program("pause")); err != nil {
		return err
	}
	for _, file := range []string{pause, c.savedImages()} {
		if err := c.ctr(ctx, "images", "import", file); err != nil {
			return err
		}
	}
	for image, inside := range map[string]string{c.image: imageInside, c.debugImage(): imageInside + "-debug"} {
		if err := c.ctr(ctx, "images", "tag", "docker.io/library/"+withTag(image), inside); err != nil {
			return err
		}
	}
	return nil
}

// ctr is containerd's own client, for what Kubernetes cannot ask it.
func (c *cluster) ctr(ctx context.Context, args ...string) error {
	return command(ctx, "ctr", append([]string{"--address", socket, "--namespace", "k8s.io"}, args...)...)
}

// node starts what every node has. The kubelet has no authorization of its own: nobody else is in its network.
func (c *cluster) node(context.Context) error {
	err := c.write(map[string]string{
		state + "/resolv.conf": "nameserver " + nodeAddress + "\n",
		state + "/kubelet.yaml": fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: %[1]s/authority.crt}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /%[2]s
clusterDNS: [%[3]s]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://%[4]s
evictionHard: {memory.available: 100Mi, nodefs.available: 1%%, imagefs.available: 1%%, nodefs.inodesFree: 1%%}
failSwapOn: false
failCgroupV1: false
imageGCHighThresholdPercent: 100
podLogsDir: %[5]s/pods
resolvConf: %[6]s/resolv.conf
volumePluginDir: %[6]s/volume-plugins
`, c.certs(), os.Getenv(groupVariable), nodeAddress, socket, c.logs(), state),
		state + "/Corefile": fmt.Sprintf(`.:53 {
  bind %[1]s
  errors
  ready %[1]s:8054
  kubernetes cluster.local in-addr.arpa {
    kubeconfig %[2]s
    ttl 5
  }
  cache 5
}
`, nodeAddress, c.kubeconfig()),
	})
	if err != nil {
		return err
	}
	err = c.start("kubelet", c.program("kube"), "kubelet", "--config="+state+"/kubelet.yaml",
		"--kubeconfig="+c.kubeconfig(),
		"--root-dir="+state+"/kubelet", "--cert-dir="+state+"/kubelet-certificates", "--hostname-override="+nodeName,
		"--node-ip="+nodeAddress)
	if err != nil {
		return err
	}
	if err := c.proxy("nftables"); err != nil {
		return err
	}
	return c.start("coredns", c.program("coredns"), "-conf", state+"/Corefile")
}

// proxy starts kube-proxy, which makes the addresses of Services lead to pods, in one of its modes.
func (c *cluster) proxy(mode string) error {
	err := c.write(map[string]string{proxyConfig: fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: %s
clusterCIDR: %s
hostnameOverride: %s
clientConnection: {kubeconfig: %s}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, mode, podNetwork, nodeName, c.kubeconfig())})
	if err != nil {
		return err
	}
	c.proxyMode = mode
	return c.start("kube-proxy", c.program("kube"), "kube-proxy", "--config="+proxyConfig)
}

// changeProxy starts kube-proxy in another mode, after the rules of the one before are gone.
func (c *cluster) changeProxy(ctx context.Context, mode string) error {
	if err := c.components["kube-proxy"].Stop(10 * time.Second); err != nil {
		return err
	}
	if err := command(ctx, c.program("kube"), "kube-proxy", "--config="+proxyConfig, "--cleanup"); err != nil {
		return err
	}
	return c.proxy(mode)
}

// ready waits until pods can be scheduled, and find each other by name.
func (c *cluster) ready(ctx context.Context) error {
	err := until(ctx, 120*time.Second, "the node is ready", func(ctx context.Context) error {
		var node struct {
			Status struct {
				Conditions []struct{ Type, Status, Message string }
			}
		}
		if err := c.get(ctx, "/api/v1/nodes/"+nodeName, &node); err != nil {
			return err
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == "Ready" && condition.Status == "True" {
				return nil
			}
		}
		return fmt.Errorf("its conditions are %v", node.Status.Conditions)
	})
	if err != nil {
		return err
	}
	return until(ctx, 30*time.Second, "coredns is ready", answers(dnsReady))
}

func (c *cluster) write(files map[string]string) error {
	for path, content := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
