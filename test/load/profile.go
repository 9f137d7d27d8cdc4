package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// profileStages take a CPU profile and an allocation profile of every replica under load, for those who ask where the
// time goes. The files are named after what the replica was.
func (b *bench) profileStages(into string) []stage {
	return []stage{
		{"one", func(ctx context.Context) error { return b.profiles(ctx, into, b.startOne) }},
		{"three", func(ctx context.Context) error { return b.profiles(ctx, into, b.startThree) }},
	}
}

func (b *bench) profiles(ctx context.Context, into string, start func(context.Context, ...string) (*web, error)) error {
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	w, err := start(ctx)
	if err != nil {
		return err
	}
	if err := b.fill(ctx, w, b.size.groups); err != nil {
		return err
	}
	c, err := b.connect(ctx, w, 64, b.size.groups, clients(64))
	if err != nil {
		return err
	}
	defer c.drive.close()
	names, err := roles(ctx, w)
	if err != nil {
		return err
	}
	_, err = b.window(ctx, c, []contestant{c}, func(d *drive) (outcome, error) {
		failed := make([]error, len(w.at))
		var all sync.WaitGroup
		for i, address := range w.at {
			all.Go(func() {
				path := fmt.Sprintf("/debug/pprof/profile?seconds=%d", int(b.size.profile.Seconds()))
				failed[i] = save(ctx, address, path, filepath.Join(into, names[i]+".cpu.pprof"))
			})
		}
		o, err := d.closed(b.size.profile + b.size.profile/10)
		all.Wait()
		return o, errors.Join(append(failed, err)...)
	})
	if err != nil {
		return err
	}
	for i, address := range w.at {
		if err := save(ctx, address, "/debug/pprof/allocs", filepath.Join(into, names[i]+".allocs.pprof")); err != nil {
			return err
		}
	}
	b.tell("  profiles are in %s: %v", into, names)
	return nil
}

// roles names the servers by what they are: alone, leader, follower-1, follower-2.
func roles(ctx context.Context, w *web) ([]string, error) {
	if len(w.at) == 1 {
		return []string{"alone"}, nil
	}
	var names []string
	followers := 0
	for _, address := range w.at {
		page, err := fetch(ctx, address, "/api/v1/cluster")
		if err != nil {
			return nil, err
		}
		var status struct {
			Data struct{ Self, Leader string }
		}
		if err := json.Unmarshal(page, &status); err != nil {
			return nil, fmt.Errorf("/api/v1/cluster of %s: %w", address, err)
		}
		if status.Data.Self == status.Data.Leader {
			names = append(names, "leader")
			continue
		}
		followers++
		names = append(names, fmt.Sprintf("follower-%d", followers))
	}
	return names, nil
}

func save(ctx context.Context, address, path, file string) error {
	profile, err := fetch(ctx, address, path)
	if err != nil {
		return err
	}
	return os.WriteFile(file, profile, 0o644)
}
