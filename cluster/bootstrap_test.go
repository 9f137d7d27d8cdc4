package cluster

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/disk/wal"
	"pushquorum/cluster/internal/formation"
	"pushquorum/cluster/internal/raftnet"
	"pushquorum/cluster/internal/server"
	"pushquorum/fsm"
)

// halfFounded makes a directory whose replica was about to found a cluster with the others, and died when Raft had
// stored its term and not yet the configuration.
func halfFounded(t *testing.T, r *replicaT, others ...uuid.UUID) (cluster uuid.UUID) {
	t.Helper()
	if err := os.MkdirAll(r.cfg.DataDir, 0o755); err != nil {
		t.Fatal(err)
	}
	id, err := disk.OpenIdentity(r.cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := id.Started(false); err != nil {
		t.Fatal(err)
	}
	store, err := disk.Open(r.cfg.DataDir, id, disk.LogOptions{Store: disk.LogWAL, SegmentSize: 64 << 10},
		fsm.VerifySnapshot, newRaftLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	cluster = uuid.New()
	var servers []raft.Server
	for _, other := range append(others, id.Get().ID) {
		servers = append(servers, raft.Server{ID: serverID(other), Address: server.Address{ID: other}.Encode()})
	}
	if err := errors.Join(id.Found(cluster, servers), store.Stable().SetUint64([]byte("CurrentTerm"), 1),
		store.Close()); err != nil {
		t.Fatal(err)
	}
	return cluster
}

func TestFoundingThatWasCutShortIsDoneAgainAlone(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1)
	cluster := halfFounded(t, r)
	r.start()
	waitReady(t, r)
	if rec := r.id.Get(); rec.Cluster != cluster || len(rec.Forming) > 0 {
		t.Fatalf("%+v, want the cluster %s, formed", rec, cluster)
	}
}

func TestFoundingThatWasCutShortIsDoneAgainWithThoseWhoPromised(t *testing.T) {
	t.Parallel()
	replicas := prepare(t, newTestNet(), 3)
	var others []uuid.UUID
	for range replicas[1:] {
		others = append(others, uuid.New())
	}
	cluster := halfFounded(t, replicas[0], others...)
	coordinator, err := disk.OpenIdentity(replicas[0].cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range replicas[1:] {
		withID(t, r, disk.IdentityRecord{
			Version: 1, ID: others[i], Starts: 1, Promised: cluster,
			PromisedTo: coordinator.Get().ID,
		})
	}
	for _, r := range replicas {
		r.start()
	}
	waitReady(t, replicas...)
	if c := clusters(replicas); c[cluster] != 3 {
		t.Fatalf("clusters %v, want %s with all three", c, cluster)
	}
}

// withID gives a replica its identity before its first start.
func withID(t *testing.T, r *replicaT, rec disk.IdentityRecord) {
	t.Helper()
	if err := os.MkdirAll(r.cfg.DataDir, 0o755); err != nil {
		t.Fatal(err)
	}
	id, err := disk.OpenIdentity(r.cfg.DataDir)
	if err == nil {
		err = id.Update(func(at *disk.IdentityRecord) { *at = rec })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestWhatLostItsLogIsNotTakenForAFounding: only what nobody can have heard of may be written again.
func TestWhatLostItsLogIsNotTakenForAFounding(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, dir string, id *disk.Identity, s *disk.Dir) error{
		"its log, in a later term": func(_ *testing.T, dir string, _ *disk.Identity, s *disk.Dir) error {
			return errors.Join(s.Stable().SetUint64([]byte("CurrentTerm"), 2), s.Close(),
				os.RemoveAll(filepath.Join(dir, wal.Dir)))
		},
		"its log, after the first entry": func(_ *testing.T, dir string, _ *disk.Identity, s *disk.Dir) error {
			return errors.Join(s.Log().StoreLog(entry(1, 1)), s.Close(), os.RemoveAll(filepath.Join(dir, wal.Dir)))
		},
		"its term": func(_ *testing.T, dir string, _ *disk.Identity, s *disk.Dir) error {
			return errors.Join(s.Close(), os.Remove(filepath.Join(dir, disk.RaftFile)))
		},
		"everything but what it is": func(_ *testing.T, dir string, _ *disk.Identity, s *disk.Dir) error {
			return errors.Join(s.Close(), os.Remove(filepath.Join(dir, disk.RaftFile)),
				os.Remove(filepath.Join(dir, disk.TailFileName)), os.RemoveAll(filepath.Join(dir, wal.Dir)))
		},
		"its log, when the founding was recorded as done": func(_ *testing.T, dir string, id *disk.Identity,
			s *disk.Dir,
		) error {
			return errors.Join(s.Log().StoreLog(entry(1, 1)), id.Founded(), s.Close(),
				os.RemoveAll(filepath.Join(dir, wal.Dir)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t, nil, "alone", "", 1)
			halfFounded(t, r)
			id, err := disk.OpenIdentity(r.cfg.DataDir)
			if err != nil {
				t.Fatal(err)
			}
			// As it was before the founding is done again.
			rec := id.Get()
			if err := id.Founded(); err != nil {
				t.Fatal(err)
			}
			s, err := disk.Open(r.cfg.DataDir, id, disk.LogOptions{Store: disk.LogWAL, SegmentSize: 64 << 10},
				fsm.VerifySnapshot, newRaftLogger(slog.New(slog.DiscardHandler)))
			if err != nil {
				t.Fatal(err)
			}
			if err := id.Update(func(r *disk.IdentityRecord) { r.Forming = rec.Forming }); err != nil {
				t.Fatal(err)
			}
			if err := lose(t, r.cfg.DataDir, id, s); err != nil {
				t.Fatal(err)
			}
			if err := r.open(); err == nil || !strings.Contains(err.Error(), r.cfg.DataDir) ||
				!strings.Contains(err.Error(), "damaged") && !strings.Contains(err.Error(), "must not start empty") &&
					!strings.Contains(err.Error(), "missing") {
				t.Fatalf("it starts with %v, want that it is refused by the name of the file", err)
			}
		})
	}
}

// TestWhoCannotGoThroughWithAFoundingGivesNothingBackAndEnds: what has been decided is done at the next start.
func TestWhoCannotGoThroughWithAFoundingGivesNothingBackAndEnds(t *testing.T) {
	t.Parallel()
	r := newReplica(t, newTestNet(), "r1", freePorts(t), 1)
	replica, err := open(r.openConfig(), r.tune)
	if err != nil {
		t.Fatal(err)
	}
	if err := replica.raft.Shutdown().Error(); err != nil { // as if its disk were full
		t.Fatal(err)
	}
	if err := replica.Run(testContext(t)); err == nil || !strings.Contains(err.Error(), "at the next start") {
		t.Errorf("it goes on with %v", err)
	}
	rec := replica.id.Get()
	if len(rec.Forming) == 0 || rec.HasRaftState {
		t.Errorf("%+v, want that it has decided and has no state", rec)
	}
	var reply AgreeReply
	if err := (&Peer{replica}).Release(&ReleaseArgs{Cluster: rec.Cluster}, &reply); err != nil || reply.Error == "" {
		t.Errorf("asked for a promise back it says %q, %v", reply.Error, err)
	}
	if err := replica.Close(); err != nil {
		t.Fatal(err)
	}
	r.start()
	waitReady(t, r)
	if r.store.ClusterID() != rec.Cluster {
		t.Errorf("it is in %s, having decided to found %s", r.store.ClusterID(), rec.Cluster)
	}
}

// TestOneReplicaIsPromisedOrInvitedAndNotBoth asks a replica in both orders, as its peers do.
func TestOneReplicaIsPromisedOrInvitedAndNotBoth(t *testing.T) {
	t.Parallel()
	x, y, coordinator := uuid.New(), uuid.New(), uuid.New()
	ask := func(r *replicaT, what string) string {
		p, reply := &Peer{r.Replica}, AgreeReply{}
		var err error
		switch what {
		case "Prepare":
			err = p.Prepare(&PrepareArgs{
				Cluster: x, Coordinator: coordinator,
				Set: []uuid.UUID{coordinator, r.self, uuid.New()},
			}, &reply)
		case "Invite":
			err = p.Invite(&InviteArgs{Cluster: y}, &reply)
		case "hello":
			if answer := r.admit(raftnet.Hello{
				Kind: raftnet.KindRaft, Target: r.self,
				Cluster: y,
			}); answer != raftnet.Accepted {
				return answer.Error()
			}
		case "found":
			err = r.promises.Found(x, func() error { return nil })
		}
		if err != nil {
			return err.Error()
		}
		return reply.Error
	}
	for first, refused := range map[string][]string{
		"Prepare": {"Invite", "hello", "found"}, // to found needs a promise to itself
		"Invite":  {"Prepare", "found"},
	} {
		t.Run("after "+first, func(t *testing.T) {
			r := newReplica(t, newTestNet(), "r1", freePorts(t), 3, freePorts(t)).start()
			r.places.WereReached() // else it would follow nobody yet
			if no := ask(r, first); no != "" {
				t.Fatalf("%s is refused: %s", first, no)
			}
			for _, second := range refused {
				if no := ask(r, second); no == "" {
					t.Errorf("%s is granted", second)
				}
			}
			if rec := r.id.Get(); rec.Promised != uuid.Nil && rec.Cluster != uuid.Nil {
				t.Errorf("promised to %s and bound to %s", rec.Promised, rec.Cluster)
			}
		})
	}
}

// TestWhoHasPromisedDoesNotFoundAnotherClusterAlone: its coordinator counts it, whatever its command line says now.
func TestWhoHasPromisedDoesNotFoundAnotherClusterAlone(t *testing.T) {
	t.Parallel()
	rec := disk.IdentityRecord{Version: 1, ID: uuid.New(), Starts: 1, Promised: uuid.New(), PromisedTo: uuid.New()}
	alone := newReplica(t, nil, "alone", "", 1)
	withID(t, alone, rec)
	if err := alone.open(); err == nil || !strings.Contains(err.Error(), "has promised") {
		t.Errorf("standalone it starts with %v", err)
	}
	r := newReplica(t, newTestNet(), "r1", freePorts(t), 1)
	withID(t, r, rec)
	r.start()
	eventually(t, "it says why it waits", func() bool { return strings.Contains(r.logs.String(), "has promised") })
	if r.hasState() {
		t.Error("it has founded a cluster")
	}
}

func TestWaitingBehindANameSaysThatItMayHideOthers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		peer string
		hint bool
	}{
		"a name":     {"x-peers.test:7946", true},
		"an address": {"127.0.0.1:1", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReplica(t, newTestNet(), "r1", freePorts(t), 3, c.peer)
			r.tune.resolver = &fakeDNS{hosts: map[string][]string{}}
			r.start()
			_, err := r.founders(t.Context())
			if err == nil || !strings.Contains(err.Error(), "1 of 3 new replicas") ||
				strings.Contains(err.Error(), "publishNotReadyAddresses") != c.hint {
				t.Errorf("it waits: %v; want the hint: %t", err, c.hint)
			}
		})
	}
}

// openConfig is the configuration with a new state machine and a log of its own.
func (r *replicaT) openConfig() Config {
	cfg := r.cfg
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.FSM = fsm.New(cfg.Logger)
	return cfg
}

func TestAnotherClusterIsToldApartByWhatDecides(t *testing.T) {
	r := newReplica(t, nil, "alone", "", 1).start()
	waitReady(t, r)
	if err := r.bind(uuid.New()); !errors.Is(err, formation.ErrOtherCluster) {
		t.Errorf("bound to another cluster: %v", err)
	}
	if err := r.bind(r.store.ClusterID()); err != nil {
		t.Errorf("bound to its own: %v", err)
	}
}
