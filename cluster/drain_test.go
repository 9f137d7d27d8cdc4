package cluster

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestADrainingLeaderHandsOverAndRefusesNothing(t *testing.T) { // not parallel, because it pushes as fast as it can
	_, replicas := trio(t)
	leader, others := leaderOf(t, replicas)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i, r := range replicas {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := r.Apply(testContext(t),
					pushCommand(r, fmt.Sprintf("drain%d", i), float64(n))); err != nil {
					t.Errorf("push %d through %s: %v", n, r.cfg.Name, err)
					return
				}
			}
		})
	}
	began := time.Now()
	leader.Drain(testContext(t))
	if err := leader.Ready(); !errors.Is(err, errDraining) {
		t.Errorf("ready while draining: %v", err)
	}
	if err := leader.Healthy(); err != nil {
		t.Errorf("not healthy while draining: %v", err)
	}
	now, _ := leaderOf(t, replicas)
	if now == leader {
		t.Fatal("it still leads")
	}
	t.Logf("another leader after %s", time.Since(began))
	push(t, leader, "late", 1)
	leader.Leave(testContext(t))
	close(stop)
	wg.Wait()
	eventually(t, "the others know that it has left", func() bool {
		for _, o := range others {
			for _, m := range o.gossip.Alive() {
				if m.ID == leader.self {
					return false
				}
			}
		}
		return true
	})
	if !exactly(others, replicas...) {
		t.Error("leaving for a restart has cost it its vote")
	}
	leader.crash()
	leader.start()
	waitReady(t, replicas...)
	sameState(t, replicas...)
}

func TestAReplicaThatIsAloneDrainsAtOnce(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1).start()
	waitReady(t, r)
	r.Drain(testContext(t))
	if r.Ready() == nil {
		t.Error("ready while draining")
	}
	push(t, r, "late", 1)
	r.Leave(testContext(t))
	if strings.Contains(r.logs.String(), "cannot hand over") {
		t.Error("it tries to hand over to nobody")
	}
}
