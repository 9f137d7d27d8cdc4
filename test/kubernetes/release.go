package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// port is the one that Pushgateways have.
const port = "9091"

// release is an installation of the chart.
type release struct {
	*trial
	namespace, name string
}

// values are those of every release here: the image that was loaded, and the wipe, which clears up after each
// disturbance.
func values() []string {
	return []string{
		"--set=image.registry=docker.io", "--set=image.repository=library/pushquorum", "--set=image.tag=test",
		"--set=extraArgs={--web.enable-admin-api}", "--set=resources.limits.memory=256Mi",
		"--set=persistentVolume.enabled=true",
	}
}

// install installs or upgrades it, as it is documented: with --install, and what is not said taken from the chart.
func (r *release) install(ctx context.Context, args ...string) error {
	line := slices.Concat([]string{"upgrade", "--install", r.name, r.chart, "--namespace=" + r.namespace}, values(),
		args)
	_, err := r.helm(ctx, line...)
	return err
}

func (r *release) uninstall(ctx context.Context) error {
	if _, err := r.helm(ctx, "uninstall", r.name, "--namespace="+r.namespace, "--wait"); err != nil {
		return err
	}
	_, err := r.kubectl(ctx, "", "--namespace="+r.namespace, "delete", "pvc", "--selector="+r.labels())
	return err
}

func (r *release) labels() string { return "app.kubernetes.io/instance=" + r.name }

// statefulSet has what is looked at of it.
type statefulSet struct {
	Metadata struct {
		Name       string
		Generation int
	}
	Spec   struct{ Replicas int }
	Status struct {
		Replicas, ReadyReplicas, UpdatedReplicas, ObservedGeneration int
		CurrentRevision, UpdateRevision                              string
	}
}

func (r *release) set(ctx context.Context) (statefulSet, error) {
	var list struct{ Items []statefulSet }
	err := r.get(ctx, "/apis/apps/v1/namespaces/"+r.namespace+"/statefulsets?labelSelector="+r.labels(), &list)
	if err == nil && len(list.Items) != 1 {
		err = fmt.Errorf("release %s has %d StatefulSets, and not one", r.name, len(list.Items))
	}
	if err != nil {
		return statefulSet{}, err
	}
	return list.Items[0], nil
}

// replicas are the pods of the set, in the order of their names.
func (r *release) replicas(ctx context.Context) ([]pod, error) {
	set, err := r.set(ctx)
	if err != nil {
		return nil, err
	}
	all, err := r.pods(ctx, r.namespace, r.labels())
	all = slices.DeleteFunc(all, func(p pod) bool {
		return !strings.HasPrefix(p.Metadata.Name, set.Metadata.Name+"-") ||
			p.Metadata.Labels["controller-revision-hash"] == ""
	})
	slices.SortFunc(all, func(a, b pod) int { return strings.Compare(a.Metadata.Name, b.Metadata.Name) })
	return all, err
}

// settled waits until so many replicas are ready, in the newest revision, and no others are there; and until the
// Service leads to one, because kube-proxy hears later that a pod is ready.
func (r *release) settled(ctx context.Context, n int, within time.Duration) error {
	if err := r.replicasReady(ctx, n, within); err != nil || n == 0 {
		return err
	}
	url, err := r.service(ctx, "")
	if err != nil {
		return err
	}
	return until(ctx, 10*time.Second, "the Service of "+r.name+" leads to a replica", answers(url+"/-/ready"))
}

func (r *release) replicasReady(ctx context.Context, n int, within time.Duration) error {
	return until(ctx, within, fmt.Sprintf("%d replicas of %s are ready", n, r.name), func(ctx context.Context) error {
		set, err := r.set(ctx)
		if err != nil {
			return err
		}
		pods, err := r.replicas(ctx)
		if err != nil {
			return err
		}
		ready := 0
		for i := range pods {
			if pods[i].ready() && pods[i].Metadata.Labels["controller-revision-hash"] == set.Status.UpdateRevision {
				ready++
			}
		}
		s := set.Status
		if s.ObservedGeneration != set.Metadata.Generation || set.Spec.Replicas != n || s.ReadyReplicas != n ||
			ready != n || len(pods) != n {
			return fmt.Errorf("%d of %d pods are ready and up to date; %d are wanted of it, and its status is %+v",
				ready, len(pods),
				set.Spec.Replicas, s)
		}
		return nil
	})
}

// service is the URL of a Service of the release.
func (r *release) service(ctx context.Context, suffix string) (string, error) {
	set, err := r.set(ctx)
	if err != nil {
		return "", err
	}
	var s struct{ Spec struct{ ClusterIP string } }
	if err := r.get(ctx, "/api/v1/namespaces/"+r.namespace+"/services/"+set.Metadata.Name+suffix, &s); err != nil {
		return "", err
	}
	return "http://" + s.Spec.ClusterIP + ":" + port, nil
}

func urlOf(p pod) string { return "http://" + p.Status.PodIP + ":" + port }

// membership is a replica's answer about the cluster.
type membership struct {
	Leader       string
	AppliedIndex int    `json:"applied_index"`
	StateHash    string `json:"state_hash"`
	Members      []struct {
		Name, Role string
		Healthy    bool
	}
}

func members(ctx context.Context, url string) (membership, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	body, err := fetch(ctx, http.DefaultClient, http.MethodGet, url+"/api/v1/cluster", nil)
	if err != nil {
		return membership{}, err
	}
	var answer struct{ Data membership }
	err = json.Unmarshal(body, &answer)
	return answer.Data, err
}

// voters waits until the cluster has that many members, all healthy voters.
func (r *release) voters(ctx context.Context, n int, within time.Duration) error {
	return until(ctx, within, fmt.Sprintf("%s has %d voters", r.name, n), func(ctx context.Context) error {
		url, err := r.service(ctx, "")
		if err != nil {
			return err
		}
		m, err := members(ctx, url)
		if err != nil {
			return err
		}
		voters := 0
		for _, member := range m.Members {
			if member.Role == "voter" && member.Healthy {
				voters++
			}
		}
		if voters != n || voters != len(voterNames(m)) {
			return fmt.Errorf("its members are %+v", m.Members)
		}
		return nil
	})
}

func voterNames(m membership) (names []string) {
	for _, member := range m.Members {
		if member.Role == "voter" {
			names = append(names, member.Name)
		}
	}
	return names
}

// leader is the pod that leads.
func (r *release) leader(ctx context.Context) (pod, error) {
	url, err := r.service(ctx, "")
	if err != nil {
		return pod{}, err
	}
	m, err := members(ctx, url)
	if err != nil {
		return pod{}, err
	}
	pods, err := r.replicas(ctx)
	if err != nil {
		return pod{}, err
	}
	for i := range pods {
		if pods[i].Metadata.Name == m.Leader {
			return pods[i], nil
		}
	}
	return pod{}, fmt.Errorf("the leader is %q, and no pod has that name", m.Leader)
}

// crash kills a pod's process.
func (r *release) crash(ctx context.Context, p pod) error {
	if len(p.Status.ContainerStatuses) == 0 {
		return fmt.Errorf("pod %s has no container", p.Metadata.Name)
	}
	_, id, _ := strings.Cut(p.Status.ContainerStatuses[0].ContainerID, "//")
	return r.ctr(ctx, "tasks", "kill", "--signal=SIGKILL", id)
}

// wipe clears up what the clients of a disturbance have pushed.
func (r *release) wipe(ctx context.Context, url string) error {
	_, err := fetch(ctx, http.DefaultClient, http.MethodPut, url+"/api/v1/admin/wipe", nil)
	return err
}

// allowed is what clients may see of a disturbance.
type allowed struct {
	failed  int           // pushes
	failing time.Duration // from the first failed push to the last
	gap     time.Duration // without an acknowledged push
}

var (
	nothing = allowed{failed: 0, gap: 5 * time.Second}
	absent  = allowed{failed: 1 << 20, failing: time.Hour, gap: 40 * time.Second} // while no replica is there
	// unheard is when a process dies without a word: until kubelet, which looks once a second, and then kube-proxy have
	// heard of it, every third new connection leads to where nobody listens.
	unheard = allowed{failed: 1 << 20, failing: 3 * time.Second, gap: 5 * time.Second}
)

// disturb does something while clients push and scrape, and looks for each acknowledged push on every replica's page.
func (r *release) disturb(ctx context.Context, name string, may allowed, replicas int, do func() error) (err error) {
	push, err := r.service(ctx, "")
	if err != nil {
		return err
	}
	read, err := r.service(ctx, "-read")
	if err != nil {
		return err
	}
	// A connection to a pod that was killed may be remembered for days, and another one from the same port would be
	// sent to that pod.
	if err := command(ctx, "conntrack", "--flush"); err != nil {
		return err
	}
	c := startClients(ctx, name+" ("+r.proxyMode+")", push, read)
	defer func() {
		seen := c.end()
		r.add(seen)
		if err == nil && (seen.failed > may.failed || seen.failing > may.failing || seen.gap > may.gap) {
			err = fmt.Errorf(
				"%d of %d pushes failed, within %.1f s, and the longest time without one was %.1f s; "+
					"%d, %.0f s and %.0f s are allowed",
				seen.failed, seen.sent, seen.failing.Seconds(), seen.gap.Seconds(),
				may.failed, may.failing.Seconds(), may.gap.Seconds())
		}
		if err != nil {
			return
		}
		if err = r.everywhere(ctx, replicas, c); err == nil {
			err = r.wipe(ctx, push)
		}
	}()
	if err := c.going(ctx, 10); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return c.going(ctx, 10)
}

// everywhere looks for what was acknowledged on each replica's page, which has to be the same.
func (r *release) everywhere(ctx context.Context, replicas int, c *clients) error {
	pods, err := r.replicas(ctx)
	if err != nil {
		return err
	}
	if len(pods) != replicas {
		return fmt.Errorf("%d pods are there, and not %d", len(pods), replicas)
	}
	for i := range pods {
		if err := c.lookFor(ctx, urlOf(pods[i])); err != nil {
			return fmt.Errorf("%s: %w", pods[i].Metadata.Name, err)
		}
	}
	return nil
}
