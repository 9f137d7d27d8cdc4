package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/formation"
	"pushquorum/cluster/internal/gossip"
	"pushquorum/cluster/internal/server"
)

// bootstrapTick is how often a replica without state looks whether a cluster can be formed.
const bootstrapTick = 250 * time.Millisecond

// promiseTimeout bounds the question for promises.
const promiseTimeout = 2 * time.Second

// form runs on a replica without state until it has some: it bootstraps a new cluster with others of its kind, or waits
// to be added to one. An error means that it has decided to found one and could not go through with it, which is done
// again at the next start.
func (r *Replica) form(ctx context.Context) error {
	started := time.Now()
	logged := started.Add(-r.tune.waitLog)
	if r.cfg.BootstrapExpect > 1 {
		logged = logged.Add(2 * time.Second) // mostly it is done by then
	}
	for !r.hasState() {
		r.askRelease(ctx)
		waiting := r.tryBootstrap(ctx)
		if ctx.Err() == nil && waiting != "" && r.founding() {
			return fmt.Errorf("%s: %s; it is done again at the next start", r.cfg.DataDir, waiting)
		}
		if waiting != "" && time.Since(logged) >= r.tune.waitLog {
			logged = time.Now()
			r.logger.Info("waiting for a cluster: "+waiting, "seen", r.seenNames(), "since",
				time.Since(started).Round(time.Second))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(bootstrapTick):
		}
	}
	return nil
}

// decided tells whether this replica has formed the cluster, or has written down that it founds it: then no promise for
// it is given back any more. Nobody forms a cluster but by binding itself to it, so of all others the promises are
// void.
func (r *Replica) decided(cluster uuid.UUID) bool {
	rec := r.id.Get()
	return (rec.HasRaftState || len(rec.Forming) > 0) && rec.Cluster == cluster
}

// founding tells whether this replica has written down that it founds a cluster and not yet that it has.
func (r *Replica) founding() bool { return len(r.id.Get().Forming) > 0 }

// askRelease asks for the return of a promise that has come to nothing.
func (r *Replica) askRelease(ctx context.Context) {
	held, ok := r.promises.Overdue(time.Now())
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, inviteTimeout)
	defer cancel()
	var reply AgreeReply
	err := r.peers.Call(ctx, held.Coordinator, "Release", &ReleaseArgs{Cluster: held.Cluster}, &reply)
	switch {
	case err != nil:
		r.logger.Debug("cannot ask for a promise back", "coordinator", held.Coordinator, "err", err)
	case reply.Error != "":
		if r.refusals.Allow("release", time.Now()) {
			r.logger.Warn("a promise is not given back: it "+reply.Error, "coordinator", held.Coordinator, "cluster",
				held.Cluster)
		}
	default:
		if err := r.promises.Release(held.Cluster); err != nil {
			r.logger.Error("cannot take a promise back", "err", err)
		}
	}
}

// tryBootstrap makes one try, if it is this replica's turn. It returns what is being waited for, "" when all is done.
func (r *Replica) tryBootstrap(ctx context.Context) string {
	set, err := r.founders(ctx)
	if err == nil && set[0] == r.self {
		return errText(r.coordinate(ctx, set))
	}
	// An attempt of its own from before, when the world looked different, must not stand in the way of another's.
	if gerr := r.attempt.Abort(); gerr != nil {
		return gerr.Error()
	}
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s coordinates the forming of a new one", r.nameOf(serverID(set[0])))
}

// founders gives those who would form a new cluster, the coordinator first, as far as this replica can see.
func (r *Replica) founders(ctx context.Context) ([]uuid.UUID, error) {
	if r.cfg.BootstrapExpect == 1 {
		return []uuid.UUID{r.self}, r.alone.Check(ctx, time.Now(), r.others())
	}
	var alive []formation.Candidate
	for _, m := range r.gossip.Alive() {
		alive = append(alive, formation.Candidate{
			ID: m.ID, Name: m.Name, HasRaftState: m.HasRaftState,
			Expect: m.Expect,
		})
	}
	set, err := formation.Founders(alive, r.cfg.BootstrapExpect)
	if errors.Is(err, formation.ErrTooFew) {
		err = fmt.Errorf("%w%s", err, dnsHint(r.cfg.Peers))
	}
	return set, err
}

// dnsHint is what to look at when fewer are seen than there should be, and a peer is a name.
func dnsHint(peers []string) string {
	for _, peer := range peers {
		host, _, err := gossip.SplitHostPort(peer)
		if err != nil {
			continue
		}
		if _, err := netip.ParseAddr(host); err != nil {
			return fmt.Sprintf("; if %s is a headless Service, it must publish the addresses of those that are not "+
				"ready (publishNotReadyAddresses: true)", host)
		}
	}
	return ""
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
	cluster, err := r.attempt.Begin(set)
	if err != nil {
		return err
	}
	if err := r.promises.Prepare(cluster, r.self, set); err != nil {
		return fmt.Errorf("this replica %w; should that one be gone for good, stop this one and delete its data "+
			"directory, which holds no data yet", err)
	}
	if err := r.collectPromises(ctx, cluster, set); err != nil {
		return err
	}
	servers := make([]raft.Server, len(set))
	for i, id := range set {
		m := r.ownMeta()
		if id != r.self {
			m, _ = r.gossip.LastSeen(id)
		}
		servers[i] = raft.Server{
			Suffrage: raft.Voter, ID: serverID(id),
			Address: server.Address{ID: id, Peer: m.Peer, Name: m.Name}.Encode(),
		}
	}
	return r.attempt.Commit(cluster, func() error {
		// From here on there is no way back: a start that finds this does what is missing.
		if err := r.promises.Found(cluster, func() error { return r.id.Found(cluster, servers) }); err != nil {
			return fmt.Errorf("this replica %w", err)
		}
		return r.bootstrapRaft(ctx, servers)
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
			if err := r.peers.Call(ctx, id, "Prepare", args, &reply); err != nil {
				errs[i] = fmt.Errorf("%s was asked to form a new one with this replica and did not answer: %w", name,
					err)
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

func (r *Replica) bootstrapRaft(ctx context.Context, servers []raft.Server) error {
	// On a disk that is full it takes as long as that.
	if err := waitFuture(ctx, r.raft.BootstrapCluster(raft.Configuration{Servers: servers})); err != nil {
		return fmt.Errorf("forming the cluster: %w", err)
	}
	if err := r.id.Founded(); err != nil {
		return fmt.Errorf("forming the cluster: %w", err)
	}
	names := make([]string, len(servers))
	for i, s := range servers {
		names[i] = r.nameOf(s.ID)
	}
	r.logger.Info("formed a new cluster", "cluster", r.store.ClusterID(), "members", strings.Join(names, ","))
	r.refreshGossip()
	return nil
}

// savePromise writes down what was promised.
func (r *Replica) savePromise(p formation.Promise) error {
	return r.id.SavePromise(p.Cluster, p.Coordinator)
}

// bind ties this replica to a cluster.
func (r *Replica) bind(cluster uuid.UUID) error {
	err := r.id.Bind(cluster)
	if errors.Is(err, disk.ErrOtherCluster) {
		return formation.ErrOtherCluster
	}
	return err
}

// newAlone is what this replica asks before it forms a cluster of one.
func (r *Replica) newAlone() *formation.Alone {
	a := &formation.Alone{
		Name: r.cfg.Name, Own: r.addrs.IsOwnGossip, Every: r.tune.quickRejoin, Settle: r.tune.settleAlone,
		Resolve: func(ctx context.Context, peer string) ([]netip.AddrPort, error) {
			return gossip.ResolvePeer(ctx, r.tune.resolver, peer)
		},
	}
	for _, peer := range r.cfg.Peers {
		host, _, _ := gossip.SplitHostPort(peer) // complete has looked at it
		a.Peers = append(a.Peers, formation.Peer{Address: peer, Host: host})
	}
	return a
}

// localView is what a question about promises has to be judged by.
func (r *Replica) localView() formation.LocalView {
	rec := r.id.Get()
	view := formation.LocalView{Now: time.Now(), HasState: rec.HasRaftState, Bound: rec.Cluster}
	if r.gossip != nil {
		for _, m := range r.gossip.Alive() {
			if m.HasRaftState && m.ID != r.self {
				view.Member = m.Name
			}
		}
	}
	return view
}

func (r *Replica) seenNames() string {
	return strings.Join(append([]string{r.cfg.Name}, r.others()...), ",")
}

// others are the names of those who are there beside this replica.
func (r *Replica) others() (names []string) {
	for _, m := range r.gossip.Alive() {
		if m.ID != r.self {
			names = append(names, m.Name)
		}
	}
	return names
}
