package cluster

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// errRemoved is why a replica that was removed from its cluster is not ready.
var errRemoved = errors.New("this replica was removed from its cluster and nobody leads it; if another of its name has taken its place, stop this one and delete its data directory")

// removedAfter is how long a replica must be without a leader before it asks the others whether it still belongs to them.
const removedAfter = 3 * time.Second

// exileTimeout bounds one look.
const exileTimeout = 3 * time.Second

// exile knows whether this replica, which has state, is no member any more. Raft does not tell it: a removed server that was
// away only sees that its votes are refused.
type exile struct{ removed atomic.Bool }

// look asks those who are there, and logs when something has changed.
func (e *exile) look(ctx context.Context, r *Replica) {
	leader, since := r.leader.state()
	if leader != "" {
		if e.removed.Swap(false) {
			r.logger.Info("this replica was removed from its cluster and has been added again")
		}
		return
	}
	if time.Since(since) < removedAfter {
		return
	}
	members := slices.DeleteFunc(r.gossip.alive(), func(m nodeMeta) bool {
		return m.ID == r.self || !m.Member || m.Cluster != r.store.clusterID()
	})
	configured := configuredIDs(r.raft.GetConfiguration().Configuration())
	before(members, func(m nodeMeta) bool { return slices.Contains(configured, m.ID) })
	ctx, cancel := context.WithTimeout(ctx, exileTimeout)
	defer cancel()
	var mu sync.Mutex
	sideBySide(members, func(m nodeMeta) {
		if ctx.Err() != nil {
			return
		}
		status, err := r.askStatus(ctx, m.ID, nil)
		if err != nil || status.Leader == "" || status.Cluster != r.store.clusterID() {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil {
			return // another has said it
		}
		cancel()
		if !slices.Contains(status.Servers, r.self) && !e.removed.Swap(true) {
			r.logger.Error("this replica was removed from its cluster while it was away; it takes no part until the leader adds it again, which it does unless another replica of this name is there: then stop this one and delete its data directory",
				"cluster", r.store.clusterID(), "leader", status.Leader, "asked", m.Name)
		}
	})
}
