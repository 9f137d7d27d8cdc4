package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

func leaderKilled(ctx context.Context, r *release) error {
	return r.disturb(ctx, "leader's process killed",
		unheard, 3, func() error {
			leader, err := r.leader(ctx)
			if err != nil {
				return err
			}
			if err := r.crash(ctx, leader); err != nil {
				return err
			}
			if err := r.replaced(ctx, leader, 10*time.Second); err != nil {
				return err
			}
			return r.settled(ctx, 3, 30*time.Second)
		})
}

// replaced waits until a pod is another one, or its container is, as a sign that what follows is not about the old one.
func (r *release) replaced(ctx context.Context, old pod, within time.Duration) error {
	return until(ctx, within, old.Metadata.Name+" is replaced", func(ctx context.Context) error {
		pods, err := r.replicas(ctx)
		if err != nil {
			return err
		}
		for i := range pods {
			p := &pods[i]
			if p.Metadata.Name != old.Metadata.Name || len(p.Status.ContainerStatuses) == 0 {
				continue
			}
			if p.Metadata.UID != old.Metadata.UID ||
				p.Status.ContainerStatuses[0].ContainerID != old.Status.ContainerStatuses[0].ContainerID {
				return nil
			}
		}
		return errors.New("it is still the old one, or has no container")
	})
}

func leaderForced(ctx context.Context, r *release) error {
	return r.disturb(ctx, "leader force-deleted",
		unheard, 3, func() error {
			leader, err := r.leader(ctx)
			if err != nil {
				return err
			}
			began := time.Now()
			if err := r.deletePods(ctx, []string{leader.Metadata.Name}, "--grace-period=0", "--force"); err != nil {
				return err
			}
			if err := r.replaced(ctx, leader, 10*time.Second); err != nil {
				return err
			}
			if err := r.settled(ctx, 3, 30*time.Second); err != nil {
				return err
			}
			if took := time.Since(began); took > 10*time.Second {
				return fmt.Errorf("its successor was ready after %.1f s; 10 s are allowed", took.Seconds())
			}
			return nil
		})
}

func (r *release) deletePods(ctx context.Context, names []string, args ...string) error {
	line := slices.Concat([]string{"--namespace=" + r.namespace, "delete", "pod", "--wait=false"}, args, names)
	_, err := r.kubectl(ctx, "", line...)
	return err
}

func (r *release) names(ctx context.Context) (names []string, err error) {
	pods, err := r.replicas(ctx)
	for i := range pods {
		names = append(names, pods[i].Metadata.Name)
	}
	return names, err
}

// allDeleted: nobody is there for a while, and so pushes fail; none that was acknowledged may be missing.
func allDeleted(ctx context.Context, r *release) error {
	return r.disturb(ctx, "all three deleted at once", absent, 3, func() error {
		before, err := r.replicas(ctx)
		if err != nil {
			return err
		}
		names, err := r.names(ctx)
		if err != nil {
			return err
		}
		if err := r.deletePods(ctx, names); err != nil {
			return err
		}
		for i := range before {
			if err := r.replaced(ctx, before[i], 60*time.Second); err != nil {
				return err
			}
		}
		return r.settled(ctx, 3, 60*time.Second)
	})
}

func claimDeleted(ctx context.Context, r *release) error {
	err := r.disturb(ctx, "pod and claim deleted", nothing, 3, func() error {
		pods, err := r.replicas(ctx)
		if err != nil {
			return err
		}
		victim := pods[1]
		claim := "storage-volume-" + victim.Metadata.Name
		_, err = r.kubectl(ctx, "", "--namespace="+r.namespace, "delete", "pvc", claim, "--wait=false")
		if err != nil {
			return err
		}
		if err := r.deletePods(ctx, []string{victim.Metadata.Name}); err != nil {
			return err
		}
		if err := r.replaced(ctx, victim, 60*time.Second); err != nil {
			return err
		}
		return r.settled(ctx, 3, 60*time.Second)
	})
	if err != nil {
		return err
	}
	return r.voters(ctx, 3, 30*time.Second)
}

func evicted(ctx context.Context, r *release) error {
	return r.disturb(ctx, "eviction", nothing, 3, func() error {
		pods, err := r.replicas(ctx)
		if err != nil {
			return err
		}
		if err := r.evict(ctx, pods[0]); err != nil {
			return err
		}
		if err := r.evict(ctx, pods[1]); !refused(err, http.StatusTooManyRequests) ||
			!strings.Contains(err.Error(), "disruption budget") {
			return fmt.Errorf("a second eviction is answered with %w; the budget should forbid it", err)
		}
		if err := r.replaced(ctx, pods[0], 60*time.Second); err != nil {
			return err
		}
		return r.settled(ctx, 3, 60*time.Second)
	})
}

// evict asks for what `kubectl drain` asks for.
func (r *release) evict(ctx context.Context, p pod) error {
	body := fmt.Appendf(nil,
		`{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": %q, "namespace": %q}}`, p.Metadata.Name,
		r.namespace)
	_, err := r.raw(ctx, http.MethodPost, "/api/v1/namespaces/"+r.namespace+"/pods/"+p.Metadata.Name+"/eviction", body)
	return err
}

// twoGone: the node takes no new pods, and two are killed. What is left is no majority: it shows its last state, marked
// as stale, through the Service for scraping, and nobody takes pushes.
func twoGone(ctx context.Context, r *release) error {
	if err := r.mark(ctx); err != nil {
		return err
	}
	read, err := r.service(ctx, "-read")
	if err != nil {
		return err
	}
	push, err := r.service(ctx, "")
	if err != nil {
		return err
	}
	names, err := r.names(ctx)
	if err != nil {
		return err
	}
	if _, err := r.kubectl(ctx, "", "cordon", nodeName); err != nil {
		return err
	}
	if err := r.deletePods(ctx, names[:2], "--grace-period=0", "--force"); err != nil {
		return err
	}
	lost := until(ctx, 30*time.Second, "the last state, marked as stale, through the Service for scraping",
		func(ctx context.Context) error {
			return stalePage(ctx, read, `marker{instance="",job="marker"} 42`)
		})
	if lost == nil {
		lost = until(ctx, 30*time.Second, "a push is refused, and not lost", func(ctx context.Context) error {
			return r.pushRefused(ctx, push)
		})
	}
	if _, err := r.kubectl(ctx, "", "uncordon", nodeName); err != nil {
		return errors.Join(lost, err)
	}
	if lost != nil {
		return lost
	}
	if err := r.settled(ctx, 3, 60*time.Second); err != nil {
		return err
	}
	return r.marked(ctx)
}

// pushRefused holds when a push is answered with 503, or nobody is behind the Service: never with 200.
func (r *release) pushRefused(ctx context.Context, url string) error {
	_, err := fetch(ctx, newClient(false), http.MethodPut, url+"/metrics/job/refused", []byte("refused 1\n"))
	answer := (*refusal)(nil)
	switch {
	case err == nil:
		return errors.New("a push without a majority was acknowledged")
	case errors.As(err, &answer) && answer.status != http.StatusServiceUnavailable:
		return fmt.Errorf("a push without a majority is answered with %w, and not with 503", err)
	}
	return nil
}
