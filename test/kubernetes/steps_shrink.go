package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// shrunk: by helm upgrade alone, to one and back, and between three and five without restarting anybody.
func shrunk(ctx context.Context, r *release) error {
	if err := r.install(ctx, "--set=replicaCount=3"); err != nil {
		return err
	}
	if err := r.settled(ctx, 3, 60*time.Second); err != nil {
		return err
	}
	if err := r.voters(ctx, 3, 30*time.Second); err != nil {
		return err
	}
	if err := r.mark(ctx); err != nil {
		return err
	}
	if err := r.install(ctx, "--set=replicaCount=1"); err == nil ||
		!strings.Contains(err.Error(), "cluster.shrinkToOne=true") {
		return fmt.Errorf("an upgrade to one replica is not refused: %w", err)
	}
	for _, n := range []int{5, 3} {
		before, err := r.replicas(ctx)
		if err != nil {
			return err
		}
		if err := r.install(ctx, fmt.Sprintf("--set=replicaCount=%d", n)); err != nil {
			return err
		}
		if err := r.settled(ctx, n, 60*time.Second); err != nil {
			return err
		}
		if err := r.voters(ctx, n, 30*time.Second); err != nil {
			return err
		}
		after, err := r.replicas(ctx)
		if err != nil {
			return err
		}
		for i := range min(len(before), len(after)) {
			if before[i].Metadata.UID != after[i].Metadata.UID {
				return fmt.Errorf("%s was restarted", after[i].Metadata.Name)
			}
		}
	}
	if err := r.install(ctx, "--set=replicaCount=1", "--set=cluster.shrinkToOne=true"); err != nil {
		return err
	}
	if err := r.settled(ctx, 1, 120*time.Second); err != nil {
		said, _ := r.kubectl(ctx, "", "--namespace="+r.namespace, "logs", "shrunk-prometheus-pushgateway-0", "-c",
			"shrink-to-one")
		return errors.Join(err, errors.New(said))
	}
	if err := r.voters(ctx, 1, 30*time.Second); err != nil {
		return err
	}
	if err := r.marked(ctx); err != nil {
		return err
	}
	if err := r.install(ctx, "--set=replicaCount=3"); err != nil {
		return err
	}
	if err := r.settled(ctx, 3, 120*time.Second); err != nil {
		return err
	}
	if err := r.voters(ctx, 3, 30*time.Second); err != nil {
		return err
	}
	if err := r.marked(ctx); err != nil {
		return err
	}
	return r.uninstall(ctx)
}
