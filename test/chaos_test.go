package test

import (
	"fmt"
	"testing"
	"time"
)

// TestAcknowledgedPushesSurviveKill9 writes without a pause, kills, and checks that what was acknowledged is there,
// that what was deleted stays deleted, and that the replicas have the same state. Each case can be run alone.
func TestAcknowledgedPushesSurviveKill9(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "--push.timeout=5s")
	for _, victims := range []struct {
		name   string
		choose func() []*replica
	}{
		{"of the leader", func() []*replica { return []*replica{c.leader()} }},
		{"of a follower", func() []*replica { return c.followers()[:1] }},
		{"of all three at once", func() []*replica { return c.replicas }},
	} {
		t.Run(victims.name, func(t *testing.T) {
			load := startLoad(t, c)
			load.progress(100)

			killed := victims.choose()
			for _, r := range killed {
				go r.kill()
			}
			for _, r := range killed {
				<-r.done
			}
			if len(killed) < len(c.replicas) {
				load.progress(100) // the others go on without it
			}
			for _, r := range killed {
				r.start()
			}
			c.mustBeReady()
			load.progress(100)
			load.stop()

			load.check(c.mustAgree())
			t.Logf("%d writes acknowledged, %d tried again, %d scrapes checked",
				load.acknowledged.Load(), load.retried.Load(), load.scrapes.Load())
		})
	}
}

func TestAPausedLeaderLosesNothing(t *testing.T) {
	t.Parallel()
	c := startCluster(t, "--push.timeout=5s")
	load := startLoad(t, c)
	load.progress(50)
	leader := c.leader()
	pause(t, leader)
	// The others elect another one and go on; requests that the paused one holds are tried again elsewhere.
	others := c.replicas[:0:0]
	for _, r := range c.replicas {
		if r != leader {
			others = append(others, r)
		}
	}
	eventually(t, 20*time.Second, "elect another leader", func() error {
		for _, r := range others {
			status, err := r.status()
			if err != nil {
				return err
			}
			if status.Leader == leader.name || status.Leader == "" {
				return fmt.Errorf("%s names %q", r.name, status.Leader)
			}
		}
		return nil
	})
	load.progress(50)
	resume(t, leader)
	load.progress(50)
	load.stop()
	load.check(c.mustAgree())
}
