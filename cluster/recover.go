package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/gossip"
	"pushquorum/cluster/internal/server"
	"pushquorum/fsm"
)

// ErrNothingToRecover means that a replica can be started as it is, because it has no other members to wait for.
var ErrNothingToRecover = errors.New("nothing to recover")

// nothingToRecover is an [ErrNothingToRecover] that says why.
type nothingToRecover string

func (n nothingToRecover) Error() string        { return string(n) }
func (n nothingToRecover) Is(target error) bool { return target == ErrNothingToRecover }

// Recovery is what [Recover] has found in a data directory.
type Recovery struct {
	Name    string    // of this replica, as configured now
	Cluster uuid.UUID // the cluster that has lost its quorum
	// LastIndex and LastTerm are the end of what is here, and Written is when that was appended, zero if not known.
	LastIndex, LastTerm uint64
	Written             time.Time
	// Others are the members beside this replica, as "name at host:port"; none of them answered.
	Others []string
	// Strangers answered but belong to no cluster or another one.
	Strangers []string
	// Unreadable is the end of the log from the first entry on that cannot be read: to go on is to lose it. InSnapshot
	// is a part that cannot be read, either, but is not needed. Both are nil in a log that is whole.
	Unreadable, InSnapshot *disk.Unreadable
	// Sole means that there are no other members: the cluster stays what it is, without what is unreadable.
	Sole bool
	// NewCluster is zero until it has been made.
	NewCluster uuid.UUID
}

// Recover makes a new cluster, with this replica as its only member, out of one data directory of a cluster that has
// lost its quorum for good. It first calls found, and goes on when that returns nil. It refuses while another member
// answers, be it at the address in the configuration or at one of cfg.Peers.
//
// What is in the log becomes the state, whether it was committed or not. The new cluster has an id of its own: a
// replica of the old one can neither be spoken to nor mix its entries in.
//
// A log with an entry that cannot be read, by the log itself or by the state machine, is cut there: with nil found
// accepts that, too. So is the log of a replica that is the only member of its cluster, which otherwise has nothing to
// be recovered.
func Recover(ctx context.Context, cfg Config, found func(Recovery) error) (Recovery, error) {
	return recoverCluster(ctx, cfg, defaultTuning(), found)
}

func recoverCluster(ctx context.Context, cfg Config, tune tuning, found func(Recovery) error) (rec Recovery,
	err error,
) {
	defer func() { err = disk.IfRefused(cfg.DataDir, err) }()
	if err := cfg.complete(); err != nil {
		return rec, err
	}
	if !disk.HoldsReplica(cfg.DataDir) {
		return rec, nothingToRecover(fmt.Sprintf("--storage.path=%s holds no replica: give the data directory of one",
			cfg.DataDir))
	}
	// whoever calls this waits, and sees who has it
	lock, err := disk.LockDir(cfg.DataDir, min(tune.lockWait, time.Second), cfg.Logger)
	if err != nil {
		return rec, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := disk.GiveUpReserve(cfg.DataDir, tune.segmentSize(cfg.DataDir), tune.measure); err != nil {
		return rec, err
	}
	id, err := disk.OpenIdentity(cfg.DataDir)
	if err != nil {
		return rec, err
	}
	logger := newRaftLogger(cfg.Logger)
	where := disk.LogOptions{Store: cfg.LogStore, SegmentSize: tune.segmentSize(cfg.DataDir)}
	log, err := disk.Inspect(cfg.DataDir, where, cfg.FSM.CheckEntry)
	if err != nil {
		return rec, err
	}
	self := id.Get().ID
	var address gossip.Addresses
	if !cfg.standalone() {
		if address, err = gossip.ResolveAddresses(cfg.addressFlags(), tune.resolver); err != nil {
			return rec, err
		}
	}
	if !log.Whole() {
		if rec, err = surveyLog(&log, cfg.Name, id); err != nil {
			return rec, err
		}
		if err := agreed(ctx, &cfg, tune, id.Get().Cluster, log.Configuration, self, &rec, found); err != nil {
			return rec, err
		}
		if err := log.Cut(cfg.DataDir, where, logger); err != nil {
			return rec, err
		}
	}
	store, err := disk.Open(cfg.DataDir, id, where, fsm.VerifySnapshot, logger)
	if err != nil {
		return rec, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if log.Whole() {
		if rec, err = surveyStorage(store, cfg.Name, self); err != nil {
			return rec, err
		}
		if err := agreed(ctx, &cfg, tune, store.ClusterID(), store.Configuration(), self, &rec, found); err != nil {
			return rec, err
		}
	}
	if rec.Sole {
		return rec, nil
	}

	// The new id comes first: should this stop half way, the old members are strangers already.
	rec.NewCluster, err = uuid.NewRandom()
	if err != nil {
		return rec, err
	}
	if err := id.Update(func(r *disk.IdentityRecord) {
		r.Cluster, r.Promised, r.PromisedTo = rec.NewCluster, uuid.Nil, uuid.Nil
	}); err != nil {
		return rec, err
	}
	raftCfg := raft.DefaultConfig()
	raftCfg.LocalID, raftCfg.Logger = serverID(self), logger
	_, trans := raft.NewInmemTransport(server.Address{ID: self}.Encode())
	defer trans.Close() //nolint:errcheck // it holds nothing
	sole := raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: serverID(self), Address: server.Address{
			ID: self, Peer: address.PeerAdvertise,
			Name: cfg.Name,
		}.Encode(),
	}}}
	if err := raft.RecoverCluster(raftCfg, &strictFSM{FSM: cfg.FSM, halted: cfg.FSM.Err}, store.Log(), store.Stable(),
		store.Snapshots(), trans, sole); err != nil {
		return rec, fmt.Errorf("recovering %s: %w", cfg.DataDir, err)
	}
	return rec, store.KeepOnly(sole)
}

// agreed asks whoever may be a member, then who has called for the recovery.
func agreed(ctx context.Context, cfg *Config, tune tuning, cluster uuid.UUID, configuration raft.Configuration,
	self uuid.UUID, rec *Recovery, found func(Recovery) error,
) error {
	if err := refuseIfAnybodyAnswers(ctx, cfg, tune, cluster, configuration, self, rec); err != nil {
		return err
	}
	return found(*rec)
}

// surveyLog says what would be left of a log that is not whole, and what would be lost.
func surveyLog(i *disk.Inspection, name string, id *disk.Identity) (Recovery, error) {
	rec := Recovery{
		Name: name, Cluster: id.Get().Cluster, Unreadable: i.Lost, InSnapshot: i.InSnapshot,
	}
	rec.LastIndex, rec.LastTerm, rec.Written = i.Last()
	if rec.LastIndex == 0 {
		return rec, fmt.Errorf("%w, and there is no snapshot: nothing can be recovered", i.Lost.Why)
	}
	err := rec.members(i.Configuration.Servers, id.Get().ID)
	only := func(c raft.Configuration) bool {
		return len(c.Servers) == 1 && c.Servers[0].ID == serverID(id.Get().ID)
	}
	rec.Sole = only(i.Configuration) && only(i.Left)
	return rec, err
}

// members notes the members beside this replica.
func (r *Recovery) members(servers []raft.Server, self uuid.UUID) error {
	for _, s := range servers {
		if s.ID == serverID(self) {
			continue
		}
		a, err := server.ParseAddress(s.Address)
		if err != nil {
			return err
		}
		label := a.ID.String()
		if a.Name != "" {
			label = a.Name
		}
		r.Others = append(r.Others, label+" at "+a.Peer)
	}
	return nil
}

// surveyStorage says what there is to be recovered, or why there is nothing.
func surveyStorage(s *disk.Dir, name string, self uuid.UUID) (Recovery, error) {
	rec := Recovery{Name: name, Cluster: s.ClusterID()}
	servers := s.Configuration().Servers
	switch {
	case !s.HasState() || len(servers) == 0:
		return rec, nothingToRecover(fmt.Sprintf("%s: holds no state of a cluster, so there is nothing to recover",
			s.Path()))
	case len(servers) == 1 && servers[0].ID == serverID(self):
		return rec, nothingToRecover(fmt.Sprintf("%s: this replica is the only member of its cluster already: start "+
			"it as usual", s.Path()))
	}
	snapshots, err := s.Snapshots().List()
	if err != nil {
		return rec, err
	}
	if len(snapshots) > 0 {
		rec.LastIndex, rec.LastTerm = snapshots[0].Index, snapshots[0].Term
	}
	last, err := s.Log().LastIndex()
	if err != nil {
		return rec, err
	}
	if last > rec.LastIndex {
		var entry raft.Log
		if err := s.Log().GetLog(last, &entry); err != nil {
			return rec, err
		}
		rec.LastIndex, rec.LastTerm, rec.Written = entry.Index, entry.Term, entry.AppendedAt
	}
	err = rec.members(servers, self)
	return rec, err
}

// strictFSM lets a recovery fail that raft.RecoverCluster would finish without all of the data: it skips a snapshot
// that cannot be restored, and does not ask whether entries could be applied.
type strictFSM struct {
	raft.FSM
	halted   func() error
	restored error
}

func (f *strictFSM) Restore(rc io.ReadCloser) error {
	f.restored = errors.Join(f.restored, f.FSM.Restore(rc))
	return f.restored
}

func (f *strictFSM) Snapshot() (raft.FSMSnapshot, error) {
	if err := errors.Join(f.restored, f.halted()); err != nil {
		return nil, err
	}
	s, err := f.FSM.Snapshot()
	if err != nil {
		return nil, err
	}
	return disk.OwnSnapshot{FSMSnapshot: s}, nil
}
