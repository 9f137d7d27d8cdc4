package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// steps are all of them, in the order in which they are taken.
func steps() []step {
	three := func(name string, take func(context.Context, *release) error) step {
		return step{name: name, take: func(ctx context.Context, t *trial) error {
			return take(ctx, &release{trial: t, namespace: mainNamespace, name: "three"})
		}}
	}
	other := func(name, of string, take func(context.Context, *release) error) step {
		return step{name: name, take: func(ctx context.Context, t *trial) error {
			return take(ctx, &release{trial: t, namespace: otherNamespace, name: of})
		}}
	}
	install := three("install three replicas", installedThree)
	install.needed = true
	return []step{
		{name: "every rendering is valid, and within restricted Pod Security", take: renderings},
		{name: "the Pushgateway's own Deployment, with the image changed: applied", take: seedApplied},
		install,
		three("helm test", tested),
		three("ways in: ClusterIP, port-forward, a pod's address; one page", waysIn),
		three("one target of the ServiceMonitor, and own metrics by the PodMonitor", monitored),
		three("upgrade with changed values", upgraded),
		three("rollback", rolledBack),
		three("rolling restart", rollingRestart),
		three("the leader's process is killed", leaderKilled),
		three("the leader is force-deleted", leaderForced),
		three("all three are deleted at once", allDeleted),
		three("a pod and its claim are deleted", claimDeleted),
		three("eviction, under the budget", evicted),
		three("two of three are gone", twoGone),
		three("3 → 5 → 3, and then at once a rolling restart", grownAndShrunk),
		three("3 → 0 → 3", asleep),
		{name: "the Pushgateway's own Deployment: ready, takes pushes, wipes", take: seedTakesPushes},
		other("one replica with data grows to three, and to five", "grown", grown),
		other("three shrink to one and grow again", "shrunk", shrunk),
		other("a claim of the community chart is imported, and its replica becomes three", "imported", imported),
		other("emptyDir: rolling restart", "memory", inMemory),
		{name: "kube-proxy with iptables", take: proxied},
		three("iptables: rolling restart", rollingRestart),
		three("iptables: the leader is force-deleted", leaderForced),
		three("uninstall", uninstalled),
	}
}

const marker = "marker 42\n"

// mark pushes something that has to outlive what follows; the wipe after a disturbance takes it, too.
func (r *release) mark(ctx context.Context) error {
	url, err := r.service(ctx, "")
	if err != nil {
		return err
	}
	_, err = fetch(ctx, http.DefaultClient, http.MethodPut, url+"/metrics/job/marker", []byte(marker))
	return err
}

// marked looks for it on every replica.
func (r *release) marked(ctx context.Context) error {
	return r.onEvery(ctx, `marker{instance="",job="marker"} 42`)
}

// threeReplicas are the values of the release that most steps are about.
var threeReplicas = []string{
	"--set=replicaCount=3", "--set=serviceMonitor.enabled=true", "--set=podMonitor.enabled=true",
}

func installedThree(ctx context.Context, r *release) error {
	if err := r.install(ctx, threeReplicas...); err != nil {
		return err
	}
	if err := r.settled(ctx, 3, 60*time.Second); err != nil {
		return err
	}
	return r.voters(ctx, 3, 10*time.Second)
}

func tested(ctx context.Context, r *release) error {
	_, err := r.helm(ctx, "test", r.name, "--namespace="+r.namespace, "--timeout=60s")
	if err == nil {
		return nil
	}
	set, missing := r.set(ctx)
	if missing != nil {
		return errors.Join(err, missing)
	}
	said, missing := r.kubectl(ctx, "", "--namespace="+r.namespace, "logs", set.Metadata.Name+"-test")
	return errors.Join(err, missing, errors.New("the test said: "+said))
}

func upgraded(ctx context.Context, r *release) error {
	return r.disturb(ctx, "upgrade with changed values", nothing, 3, func() error {
		changed := append(slices.Clone(threeReplicas), "--set=podAnnotations.changed=yes")
		if err := r.install(ctx, changed...); err != nil {
			return err
		}
		return r.settled(ctx, 3, 120*time.Second)
	})
}

func rolledBack(ctx context.Context, r *release) error {
	return r.disturb(ctx, "rollback", nothing, 3, func() error {
		if _, err := r.helm(ctx, "rollback", r.name, "--namespace="+r.namespace); err != nil {
			return err
		}
		return r.settled(ctx, 3, 120*time.Second)
	})
}

// restart is a rolling restart to its end.
func (r *release) restart(ctx context.Context, replicas int) error {
	set, err := r.set(ctx)
	if err != nil {
		return err
	}
	_, err = r.kubectl(ctx, "", "--namespace="+r.namespace, "rollout", "restart", "statefulset", set.Metadata.Name)
	if err != nil {
		return err
	}
	return r.settled(ctx, replicas, 180*time.Second)
}

func rollingRestart(ctx context.Context, r *release) error {
	return r.disturb(ctx, "rolling restart", nothing, 3, func() error { return r.restart(ctx, 3) })
}

func uninstalled(ctx context.Context, r *release) error {
	if err := r.uninstall(ctx); err != nil {
		return err
	}
	return until(ctx, 60*time.Second, "nothing is left", func(ctx context.Context) error {
		for _, kind := range []string{"pods", "services", "secrets", "configmaps", "serviceaccounts"} {
			left, err := r.kubectl(ctx, "", "--namespace="+r.namespace, "get",
				kind, "--selector="+r.labels(), "--output=name")
			if err != nil {
				return err
			}
			if left != "" {
				return fmt.Errorf("left: %s", left)
			}
		}
		return nil
	})
}

// proxied starts kube-proxy in its other mode.
func proxied(ctx context.Context, t *trial) error {
	if err := t.changeProxy(ctx, "iptables"); err != nil {
		return err
	}
	r := &release{trial: t, namespace: mainNamespace, name: "three"}
	return until(ctx, 30*time.Second, "the Service leads to a replica again", func(ctx context.Context) error {
		url, err := r.service(ctx, "")
		if err != nil {
			return err
		}
		return answers(url + "/-/ready")(ctx)
	})
}
