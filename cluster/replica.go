package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/formation"
	"pushquorum/cluster/internal/gossip"
	"pushquorum/cluster/internal/listening"
	"pushquorum/cluster/internal/loglimit"
	"pushquorum/cluster/internal/raftnet"
	"pushquorum/fsm"
)

// Replica is one running member of a cluster, possibly the only one. Its methods may be called from any goroutine.
//
// Everything is built once, in Open, from the disk outwards, and taken down in the reverse order by Close. What changes
// afterwards lives in the parts, each behind a lock of its own; a Replica itself has no lock but the one that counts
// its goroutines.
type Replica struct {
	cfg      Config
	tune     tuning
	logger   *slog.Logger
	self     uuid.UUID
	serverID raft.ServerID
	addrs    gossip.Addresses

	lock     *disk.Lock
	dir      *disk.Watch
	space    *disk.Space
	id       *disk.Identity
	store    *disk.Dir
	promises *formation.Promises
	attempt  *formation.Attempt
	alone    *formation.Alone   // nil when standalone
	gossip   *gossip.Membership // nil when standalone
	mux      *raftnet.Mux       // nil when standalone
	stream   *raftnet.Streams   // nil when standalone
	injector injector           // nil when standalone
	trans    raft.Transport     // the network, or one that reaches nobody
	raft     *raft.Raft
	stopRaft func() error
	peers    *raftnet.Client
	leader   *leadership
	toLeader *batcher // what is pushed to this replica, while another leads
	toLog    *batcher // what is pushed to this replica or forwarded to it, while it leads
	// admission is what those that are appended must pass.
	admission *fsm.Admission
	reads     *readRounds
	fresh     freshness
	metrics   *metrics
	pilot     *pilot // nil when standalone
	eviction  *evictionWatch
	turns     turns // to change the configuration
	invites   *invitations
	places    *gossip.Places  // that --cluster.peer leads to
	warned    seenIDs         // which replicas are not wanted
	refusals  *loglimit.Limit // of invitations
	watch     *watchdog

	draining atomic.Bool

	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup // goroutines started by spawn

	closeOnce sync.Once
	closeErr  error
}

// Open checks the data directory, starts Raft and, unless standalone, opens the gossip and peer ports. A directory that
// is damaged, in use, or belongs to another kind of replica is refused with an error that names the file. The caller
// must Close the replica, and should Run it: until then it neither forms nor joins a cluster.
func Open(cfg Config) (*Replica, error) { return open(cfg, defaultTuning()) }

func open(cfg Config, tune tuning) (_ *Replica, err error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	r := &Replica{
		cfg: cfg, tune: tune, logger: cfg.Logger, metrics: newMetrics(),
		places: gossip.NewPlaces(), turns: make(turns, 1), refusals: loglimit.New(),
		watch: newWatchdog(tune.stuckEvery, tune.stuckAfter, cfg.Logger),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if !cfg.standalone() {
		if r.addrs, err = gossip.ResolveAddresses(r.cfg.addressFlags(), tune.resolver); err != nil {
			return nil, err
		}
	}
	if err := r.openDirectory(); err != nil {
		return nil, err
	}
	var ln net.Listener
	if !cfg.standalone() {
		if ln, err = net.Listen("tcp", r.addrs.PeerListen); err != nil {
			return nil, listening.Error("--cluster.peer-listen-address", r.addrs.PeerListen, err)
		}
	}
	if err := r.startRaft(ln); err != nil {
		return nil, err
	}
	if r.gossip != nil {
		r.pilot = newPilot(r)
		r.eviction = newEvictionWatch(r)
		r.invites = newInvitations(r)
	}
	if err := r.metrics.register(r, cfg.Registerer); err != nil {
		return nil, err
	}
	if !r.hasState() && cfg.standalone() {
		if err := r.coordinate(r.ctx, []uuid.UUID{r.self}); err != nil {
			return nil, err
		}
	}
	r.spawn(r.leader.run)
	r.spawn(r.watch.run)
	r.spawn(r.dir.Run)
	r.spawn(func(ctx context.Context) { r.space.Run(ctx, tune.stuckEvery) })
	if r.mux != nil {
		r.mux.Start()
		if err := r.gossip.Start(cfg.Label, tune.gossip); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// openDirectory locks and checks the data directory, and decides whether it may be opened in this way.
func (r *Replica) openDirectory() (err error) {
	dir := r.cfg.DataDir
	defer func() { err = disk.IfRefused(dir, err) }()
	if r.lock, err = enterDirectory(dir, r.tune, r.logger); err != nil {
		return err
	}
	if r.id, err = disk.OpenIdentity(dir); err != nil {
		return err
	}
	restarted := r.id.Get().Starts > 0
	r.self = r.id.Get().ID
	r.serverID = serverID(r.self)
	if !restarted {
		// The identity comes first: raft.db must never exist without it.
		if err := r.id.Started(false); err != nil {
			return err
		}
	}
	segmentSize := r.tune.segmentSize(dir)
	where := disk.LogOptions{Store: r.cfg.LogStore, SegmentSize: segmentSize, Hooks: r.tune.disk}
	if r.store, err = disk.Open(dir, r.id, where, fsm.VerifySnapshot, newRaftLogger(r.logger)); err != nil {
		return err
	}
	if err := r.checkStandalone(); err != nil {
		return err
	}
	if restarted {
		if err := r.id.Started(r.store.HasState()); err != nil {
			return err
		}
	}
	r.space = disk.NewSpace(dir, r.cfg.Name, r.cfg.MinFree, segmentSize, r.tune.measure, r.store.NextSnapshot, r.logger)
	r.dir = disk.NewWatch(dir, r.tune.probe, r.tune.stuckEvery, r.logger)
	if err := r.store.WatchedBy(r.dir, r.space, r.lock.Info()); err != nil {
		return fmt.Errorf("looking into the data directory: %w", err)
	}
	rec := r.id.Get()
	r.promises = formation.OpenPromises(r.self, r.tune.promiseTTL,
		formation.Promise{Cluster: rec.Promised, Coordinator: rec.PromisedTo},
		formation.Environment{View: r.localView, Save: r.savePromise, Bind: r.bind})
	r.attempt = formation.NewAttempt(r.promises, uuid.NewRandom, r.decided)
	return nil
}

// checkStandalone refuses to start one member of a bigger cluster on its own: it would wait for the others for ever.
func (r *Replica) checkStandalone() error {
	if !r.cfg.standalone() || !r.store.HasState() {
		return nil
	}
	servers := r.store.Configuration().Servers
	if len(servers) == 1 && servers[0].ID == r.serverID {
		return nil
	}
	return fmt.Errorf("--storage.path=%s belongs to a replica of a cluster of %d: "+
		"start it with --cluster.listen-address and --cluster.peer, or give --storage.path another directory",
		r.cfg.DataDir, max(len(servers), 2))
}

func serverID(id uuid.UUID) raft.ServerID { return raft.ServerID(id.String()) }

// hasState tells whether this replica has, or ever had, Raft state.
func (r *Replica) hasState() bool { return r.id.Get().HasRaftState }

// ownMeta is what gossip tells about this replica.
func (r *Replica) ownMeta() gossip.Meta {
	rec := r.id.Get()
	return gossip.Meta{
		ID: rec.ID, Name: r.cfg.Name, Peer: r.addrs.PeerAdvertise, Starts: rec.Starts,
		HasRaftState: rec.HasRaftState, Cluster: rec.Cluster, Expect: r.cfg.BootstrapExpect, Version: r.cfg.Version,
	}
}

func (r *Replica) refreshGossip() {
	if r.gossip != nil {
		r.gossip.Refresh()
	}
}

// peerAddress is the host:port at which a replica was last seen.
func (r *Replica) peerAddress(id uuid.UUID) (string, bool) {
	if r.gossip == nil {
		return "", false
	}
	m, ok := r.gossip.LastSeen(id)
	return m.Peer, ok
}

// moved gives up the connections to where another replica no longer is.
func (r *Replica) moved(id uuid.UUID, peer string) {
	r.peers.Moved(id, peer)
	r.stream.Moved(id, peer)
}

// spawn starts a goroutine whose context ends when the replica closes, and which Close waits for.
func (r *Replica) spawn(f func(context.Context)) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.wg.Go(func() { f(r.ctx) })
	return true
}

// whileOpen gives a context that also ends when the replica closes.
func (r *Replica) whileOpen(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(r.ctx, func() { cancel(errClosing) })
	return ctx, func() {
		stop()
		cancel(context.Canceled)
	}
}

// Run does what has to be done in the background: to find, form or join the cluster, to add others to it, to keep
// [Replica.Staleness] low, to take snapshots. It returns nil when ctx ends or the replica is closed, and an error when
// the replica cannot go on and the process should end.
func (r *Replica) Run(ctx context.Context) error {
	ctx, cancel := r.whileOpen(ctx)
	defer cancel()
	halfFormed := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { r.fresh.keep(ctx, r.ReadBarrier, r.tune.freshEvery, r.tune.retryMax) })
	wg.Go(func() { newSnapshotter(r).run(ctx, min(snapshotTick, r.tune.reconcile)) })
	if r.gossip != nil {
		d := &gossip.Discovery{
			Peers: r.cfg.Peers, Resolver: r.tune.resolver, Logger: r.logger, Places: r.places,
			Own: r.gossip.OwnAddresses(), Known: r.gossip.Addresses,
			Settled: func() bool {
				leader, _ := r.leader.current()
				return leader != "" && len(r.gossip.Alive()) > 1
			},
			Join:  r.gossip.Join,
			Quick: r.tune.quickRejoin, Slow: r.tune.slowRejoin,
		}
		wg.Go(func() { d.Run(ctx) })
		wg.Go(func() {
			if err := r.form(ctx); err != nil {
				halfFormed <- err
			}
		})
		wg.Go(func() { r.reconcile(ctx) })
		wg.Go(func() { r.pilot.run(ctx) })
	}
	var err error
	for lost := r.dir.Gone(); err == nil && ctx.Err() == nil; {
		select {
		case <-ctx.Done():
		case err = <-halfFormed:
		case <-r.cfg.FSM.Halted():
			err = fmt.Errorf("%s: %w; if no newer version can read it, the command recover says what would be lost "+
				"without it", r.store.Path(), r.cfg.FSM.Err())
		case <-r.store.Replaced():
			err = fmt.Errorf("%s: %w", r.store.Path(), disk.ErrReplaced)
		case <-lost:
			lost, err = nil, r.afterLoss(ctx)
		}
	}
	cancel()
	wg.Wait()
	return err
}

// Close stops everything and releases ports and files. It says goodbye to nobody, which [Replica.Drain] and
// [Replica.Leave] do: alone it looks like a crash to the others, and they must be able to bear that anyway. Calls under
// way fail with [ErrUnavailable]. It may be called more than once.
func (r *Replica) Close() error {
	r.closeOnce.Do(func() { r.closeErr = r.close() })
	return r.closeErr
}

func (r *Replica) close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	var errs []error
	if r.gossip != nil {
		errs = append(errs, r.gossip.Close())
	}
	if r.peers != nil {
		r.peers.Close()
	}
	if r.stream != nil {
		errs = append(errs, r.stream.Close()) // like the mux before Raft, whose goroutines may sit in a read or a write
	}
	if r.mux != nil {
		errs = append(errs, r.mux.Close())
	}
	if r.raft != nil {
		errs = append(errs, r.stopRaft())
	} else if closer, ok := r.trans.(raft.WithClose); ok {
		errs = append(errs, closer.Close())
	}
	r.wg.Wait()
	r.metrics.unregister()
	if r.store != nil {
		errs = append(errs, r.store.Close())
	}
	if r.lock != nil {
		errs = append(errs, r.lock.Close())
	}
	return errors.Join(errs...)
}
