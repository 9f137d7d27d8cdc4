package cluster

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// grants is what a replica without state has agreed to. It holds at most one agreement at a time, and only a cluster it
// has agreed to may send it Raft traffic: see DESIGN.md for why two clusters cannot share a replica. It is pure but for
// its lock: time, circumstances and the disk are handed in.
//
// Whatever promises or binds the replica does so here, and under the lock: what it is decided by, the decision, and
// what is written down are one step, so that no two decisions are made by the same circumstances.
type grants struct {
	self uuid.UUID
	ttl  time.Duration
	disk grantDisk

	mu   sync.Mutex
	held grant
	at   time.Time // when held was last asked for
}

// grantDisk is what grants reads its circumstances from and writes its decisions to. All are called under its lock;
// what the last two write is on disk when they return.
type grantDisk struct {
	situation func() situation
	save      func(grant) error     // a promise outlives a restart
	bind      func(uuid.UUID) error // ties the replica to a cluster
}

// grant is one agreement: to be part of the one cluster that its coordinator may form under this id, of a set that goes
// with the id. It does not end by itself: only the coordinator can release it, because only it knows whether it has
// acted on it.
type grant struct {
	cluster     uuid.UUID // zero: no grant
	coordinator uuid.UUID
}

// openGrants continues with a grant from before a restart. What this replica promised itself as a coordinator is void:
// it has forgotten the attempt, and had it acted it would have state by now.
func openGrants(self uuid.UUID, ttl time.Duration, held grant, disk grantDisk) *grants {
	if held.coordinator == self {
		held = grant{}
	}
	return &grants{self: self, ttl: ttl, disk: disk, held: held}
}

// situation is what a replica knows about itself and the others when it is asked.
type situation struct {
	now      time.Time
	hasState bool
	bound    uuid.UUID // cluster, zero: none
	member   string    // name of a known replica with state, "" = none
}

// promise agrees to bootstrap a cluster of exactly the set, or says why not. Asking again for the same renews it.
func (g *grants) promise(cluster, coordinator uuid.UUID, set []uuid.UUID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.disk.situation()
	if err := g.mayFormLocked(s, cluster); err != nil {
		return err
	}
	if !slices.Contains(set, g.self) || cluster == uuid.Nil {
		return errors.New("is not in the set")
	}
	g.at = s.now
	return g.setLocked(grant{cluster: cluster, coordinator: coordinator})
}

// mayFormLocked tells what keeps this replica from being part of a new cluster, or from founding it.
func (g *grants) mayFormLocked(s situation, cluster uuid.UUID) error {
	switch {
	case s.hasState:
		return errors.New("has state already")
	case s.bound != uuid.Nil && s.bound != cluster:
		return errOtherCluster
	case s.member != "":
		return fmt.Errorf("knows %s, which has state already", s.member)
	case g.held.cluster != uuid.Nil && g.held.cluster != cluster:
		return fmt.Errorf("has promised replica %s to form another one", g.held.coordinator)
	}
	return nil
}

// found writes down that this replica, which all have given their promise, founds the cluster, or says why it must not.
func (g *grants) found(cluster uuid.UUID, write func() error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.mayFormLocked(g.disk.situation(), cluster); err != nil {
		return err
	}
	if g.held != (grant{cluster: cluster, coordinator: g.self}) || cluster == uuid.Nil {
		return errors.New("no longer holds its own promise to form this cluster")
	}
	return write()
}

// invite binds the replica to an existing cluster that wants to add it, or says why not.
func (g *grants) invite(cluster uuid.UUID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch s := g.disk.situation(); {
	case s.bound == cluster && cluster != uuid.Nil:
		return nil
	case s.bound != uuid.Nil || s.hasState:
		return errOtherCluster
	case g.held.cluster != uuid.Nil && g.held.cluster != cluster:
		return fmt.Errorf("has promised replica %s to form a new cluster", g.held.coordinator)
	}
	return g.disk.bind(cluster)
}

// admit tells whether Raft traffic of the cluster may come in: of the one this replica is bound to, or, while it is
// bound to none, of the one that it has promised to be part of, which binds it.
func (g *grants) admit(cluster uuid.UUID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	bound := g.disk.situation().bound
	switch {
	case cluster == uuid.Nil:
		return errOtherCluster
	case bound == cluster:
		return nil
	case bound == uuid.Nil && g.held.cluster == cluster:
		return g.disk.bind(cluster)
	}
	return errOtherCluster
}

// old gives a grant to another replica that has come to nothing for a while: it is time to ask for release.
func (g *grants) old(now time.Time) (cluster, coordinator uuid.UUID, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held.cluster == uuid.Nil || g.held.coordinator == g.self || now.Sub(g.at) < g.ttl {
		return uuid.Nil, uuid.Nil, false
	}
	return g.held.cluster, g.held.coordinator, true
}

// release ends a grant. The coordinator has said, or is the one who knows, that it never acts on it.
func (g *grants) release(cluster uuid.UUID) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held.cluster != cluster {
		return nil
	}
	return g.setLocked(grant{})
}

// releaseOwn ends what this replica has promised itself, whichever attempt it was for.
func (g *grants) releaseOwn() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held.coordinator != g.self {
		return nil
	}
	return g.setLocked(grant{})
}

func (g *grants) setLocked(held grant) error {
	if held == g.held {
		return nil
	}
	if err := g.disk.save(held); err != nil {
		return fmt.Errorf("cannot write down its promise: %w", err)
	}
	g.held = held
	return nil
}

var errTooFew = errors.New("are here")

// quorumSet decides who would form a new cluster, as far as one replica can see: the expect smallest ids, when so many
// replicas without state expect the same number and nobody has state. The first of them coordinates.
func quorumSet(members []nodeMeta, expect int) ([]uuid.UUID, error) {
	var fresh []uuid.UUID
	for _, m := range members {
		if m.Member {
			return nil, fmt.Errorf("%s has state: waiting to be added by its leader", m.Name)
		}
		if m.Expect == expect {
			fresh = append(fresh, m.ID)
		}
	}
	if len(fresh) < expect {
		return nil, fmt.Errorf("%d of %d new replicas with --cluster.bootstrap-expect=%d %w", len(fresh), expect, expect, errTooFew)
	}
	slices.SortFunc(fresh, func(a, b uuid.UUID) int { return strings.Compare(a.String(), b.String()) })
	return fresh[:expect], nil
}
