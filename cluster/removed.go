package cluster

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/gossip"
)

// errRemoved is why a replica that was removed from its cluster is not ready.
var errRemoved = errors.New("this replica was removed from its cluster and nobody leads it; " +
	"if another of its name has taken its place, stop this one and delete its data directory")

// removedAfter is how long a replica must be without a leader before it asks the others whether it still belongs to
// them.
const removedAfter = 3 * time.Second

// evictionTimeout bounds one check.
const evictionTimeout = 3 * time.Second

// evictionWatch knows whether this replica, which has state, is no member any more. It asks the others, because Raft
// does not tell: a removed server that was away only sees that its votes are refused.
type evictionWatch struct {
	self    uuid.UUID
	cluster func() uuid.UUID
	// leader gives the present leader, "" when none is known, and since when that has been so.
	leader func() (raft.ServerID, time.Time)
	// members gives the living members of the cluster but this one, those in the configuration first.
	members func() []gossip.Meta
	ask     func(context.Context, uuid.UUID) (StatusReply, error)
	logger  *slog.Logger

	removed atomic.Bool
}

func newEvictionWatch(r *Replica) *evictionWatch {
	return &evictionWatch{
		self: r.self, cluster: r.store.ClusterID, leader: r.leader.state, members: r.livingMembers, logger: r.logger,
		ask: func(ctx context.Context, id uuid.UUID) (StatusReply, error) { return r.askStatus(ctx, id, nil) },
	}
}

// evicted tells whether this replica was removed. A standalone replica, which has no watch, never is.
func (w *evictionWatch) evicted() bool { return w != nil && w.removed.Load() }

// check asks the others when no leader has been known for a while, and logs what has changed.
func (w *evictionWatch) check(ctx context.Context) {
	leader, since := w.leader()
	if leader != "" {
		if w.removed.Swap(false) {
			w.logger.Info("this replica was removed from its cluster and has been added again")
		}
		return
	}
	if time.Since(since) < removedAfter {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, evictionTimeout)
	defer cancel()
	var mu sync.Mutex
	sideBySide(w.members(), func(m gossip.Meta) {
		if ctx.Err() != nil {
			return
		}
		status, err := w.ask(ctx, m.ID)
		if err != nil || status.Leader == "" || status.Cluster != w.cluster() {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil {
			return // another has said it
		}
		cancel()
		if !slices.Contains(status.Servers, w.self) && !w.removed.Swap(true) {
			w.logger.Error("this replica was removed from its cluster while it was away; it takes no part until the "+
				"leader adds it again, which it does unless another replica of this name is there: then stop this one "+
				"and delete its data directory", "cluster", w.cluster(), "leader", status.Leader, "asked", m.Name)
		}
	})
}

// livingMembers are those whom gossip shows as living members of this cluster, but this replica, those in the
// configuration first, because gossip may show any number.
func (r *Replica) livingMembers() []gossip.Meta {
	members := slices.DeleteFunc(r.gossip.Alive(), func(m gossip.Meta) bool {
		return m.ID == r.self || !m.HasRaftState || m.Cluster != r.store.ClusterID()
	})
	configured := configuredIDs(r.raft.GetConfiguration().Configuration())
	before(members, func(m gossip.Meta) bool { return slices.Contains(configured, m.ID) })
	return members
}
