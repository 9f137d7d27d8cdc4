package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/gossip"
	"pushquorum/cluster/internal/server"
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
	Unreadable, InSnapshot *Unreadable
	// Sole means that there are no other members: the cluster stays what it is, without what is unreadable.
	Sole bool
	// NewCluster is zero until it has been made.
	NewCluster uuid.UUID
}

// Recover makes a new cluster, with this replica as its only member, out of one data directory of a cluster that has lost its
// quorum for good. It first calls found, and goes on when that returns nil. It refuses while another member answers, be it at
// the address in the configuration or at one of cfg.Peers.
//
// What is in the log becomes the state, whether it was committed or not. The new cluster has an id of its own: a replica of the
// old one can neither be spoken to nor mix its entries in.
//
// A log with an entry that cannot be read, by the log itself or by the state machine, is cut there: with nil found
// accepts that, too. So is the log of a replica that is the only member of its cluster, which otherwise has nothing to
// be recovered.
func Recover(ctx context.Context, cfg Config, found func(Recovery) error) (Recovery, error) {
	return recoverCluster(ctx, cfg, defaultTuning(), found)
}

func recoverCluster(ctx context.Context, cfg Config, tune tuning, found func(Recovery) error) (rec Recovery, err error) {
	defer func() { err = ifRefused(cfg.DataDir, err) }()
	if err := cfg.complete(); err != nil {
		return rec, err
	}
	if !HoldsReplica(cfg.DataDir) {
		return rec, nothingToRecover(fmt.Sprintf("--storage.path=%s holds no replica: give the data directory of one", cfg.DataDir))
	}
	lock, err := lockDir(cfg.DataDir, min(tune.lockWait, time.Second), cfg.Logger) // whoever calls this waits, and sees who has it
	if err != nil {
		return rec, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := giveUpReserve(cfg.DataDir, tune); err != nil {
		return rec, err
	}
	id, err := openIdentity(cfg.DataDir)
	if err != nil {
		return rec, err
	}
	logger := newRaftLogger(cfg.Logger)
	where := logOptions{store: cfg.LogStore, segmentSize: tune.segmentSize(cfg.DataDir)}
	log, err := inspect(cfg.DataDir, where, cfg.FSM.CheckEntry)
	if err != nil {
		return rec, err
	}
	self := id.get().ID
	var address gossip.Addresses
	if !cfg.standalone() {
		if address, err = gossip.ResolveAddresses(cfg.addressFlags(), tune.resolver); err != nil {
			return rec, err
		}
	}
	if !log.whole() {
		if rec, err = log.survey(cfg.Name, id); err != nil {
			return rec, err
		}
		if err := agreed(ctx, &cfg, tune, &storage{id: id, configuration: log.configuration}, self, &rec, found); err != nil {
			return rec, err
		}
		if err := log.cut(cfg.DataDir, where, logger); err != nil {
			return rec, fmt.Errorf("cutting the log in %s before entry %d: %w; run this again", cfg.DataDir, log.keep.Last+1, err)
		}
	}
	store, err := openStorage(cfg.DataDir, id, where, logger)
	if err != nil {
		return rec, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if log.whole() {
		if rec, err = store.survey(cfg.Name, self); err != nil {
			return rec, err
		}
		if err := agreed(ctx, &cfg, tune, store, self, &rec, found); err != nil {
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
	if err := id.update(func(r *identityRecord) {
		r.Cluster, r.Promised, r.PromisedTo = rec.NewCluster, uuid.Nil, uuid.Nil
	}); err != nil {
		return rec, err
	}
	raftCfg := raft.DefaultConfig()
	raftCfg.LocalID, raftCfg.Logger = serverID(self), logger
	_, trans := raft.NewInmemTransport(server.Address{ID: self}.Encode())
	defer trans.Close() //nolint:errcheck // it holds nothing
	sole := raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: serverID(self), Address: server.Address{ID: self, Peer: address.PeerAdvertise, Name: cfg.Name}.Encode(),
	}}}
	if err := raft.RecoverCluster(raftCfg, &strictFSM{FSM: cfg.FSM, halted: cfg.FSM.Err}, store.logs, store.stable, store.snaps, trans, sole); err != nil {
		return rec, fmt.Errorf("recovering %s: %w", cfg.DataDir, err)
	}
	return rec, store.snaps.keepOnly(sole)
}

// agreed asks whoever may be a member, then who has called for the recovery.
func agreed(ctx context.Context, cfg *Config, tune tuning, store *storage, self uuid.UUID, rec *Recovery, found func(Recovery) error) error {
	if err := refuseIfAnybodyAnswers(ctx, cfg, tune, store, self, rec); err != nil {
		return err
	}
	return found(*rec)
}

// survey says what would be left of a log that is not whole, and what would be lost.
func (i *inspection) survey(name string, id *identity) (Recovery, error) {
	rec := Recovery{
		Name: name, Cluster: id.get().Cluster, Unreadable: i.lost, InSnapshot: i.inSnapshot,
		LastIndex: i.end.Index, LastTerm: i.end.Term, Written: i.end.AppendedAt,
	}
	if s := i.snapshot; s != nil && s.Index > rec.LastIndex {
		rec.LastIndex, rec.LastTerm, rec.Written = s.Index, s.Term, time.Time{}
	}
	if rec.LastIndex == 0 {
		return rec, fmt.Errorf("%w, and there is no snapshot: nothing can be recovered", i.lost.Why)
	}
	err := rec.members(i.configuration.Servers, id.get().ID)
	only := func(c raft.Configuration) bool {
		return len(c.Servers) == 1 && c.Servers[0].ID == serverID(id.get().ID)
	}
	rec.Sole = only(i.configuration) && only(i.left)
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

// keepOnly removes the snapshots with another configuration. One of the same index would be as good as the recovered one, and
// only a clock decides which of the two is the newest.
func (s *snapshotStore) keepOnly(configuration raft.Configuration) error {
	list, err := s.List()
	if err != nil {
		return err
	}
	for _, meta := range list {
		if !slices.Equal(meta.Configuration.Servers, configuration.Servers) {
			if err := s.remove(meta); err != nil {
				return err
			}
		}
	}
	return nil
}

// survey says what there is to be recovered, or why there is nothing.
func (s *storage) survey(name string, self uuid.UUID) (Recovery, error) {
	rec := Recovery{Name: name, Cluster: s.clusterID()}
	servers := s.configuration.Servers
	switch {
	case !s.hasState || len(servers) == 0:
		return rec, nothingToRecover(fmt.Sprintf("%s: holds no state of a cluster, so there is nothing to recover", s.path))
	case len(servers) == 1 && servers[0].ID == serverID(self):
		return rec, nothingToRecover(fmt.Sprintf("%s: this replica is the only member of its cluster already: start it as usual", s.path))
	}
	snapshots, err := s.snaps.List()
	if err != nil {
		return rec, err
	}
	if len(snapshots) > 0 {
		rec.LastIndex, rec.LastTerm = snapshots[0].Index, snapshots[0].Term
	}
	last, err := s.logs.LastIndex()
	if err != nil {
		return rec, err
	}
	if last > rec.LastIndex {
		var entry raft.Log
		if err := s.logs.GetLog(last, &entry); err != nil {
			return rec, err
		}
		rec.LastIndex, rec.LastTerm, rec.Written = entry.Index, entry.Term, entry.AppendedAt
	}
	err = rec.members(servers, self)
	return rec, err
}

// strictFSM lets a recovery fail that raft.RecoverCluster would finish without all of the data: it skips a snapshot that cannot
// be restored, and does not ask whether entries could be applied.
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
	return ownSnapshot{s}, nil
}
