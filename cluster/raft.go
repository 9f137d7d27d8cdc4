package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/formation"
	"pushquorum/cluster/internal/gossip"
	"pushquorum/cluster/internal/raftnet"
	"pushquorum/cluster/internal/server"
	"pushquorum/fsm"
)

// startRaft builds the transport and what hangs on it. Nothing is accepted from the network yet.
func (r *Replica) startRaft(ln net.Listener) (err error) {
	logger := newRaftLogger(r.logger)
	cfg := raft.DefaultConfig()
	cfg.LocalID = r.serverID
	cfg.Logger = logger
	cfg.HeartbeatTimeout, cfg.ElectionTimeout = r.tune.heartbeat, r.tune.election
	cfg.LeaderLeaseTimeout, cfg.CommitTimeout = r.tune.lease, r.tune.commit
	cfg.MaxAppendEntries = disk.MaxRequest
	cfg.BatchApplyCh = true
	cfg.TrailingLogs = r.cfg.SnapshotEntries
	cfg.SnapshotThreshold = math.MaxUint64 // snapshotter decides
	cfg.SnapshotInterval = time.Hour
	cfg.ShutdownOnRemove = false // a removed replica goes on to answer what it can and to say that it was removed
	cfg.NoLegacyTelemetry = true

	var ref atomic.Pointer[raft.Raft] // Raft dials before NewRaft has returned
	configured := func(id uuid.UUID) (raft.ServerAddress, bool) {
		if running := ref.Load(); running != nil {
			for _, s := range running.GetConfiguration().Configuration().Servers {
				if s.ID == serverID(id) {
					return s.Address, true
				}
			}
		}
		return "", false
	}
	if r.cfg.standalone() {
		cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = r.tune.alone, r.tune.alone, r.tune.alone
		_, r.trans = raft.NewInmemTransport(server.Address{ID: r.self}.Encode())
	} else {
		r.gossip = gossip.New(r.logger, r.self, r.id.Get().Starts, r.addrs,
			gossip.Hooks{Meta: r.ownMeta, Moved: r.moved, Stranger: r.warnOfStranger})
		r.alone = r.newAlone()
		r.mux = raftnet.NewMux(ln, r.logger, r.admit, r.servePeer)
		r.stream = raftnet.NewStreams(r.mux, r.self, r.addrs.PeerAdvertise, r.store.ClusterID, r.tune.dial)
		network := raftnet.NewTransport(raftnet.TransportConfig{
			Streams: r.stream,
			Addresses: &raftnet.AddressBook{
				Self: r.self, Advertise: r.addrs.PeerAdvertise, Gossiped: r.peerAddress,
				Configured: configured,
			},
			RaftLog: logger, Logger: r.logger, Trim: r.store.Trim,
			Term: func() uint64 {
				if running := ref.Load(); running != nil {
					return running.CurrentTerm()
				}
				return 0 // nothing has come yet
			},
		})
		r.injector, r.trans = network, network
	}
	machine := &pacedFSM{r.cfg.FSM, pace{r.ctx.Done(), func() bool { return r.space.Shortage() != "" }}}
	loading := r.store.Loading(machine, r.cfg.FSM.Halt)
	if r.raft, err = raft.NewRaft(cfg, &watchedFSM{loading, &r.watch.apply}, &watchedLogs{r.store.Log(), &r.watch.disk},
		r.dir.Patient(&watchedStable{r.store.Stable(), &r.watch.disk}), r.store.Snapshots(), r.trans); err != nil {
		return fmt.Errorf("starting Raft on %s: %w", r.cfg.DataDir, err)
	}
	ref.Store(r.raft)
	r.stopRaft = sync.OnceValue(func() error {
		stopped := r.raft.Shutdown()
		r.dir.Release() // what waits to store a term
		return stopped.Error()
	})
	where := func(id uuid.UUID) string {
		if address, ok := r.peerAddress(id); ok {
			return address
		}
		address, _ := configured(id)
		parsed, _ := server.ParseAddress(address) // an unknown one has no peer
		return parsed.Peer
	}
	r.peers = raftnet.NewClient(where, errClosing,
		func(ctx context.Context, id uuid.UUID, address string) (net.Conn, error) {
			return raftnet.Dial(ctx, r.tune.dial, address,
				raftnet.Hello{Kind: raftnet.KindRPC, Target: id, Sender: r.self, Cluster: r.store.ClusterID()})
		})
	r.leader = &leadership{
		raft: r.raft, self: r.serverID, logger: r.logger, nameOf: r.nameOf,
		onNewLeader: r.metrics.leaderChanges.Inc, changed: make(chan struct{}), since: time.Now(),
	}
	r.admission = fsm.NewAdmission(r.cfg.FSM, r.cfg.Limits)
	r.toLeader = &batcher{leader: r.leader.current, send: r.forward, run: r.spawn}
	self := func() (raft.ServerID, <-chan struct{}) { return r.serverID, nil }
	r.toLog = &batcher{leader: self, send: r.appendBatch, run: r.spawn}
	r.reads = &readRounds{ask: r.askReadIndex, run: r.spawn}
	return nil
}

// admit answers a hello. Raft traffic is only taken from the cluster this replica is bound to or is bound by: see
// [formation.Promises].
func (r *Replica) admit(h raftnet.Hello) raftnet.Answer {
	if h.Kind == raftnet.KindRPC && h.Target == uuid.Nil {
		return raftnet.Accepted // a recovery asks who is here
	}
	if h.Target != r.self {
		return raftnet.NotMe
	}
	if h.Kind == raftnet.KindRPC {
		return raftnet.Accepted
	}
	if err := r.promises.Admit(h.Cluster); err != nil {
		if !errors.Is(err, formation.ErrOtherCluster) {
			r.logger.Error("cannot take part in the cluster", "err", err)
		}
		return raftnet.OtherCluster
	}
	return raftnet.Accepted
}
