package formation

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
)

// ErrOtherCluster is why a replica that is bound, or has promised itself, refuses to be part of a cluster.
var ErrOtherCluster = errors.New("belongs to another cluster")

// Promises is what a replica without state has agreed to. It holds at most one promise at a time, and only a cluster it
// has agreed to may send it Raft traffic: see DESIGN.md for why two clusters cannot share a replica.
//
// Whatever promises or binds the replica does so here, and under the lock: what it is decided by, the decision, and
// what is written down are one step, so that no two decisions are made by the same circumstances.
type Promises struct {
	self uuid.UUID
	ttl  time.Duration
	env  Environment

	mu   sync.Mutex
	held Promise
	at   time.Time // when held was last asked for
}

// Environment is what [Promises] reads its circumstances from and writes its decisions to. All are called under its
// lock; what the last two write is on disk when they return.
type Environment struct {
	View func() LocalView
	Save func(Promise) error   // a promise outlives a restart
	Bind func(uuid.UUID) error // ties the replica to a cluster
}

// LocalView is what a replica knows about itself and the others when it is asked.
type LocalView struct {
	Now      time.Time
	HasState bool
	Bound    uuid.UUID // cluster, zero: none
	Member   string    // name of another replica that is known to have state, "": none
}

// Promise is one agreement: to be part of the one cluster that its coordinator may form under this id, of a set that
// goes with the id. It does not end by itself: only the coordinator can release it, because only it knows whether it
// has acted on it. The zero Promise is none.
type Promise struct {
	Cluster, Coordinator uuid.UUID
}

// OpenPromises continues with a promise from before a restart. What this replica promised itself as a coordinator is
// void: it has forgotten the attempt, and had it acted it would have state by now. A promise that has come to nothing
// for ttl is [Promises.Overdue].
func OpenPromises(self uuid.UUID, ttl time.Duration, held Promise, env Environment) *Promises {
	if held.Coordinator == self {
		held = Promise{}
	}
	return &Promises{self: self, ttl: ttl, env: env, held: held}
}

// Prepare promises to bootstrap a cluster of exactly the set, or says why not. Asking again for the same renews it.
func (p *Promises) Prepare(cluster, coordinator uuid.UUID, set []uuid.UUID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	view := p.env.View()
	if err := p.mayFormLocked(view, cluster); err != nil {
		return err
	}
	if !slices.Contains(set, p.self) || cluster == uuid.Nil {
		return errors.New("is not in the set")
	}
	p.at = view.Now
	return p.setLocked(Promise{Cluster: cluster, Coordinator: coordinator})
}

// mayFormLocked tells what keeps this replica from being part of a new cluster, or from founding it.
func (p *Promises) mayFormLocked(view LocalView, cluster uuid.UUID) error {
	switch {
	case view.HasState:
		return errors.New("has state already")
	case view.Bound != uuid.Nil && view.Bound != cluster:
		return ErrOtherCluster
	case view.Member != "":
		return fmt.Errorf("knows %s, which has state already", view.Member)
	case p.held.Cluster != uuid.Nil && p.held.Cluster != cluster:
		return fmt.Errorf("has promised replica %s to form another one", p.held.Coordinator)
	}
	return nil
}

// Found writes down that this replica, which all have given their promise, founds the cluster, or says why it must not.
func (p *Promises) Found(cluster uuid.UUID, write func() error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.mayFormLocked(p.env.View(), cluster); err != nil {
		return err
	}
	if p.held != (Promise{Cluster: cluster, Coordinator: p.self}) || cluster == uuid.Nil {
		return errors.New("no longer holds its own promise to form this cluster")
	}
	return write()
}

// Invite binds the replica to an existing cluster that wants to add it, or says why not.
func (p *Promises) Invite(cluster uuid.UUID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch view := p.env.View(); {
	case view.Bound == cluster && cluster != uuid.Nil:
		return nil
	case view.Bound != uuid.Nil || view.HasState:
		return ErrOtherCluster
	case p.held.Cluster != uuid.Nil && p.held.Cluster != cluster:
		return fmt.Errorf("has promised replica %s to form a new cluster", p.held.Coordinator)
	}
	return p.env.Bind(cluster)
}

// Admit tells whether Raft traffic of the cluster may come in: of the one this replica is bound to, or, while it is
// bound to none, of the one that it has promised to be part of, which binds it. It gives [ErrOtherCluster], or what
// kept the replica from being bound.
func (p *Promises) Admit(cluster uuid.UUID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	bound := p.env.View().Bound
	switch {
	case cluster == uuid.Nil:
		return ErrOtherCluster
	case bound == cluster:
		return nil
	case bound == uuid.Nil && p.held.Cluster == cluster:
		return p.env.Bind(cluster)
	}
	return ErrOtherCluster
}

// Overdue gives a promise to another replica that has come to nothing for a while: it is time to ask for its release.
func (p *Promises) Overdue(now time.Time) (held Promise, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held.Cluster == uuid.Nil || p.held.Coordinator == p.self || now.Sub(p.at) < p.ttl {
		return Promise{}, false
	}
	return p.held, true
}

// Release ends a promise. The coordinator has said, or is the one who knows, that it never acts on it.
func (p *Promises) Release(cluster uuid.UUID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held.Cluster != cluster {
		return nil
	}
	return p.setLocked(Promise{})
}

// releaseOwn ends what this replica has promised itself, whichever attempt it was for.
func (p *Promises) releaseOwn() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held.Coordinator != p.self {
		return nil
	}
	return p.setLocked(Promise{})
}

func (p *Promises) setLocked(held Promise) error {
	if held == p.held {
		return nil
	}
	if err := p.env.Save(held); err != nil {
		return fmt.Errorf("cannot write down its promise: %w", err)
	}
	p.held = held
	return nil
}
