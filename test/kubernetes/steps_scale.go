package main

import (
	"context"
	"fmt"
	"time"
)

// scale changes the number of replicas as `kubectl scale` does, which is what people do at night.
func (r *release) scale(ctx context.Context, n int) error {
	set, err := r.set(ctx)
	if err != nil {
		return err
	}
	_, err = r.kubectl(ctx, "", "--namespace="+r.namespace, "scale",
		"statefulset", set.Metadata.Name, fmt.Sprintf("--replicas=%d", n))
	return err
}

// grownAndShrunk: the two that go give up their votes, so that the restart that follows at once costs no quorum.
func grownAndShrunk(ctx context.Context, r *release) error {
	return r.disturb(ctx, "3 → 5 → 3, rolling restart", nothing, 3, func() error {
		if err := r.scale(ctx, 5); err != nil {
			return err
		}
		if err := r.settled(ctx, 5, 60*time.Second); err != nil {
			return err
		}
		if err := r.voters(ctx, 5, 30*time.Second); err != nil {
			return err
		}
		if err := r.scale(ctx, 3); err != nil {
			return err
		}
		if err := r.settled(ctx, 3, 60*time.Second); err != nil {
			return err
		}
		return r.restart(ctx, 3)
	})
}

func asleep(ctx context.Context, r *release) error {
	if err := r.mark(ctx); err != nil {
		return err
	}
	if err := r.scale(ctx, 0); err != nil {
		return err
	}
	if err := r.settled(ctx, 0, 60*time.Second); err != nil {
		return err
	}
	if err := r.scale(ctx, 3); err != nil {
		return err
	}
	if err := r.settled(ctx, 3, 60*time.Second); err != nil {
		return err
	}
	return r.marked(ctx)
}

// grown changes the number of replicas as it is documented, by values. The first one is restarted for its new flags
// when the others are there.
func grown(ctx context.Context, r *release) error {
	if err := r.install(ctx, "--set=replicaCount=1"); err != nil {
		return err
	}
	if err := r.settled(ctx, 1, 60*time.Second); err != nil {
		return err
	}
	grow := func(n int) func() error {
		return func() error {
			if err := r.install(ctx, fmt.Sprintf("--set=replicaCount=%d", n)); err != nil {
				return err
			}
			if err := r.settled(ctx, n, 120*time.Second); err != nil {
				return err
			}
			return r.voters(ctx, n, 30*time.Second)
		}
	}
	if err := r.disturb(ctx, "1 → 3 by values", nothing, 3, grow(3)); err != nil {
		return err
	}
	if err := r.disturb(ctx, "3 → 5 by values", nothing, 5, grow(5)); err != nil {
		return err
	}
	return r.uninstall(ctx)
}

func inMemory(ctx context.Context, r *release) error {
	if err := r.install(ctx, "--set=replicaCount=3", "--set=persistentVolume.enabled=false"); err != nil {
		return err
	}
	if err := r.settled(ctx, 3, 60*time.Second); err != nil {
		return err
	}
	err := r.disturb(ctx, "emptyDir: rolling restart", nothing, 3, func() error { return r.restart(ctx, 3) })
	if err != nil {
		return err
	}
	_, err = r.helm(ctx, "uninstall", r.name, "--namespace="+r.namespace, "--wait")
	return err
}
