package cluster

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
)

// reachedWithin bounds how long an invitation waits for the first answer of a peer.
const reachedWithin = time.Second

// mayFollow returns nil when this replica, should it be bound to no cluster, may be bound to this one, and otherwise
// why not. Gossip may show clusters that have nothing to do with this replica: one whose --cluster.peer names it by
// mistake is enough.
func (r *Replica) mayFollow(cluster uuid.UUID) error {
	if r.id.Get().Cluster != uuid.Nil || r.gossip == nil {
		return nil // promises decide
	}
	led := r.gossip.ClustersAt(r.places.Has)
	if len(led) == 0 && len(r.cfg.Peers) > 0 {
		select {
		case <-r.places.Reached:
			led = r.gossip.ClustersAt(r.places.Has)
		case <-r.ctx.Done():
			return errClosing
		case <-time.After(reachedWithin):
			return errors.New("has not reached its --cluster.peer yet")
		}
	}
	err := whomToFollow(cluster, led, r.gossip.ClustersAt(func(string) bool { return true }))
	if err != nil && r.refusals.Allow("invitation", time.Now()) {
		r.logger.Warn("this replica was invited to a cluster and refused: it "+err.Error(), "invited_by", cluster)
	}
	return err
}

// whomToFollow decides about an invitation. led are the clusters that --cluster.peer leads to, seen are all in the
// gossip. Who is led to nobody, as by the name of a load balancer, takes what there is, if there is no choice.
func whomToFollow(cluster uuid.UUID, led, seen []uuid.UUID) error {
	if len(led) > 1 {
		return fmt.Errorf("is led to two clusters, %s and %s, by --cluster.peer: name the replicas of one",
			led[0], led[1])
	}
	if len(led) == 1 && led[0] != cluster {
		return fmt.Errorf("is led to cluster %s by --cluster.peer and does not follow cluster %s", led[0], cluster)
	}
	if len(led) == 1 {
		return nil
	}
	for _, other := range seen {
		if other != cluster {
			return fmt.Errorf("sees two clusters, %s and %s, and --cluster.peer leads to neither: "+
				"name a replica of the one it belongs to", other, cluster)
		}
	}
	return nil
}

// seenIDs remembers about which replicas something was said, so that it is said once. It forgets all when there are too
// many.
type seenIDs struct {
	mu  sync.Mutex
	ids map[uuid.UUID]bool
}

const maxSeenIDs = 1000

// first tells whether this is the first time.
func (t *seenIDs) first(id uuid.UUID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ids[id] {
		return false
	}
	if t.ids == nil || len(t.ids) >= maxSeenIDs {
		t.ids = map[uuid.UUID]bool{}
	}
	t.ids[id] = true
	return true
}

func (t *seenIDs) forget(id uuid.UUID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.ids, id)
}
