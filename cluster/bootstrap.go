package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

// bootstrapTick is how often a replica without state looks whether a cluster can be formed.
const bootstrapTick = 250 * time.Millisecond

// promiseTimeout bounds the question for promises.
const promiseTimeout = 2 * time.Second

// form runs on a replica without state until it has some: it bootstraps a new cluster with others of its kind, or waits
// to be added to one.
func (r *Replica) form(ctx context.Context) {
	started := time.Now()
	logged := started.Add(-r.tune.waitLog).Add(2 * time.Second) // first after two seconds: mostly it is done by then
	for !r.hasState() {
		r.askRelease(ctx)
		waiting := r.tryBootstrap(ctx)
		if waiting != "" && time.Since(logged) >= r.tune.waitLog {
			logged = time.Now()
			r.logger.Info("waiting for a cluster: "+waiting, "seen", r.seenNames(), "since", time.Since(started).Round(time.Second))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(bootstrapTick):
		}
	}
}

// forming is a coordinator's attempt to form a cluster of one set. A further try with the same set keeps the cluster id,
// so that promises already made are renewed and not broken.
type forming struct {
	mu      sync.Mutex
	set     []uuid.UUID
	cluster uuid.UUID // zero: no attempt
}

// with gives the cluster id of the attempt for a set; an attempt for another set ends, and own grants for it.
func (f *forming) with(set []uuid.UUID, own *grants) (uuid.UUID, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cluster != uuid.Nil && slices.Equal(f.set, set) {
		return f.cluster, nil
	}
	fresh, err := uuid.NewRandom()
	if err != nil {
		return uuid.Nil, err
	}
	if err := own.release(f.cluster); err != nil {
		return uuid.Nil, err
	}
	f.set, f.cluster = set, fresh
	return fresh, nil
}

// abandon ends the attempt with this cluster id, which is then never acted on; an error means that it has been.
func (f *forming) abandon(cluster uuid.UUID, own *grants, hasState func() bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if hasState() {
		return errors.New("has state: the cluster may have been formed")
	}
	if f.cluster == cluster {
		f.set, f.cluster = nil, uuid.Nil
	}
	return own.release(cluster)
}

// giveUp ends the present attempt, if there is one.
func (f *forming) giveUp(own *grants) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cluster == uuid.Nil {
		return nil
	}
	cluster := f.cluster
	f.set, f.cluster = nil, uuid.Nil
	return own.release(cluster)
}

// act runs the bootstrap unless the attempt was abandoned; the two exclude each other.
func (f *forming) act(cluster uuid.UUID, bootstrap func() error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cluster != cluster {
		return errors.New("the attempt to form a cluster was given up at another replica's request")
	}
	return bootstrap()
}

// askRelease asks for the return of a promise that has come to nothing.
func (r *Replica) askRelease(ctx context.Context) {
	cluster, coordinator, ok := r.grants.old(time.Now())
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, inviteTimeout)
	defer cancel()
	var reply AgreeReply
	err := r.peers.call(ctx, coordinator, "Release", &ReleaseArgs{Cluster: cluster}, &reply)
	switch {
	case err != nil:
		r.logger.Debug("cannot ask for a promise back", "coordinator", coordinator, "err", err)
	case reply.Error == "":
		if err := r.grants.release(cluster); err != nil {
			r.logger.Error("cannot take a promise back", "err", err)
		}
	}
}

// tryBootstrap makes one try, if it is this replica's turn. It returns what is being waited for, "" when all is done.
func (r *Replica) tryBootstrap(ctx context.Context) string {
	if r.cfg.BootstrapExpect == 1 {
		// Without peers it would have bootstrapped in Open. Whatever the peers are, and whether they answer or not, this replica does not found a cluster: a replacement
		// is started just like this, and must not mistake silence for absence.
		return "to be added by the cluster that --cluster.peer names; to form a new one set --cluster.bootstrap-expect to the number of its replicas, on each of them"
	}
	set, err := quorumSet(r.gossip.alive(), r.cfg.BootstrapExpect)
	if err == nil && set[0] == r.self {
		return errText(r.coordinate(ctx, set))
	}
	// An attempt of its own from before, when the world looked different, must not stand in the way of another's.
	if gerr := r.forming.giveUp(r.grants); gerr != nil {
		return gerr.Error()
	}
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s coordinates the forming of a new one", r.nameOf(serverID(set[0])))
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// coordinate asks every replica of the set for its promise and then makes the set a cluster. A promise holds, across
// restarts, until the coordinator gives it back, which excludes that it ever acts on it.
func (r *Replica) coordinate(ctx context.Context, set []uuid.UUID) error {
	cluster, err := r.forming.with(set, r.grants)
	if err != nil {
		return err
	}
	if err := r.grants.promise(r.situation(), cluster, r.self, set); err != nil {
		return fmt.Errorf("this replica %w; should that one be gone for good, stop this one and delete its data directory, which holds no data yet", err)
	}
	if err := r.collectPromises(ctx, cluster, set); err != nil {
		return err
	}
	servers := make([]raft.Server, len(set))
	for i, id := range set {
		m := r.ownMeta()
		if id != r.self {
			m, _ = r.gossip.lastSeen(id)
		}
		servers[i] = raft.Server{Suffrage: raft.Voter, ID: serverID(id), Address: serverAddress{id: id, peer: m.Peer, name: m.Name}.encode()}
	}
	return r.forming.act(cluster, func() error {
		if err := r.id.bind(cluster); err != nil {
			return fmt.Errorf("this replica: %w", err)
		}
		return r.bootstrapRaft(servers)
	})
}

func (r *Replica) collectPromises(ctx context.Context, cluster uuid.UUID, set []uuid.UUID) error {
	ctx, cancel := context.WithTimeout(ctx, promiseTimeout)
	defer cancel()
	errs := make([]error, len(set))
	var wg sync.WaitGroup
	for i, id := range set {
		if id == r.self {
			continue
		}
		wg.Go(func() {
			var reply AgreeReply
			name := r.nameOf(serverID(id))
			args := &PrepareArgs{Cluster: cluster, Coordinator: r.self, Set: set}
			if err := r.peers.call(ctx, id, "Prepare", args, &reply); err != nil {
				errs[i] = fmt.Errorf("%s was asked to form a new one with this replica and did not answer: %w", name, err)
			} else if reply.Error != "" {
				errs[i] = fmt.Errorf("%s was asked to form a new one with this replica: it %s", name, reply.Error)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// bootstrapAlone makes a cluster of this replica.
func (r *Replica) bootstrapAlone() error {
	cluster, err := uuid.NewRandom()
	if err != nil {
		return err
	}
	if err := r.id.bind(cluster); err != nil {
		return err
	}
	return r.bootstrapRaft([]raft.Server{r.soleVoter()})
}

// soleVoter is this replica as the only member of a configuration.
func (r *Replica) soleVoter() raft.Server {
	return raft.Server{Suffrage: raft.Voter, ID: r.serverID, Address: serverAddress{id: r.self, peer: r.addrs.peerAdvertise, name: r.cfg.Name}.encode()}
}

func (r *Replica) bootstrapRaft(servers []raft.Server) error {
	if err := r.raft.BootstrapCluster(raft.Configuration{Servers: servers}).Error(); err != nil {
		return fmt.Errorf("forming the cluster: %w", err)
	}
	names := make([]string, len(servers))
	for i, s := range servers {
		names[i] = r.nameOf(s.ID)
	}
	r.logger.Info("formed a new cluster", "cluster", r.store.clusterID(), "members", strings.Join(names, ","))
	r.refreshGossip()
	return nil
}

// situation is what a question about promises has to be judged by.
func (r *Replica) situation() situation {
	rec := r.id.get()
	s := situation{now: time.Now(), hasState: rec.Member, bound: rec.Cluster}
	if r.gossip != nil {
		for _, m := range r.gossip.alive() {
			if m.Member && m.ID != r.self {
				s.member = m.Name
			}
		}
	}
	return s
}

func (r *Replica) seenNames() string {
	var names []string
	for _, m := range r.gossip.alive() {
		names = append(names, m.Name)
	}
	return strings.Join(names, ",")
}
