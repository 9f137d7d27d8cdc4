package deploy_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestEveryValuesFileRendersWhatAClusterNeeds renders each file of ci/, one for each topic of the community chart and
// of this one.
func TestEveryValuesFileRendersWhatAClusterNeeds(t *testing.T) {
	t.Parallel()
	helm(t)
	files, err := filepath.Glob(chart + "/ci/*.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d values files, want 25 at least (%v)", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := objects(t, mustRender(t, "-f", file))
			checkIdentity(t, all)
			set := one(t, all, "StatefulSet", "")
			checkServices(t, all, set)
			checkSet(t, all, set)
			checkPolicy(t, all, set)
			if name != "security-open" {
				checkRestricted(t, set)
			}
		})
	}
}

// checkIdentity: every object is there once, and can be named so.
func checkIdentity(t *testing.T, all []object) {
	t.Helper()
	seen := map[string]bool{}
	for _, o := range all {
		if id := o.String(); seen[id] {
			t.Errorf("%s is there twice", id)
		} else {
			seen[id] = true
		}
		if name := o.text("metadata", "name"); name == "" || len(name) > 63 {
			t.Errorf("%s: a name has 1 to 63 characters", o)
		}
		if o.text("apiVersion") == "" {
			t.Errorf("%s has no apiVersion", o)
		}
	}
}

// checkServices: the set is behind three Services, and nothing else is.
func checkServices(t *testing.T, all []object, set object) {
	t.Helper()
	name := set.text("metadata", "name")
	peers, read, clients := one(t, all, "Service", name+"-peers"), one(t, all, "Service", name+"-read"),
		one(t, all, "Service", name)
	if set.text("spec", "serviceName") != name+"-peers" || peers.text("spec", "clusterIP") != "None" {
		t.Errorf("the set's serviceName is %q, the peers' clusterIP %q",
			set.text("spec", "serviceName"), peers.text("spec", "clusterIP"))
	}
	if clients.text("spec", "clusterIP") == "None" {
		t.Error("the Service for clients is headless")
	}
	for _, s := range []object{peers, read} {
		if s.at("spec", "publishNotReadyAddresses") != true {
			t.Errorf("%s does not lead to replicas that are not ready", s)
		}
	}
	if clients.at("spec", "publishNotReadyAddresses") != nil {
		t.Error("the Service for clients leads to replicas that are not ready")
	}
	for _, s := range []object{peers, read, clients} {
		selector := asMap(s.at("spec", "selector"))
		for _, o := range all {
			labels := asMap(o.at("spec", "template", "metadata", "labels"))
			if o.text("kind") == "Pod" {
				labels = asMap(o.at("metadata", "labels"))
			}
			if labels == nil {
				continue
			}
			if behind, want := contains(labels, selector), o.text("kind") == "StatefulSet"; behind != want {
				t.Errorf("%s is behind %s: %t, want %t", o, s, behind, want)
			}
		}
	}
}

func contains(labels, selector map[string]any) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return len(selector) > 0
}

// checkSet: the replicas begin at the same time, find each other, are evicted one at a time and have the time to end.
func checkSet(t *testing.T, all []object, set object) {
	t.Helper()
	n := set.at("spec", "replicas").(int)
	if got := set.text("spec", "podManagementPolicy"); got != "Parallel" {
		t.Errorf("podManagementPolicy %q", got)
	}
	budgets := 0
	for _, o := range all {
		if o.text("kind") == "PodDisruptionBudget" {
			budgets++
		}
	}
	if want := min(1, n/2); budgets != want {
		t.Errorf("%d budgets for %d replicas, want %d", budgets, n, want)
	}
	line := args(t, set)
	for _, want := range []string{
		"--storage.path=", "--cluster.name=$(POD_NAME)", "--cluster.listen-address=[$(POD_IP)]:", "--cluster.peer=",
		"--cluster.bootstrap-expect=",
	} {
		if !slices.ContainsFunc(line, func(a string) bool { return strings.HasPrefix(a, want) }) {
			t.Errorf("%s is not among the flags %q", want, line)
		}
	}
	flags := map[string]int{}
	for _, a := range line {
		if name, _, _ := strings.Cut(a, "="); name != "--cluster.peer" {
			flags[strings.Replace(name, "--no-", "--", 1)]++
		}
	}
	for name, times := range flags {
		if strings.HasPrefix(name, "--") && times > 1 {
			t.Errorf("%s is given %d times, which is refused: %q", name, times, line)
		}
	}
	if grace := set.at("spec", "template", "spec", "terminationGracePeriodSeconds").(int); grace < 25 {
		t.Errorf("%d seconds to end", grace)
	}
	ports := map[string]bool{}
	for _, p := range container(t, set).list("ports") {
		m := asMap(p)
		ports[fmt.Sprint(m["name"])] = true
	}
	if !ports["metrics"] || !ports["gossip"] || !ports["gossip-udp"] || !ports["peer"] {
		t.Errorf("ports %v", slices.Sorted(maps.Keys(ports)))
	}
	mounted := false
	path := ""
	for _, a := range line {
		if value, ok := strings.CutPrefix(a, "--storage.path="); ok {
			path = value
		}
	}
	for _, v := range container(t, set).list("volumeMounts") {
		m := asMap(v)
		mounted = mounted || m["name"] == "storage-volume" && m["mountPath"] == path
	}
	if !mounted {
		t.Errorf("--storage.path=%s is not where storage-volume is mounted", path)
	}
}

// checkPolicy: where there is a policy, the ports among replicas are in a rule of their own, for the replicas.
func checkPolicy(t *testing.T, all []object, set object) {
	t.Helper()
	for _, policy := range all {
		if policy.text("kind") != "NetworkPolicy" {
			continue
		}
		peers := 0
		for _, rule := range policy.list("spec", "ingress") {
			r := asMap(rule)
			for _, p := range object(r).list("ports") {
				port := asMap(p)
				if port["port"] == 9091 {
					continue
				}
				from := asMap(object(r).at("from", 0, "podSelector", "matchLabels"))
				labels := asMap(set.at("spec", "template", "metadata", "labels"))
				if contains(labels, from) {
					peers++
				} else if len(object(r).list("from")) == 0 && port["port"] != 4180 {
					t.Errorf("port %v is open to everybody", port)
				}
			}
		}
		if peers != 3 {
			t.Errorf("%d ports are open to replicas, want the gossip port twice and the peer port", peers)
		}
	}
}

// checkRestricted: what the Pod Security Standard "restricted" asks of a pod and of its containers.
func checkRestricted(t *testing.T, set object) {
	t.Helper()
	spec := asMap(set.at("spec", "template", "spec"))
	pod := object(spec)
	if pod.at("securityContext", "runAsNonRoot") != true ||
		pod.text("securityContext", "seccompProfile", "type") != "RuntimeDefault" {
		t.Errorf("the pod's securityContext is %v", pod.at("securityContext"))
	}
	c := container(t, set)
	if c.at("securityContext", "allowPrivilegeEscalation") != false ||
		c.at("securityContext", "capabilities", "drop", 0) != "ALL" ||
		c.at("securityContext", "readOnlyRootFilesystem") != true {
		t.Errorf("the container's securityContext is %v", c.at("securityContext"))
	}
}
