package cluster

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/testkit"
	"pushquorum/fsm"
)

// childEnv holds the configuration of the replica that this test binary is to be, instead of running tests.
const childEnv = "PUSHQUORUM_TEST_REPLICA"

func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(childEnv); ok {
		if err := beReplica(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// childConfig is the part of Config that goes to another process.
type childConfig struct {
	Name, DataDir, ListenAddress, LogStore string
	Peers                                  []string
	BootstrapExpect                        int
}

// beReplica runs a replica until it is ready, and then ends it like a crash.
func beReplica(text string) error {
	var c childConfig
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	r, err := open(Config{
		Name: c.Name, Version: "test", DataDir: c.DataDir, ListenAddress: c.ListenAddress, LogStore: c.LogStore,
		Peers:           c.Peers,
		BootstrapExpect: c.BootstrapExpect, FSM: fsm.New(logger), Logger: logger,
	}, testTuning())
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- r.Run(context.Background()) }()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for r.Ready() != nil {
		select {
		case err := <-ended:
			return fmt.Errorf("ends before it is ready: %w", err)
		case <-look.C:
		}
	}
	return nil
}

// firstStart starts a replica for the first time, in a process of its own, and gives what its death, at any moment
// until it is ready, could have left of its directory.
func firstStart(t *testing.T, r *replicaT) []crashPoint {
	t.Helper()
	text, err := json.Marshal(childConfig{
		r.cfg.Name, r.cfg.DataDir, r.cfg.ListenAddress, r.cfg.LogStore, r.cfg.Peers, r.cfg.BootstrapExpect,
	})
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	logs, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := logs.Seek(0, io.SeekStart); err == nil && t.Failed() {
			b, _ := io.ReadAll(logs)
			t.Logf("log of %s:\n%s", r.cfg.Name, b)
		}
		_ = logs.Close()
	})
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stdout, cmd.Stderr = logs, logs
	points := crashPoints(t, cmd, r.cfg.DataDir)
	t.Logf("%s: %d points", r.cfg.Name, len(points))
	return points
}

// identity reads replica.json of a crash point; a point before there is one has the zero record.
func (p crashPoint) identity(t *testing.T) (rec disk.IdentityRecord) {
	t.Helper()
	b, ok := p.files[disk.IdentityFile]
	if !ok {
		return rec
	}
	dir := t.TempDir()
	testkit.WriteFile(t, filepath.Join(dir, disk.IdentityFile), b)
	id, err := disk.OpenIdentity(dir)
	if err != nil {
		t.Fatalf("a crash at %s: %v", p.when, err)
	}
	return id.Get()
}

// TestEveryCrashPointOfAFirstStartAlone: whenever a standalone replica dies in its first start, the next one is ready,
// in the cluster that was founded if one was.
func TestEveryCrashPointOfAFirstStartAlone(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("long, because it starts a process for each of its system calls")
	}
	for _, store := range []string{LogWAL, LogBbolt} {
		t.Run(store, func(t *testing.T) {
			r := newReplica(t, nil, "alone", "", 1)
			r.cfg.LogStore = store
			founding := 0
			for _, p := range firstStart(t, r) {
				dir := filepath.Join(t.TempDir(), "crashed")
				p.write(t, dir)
				before := p.identity(t)
				if _, err := writtenHash(t, store, dir); err != nil {
					t.Errorf("after a crash at %s: %v", p.when, err)
					continue
				}
				id, err := disk.OpenIdentity(dir)
				if err != nil {
					t.Fatal(err)
				}
				after := id.Get()
				if len(before.Forming) > 0 {
					founding++
				}
				if before.Cluster != uuid.Nil && after.Cluster != before.Cluster || before.ID != uuid.Nil &&
					after.ID != before.ID || !after.HasRaftState || len(after.Forming) > 0 {
					t.Errorf("after a crash at %s: %+v has become %+v", p.when, before, after)
				}
			}
			if founding < 5 {
				t.Errorf("%d points lie between the decision and the first entry: this test shows little", founding)
			}
		})
	}
}

func freshRecord(id uuid.UUID) disk.IdentityRecord {
	return disk.IdentityRecord{Version: 1, ID: id}
}

// again is a replica with the same configuration and what a crash left of its directory.
func (r *replicaT) again(t *testing.T, p crashPoint) *replicaT {
	t.Helper()
	next := *r
	next.t, next.Replica = t, nil
	next.cfg.DataDir = filepath.Join(t.TempDir(), "crashed")
	p.write(t, next.cfg.DataDir)
	return &next
}

// stage is what has been reached in a first start, as far as it makes a difference.
func (p crashPoint) stage(t *testing.T) string {
	rec := p.identity(t)
	_, hasDB := p.files[disk.RaftFile]
	recorded := uint64(0)
	if b := p.files[disk.TailFileName]; len(b) > 0 { // version u32, first u64, last u64
		recorded = binary.BigEndian.Uint64(b[12:])
	}
	return fmt.Sprintf("started %d, promised %t, bound %t, forming %t, member %t, raft.db %t, recorded up to %d",
		rec.Starts, rec.Promised != uuid.Nil, rec.Cluster != uuid.Nil, len(
			rec.Forming) > 0, rec.HasRaftState, hasDB, min(recorded, 2))
}

// TestEveryCrashPointOfACoordinatorsFirstStart: whenever it dies, it comes back either as one that has founded the
// cluster it had promises for, and gives none back, or as one that has not and never will.
func TestEveryCrashPointOfACoordinatorsFirstStart(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("long, because it starts a process for each of its system calls")
	}
	for _, store := range []string{LogWAL, LogBbolt} {
		t.Run(store, func(t *testing.T) {
			replicas := prepare(t, newTestNet(), 3)
			coordinator, others := replicas[0], replicas[1:]
			coordinator.cfg.LogStore = store
			for i, r := range others { // the greatest ids: the third coordinates
				withID(t, r, freshRecord(uuid.UUID{0: 0xff, 15: byte(i + 1)}))
				r.start()
			}
			points := firstStart(t, coordinator)
			for _, r := range others {
				r.crash()
			}
			stages := map[string]crashPoint{}
			decided := 0
			for _, p := range points {
				if _, ok := stages[p.stage(t)]; !ok {
					stages[p.stage(t)] = p
				}
				if checkCoordinator(t, coordinator.again(t, p), p) {
					decided++
				}
			}
			if decided < 5 || decided == len(points) {
				t.Errorf("it had decided at %d of %d points: this test shows little", decided, len(points))
			}
			if store != disk.LogWAL {
				return // what is told to the others does not depend on where the log is
			}
			for stage, p := range stages { // and with the others, who have promised
				t.Run(stage, func(t *testing.T) {
					rec := p.identity(t)
					trio := []*replicaT{coordinator.again(t, p)}
					for _, r := range others {
						promised := freshRecord(r.self)
						promised.Starts = 1
						if rec.Promised != uuid.Nil {
							promised.Promised, promised.PromisedTo = rec.Promised, rec.ID
						}
						next := r.again(t, crashPoint{})
						withID(t, next, promised)
						trio = append(trio, next)
					}
					for _, r := range trio {
						r.start()
					}
					waitReady(t, trio...)
					for c := range clusters(trio) {
						if len(rec.Forming) > 0 && c != rec.Cluster || len(clusters(trio)) != 1 {
							t.Errorf("clusters %v, it had decided to form %s", clusters(trio), rec.Cluster)
						}
					}
					for _, r := range trio {
						r.crash()
					}
				})
			}
		})
	}
}

// checkCoordinator opens what a crash left of a coordinator, without letting it run, and tells whether it had decided.
func checkCoordinator(t *testing.T, r *replicaT, p crashPoint) bool {
	t.Helper()
	replica, err := open(r.openConfig(), r.tune)
	if err != nil {
		t.Errorf("after a crash at %s: %v", p.when, err)
		return false
	}
	defer func() {
		if err := replica.Close(); err != nil {
			t.Error(err)
		}
	}()
	before, after := p.identity(t), replica.id.Get()
	decided := before.HasRaftState || len(before.Forming) > 0
	servers := replica.raft.GetConfiguration().Configuration().Servers
	switch release := replica.attempt.Release(before.Promised); {
	case decided && (!after.HasRaftState || len(after.Forming) > 0 || after.Cluster != before.Cluster ||
		len(servers) != 3):
		t.Errorf("after a crash at %s: %+v has become %+v, servers %v", p.when, before, after, servers)
	case decided && release == nil:
		t.Errorf("after a crash at %s: it gives promises back and has founded the cluster", p.when)
	case !decided && (after.HasRaftState || after.Cluster != uuid.Nil || len(servers) != 0 || release != nil):
		t.Errorf("after a crash at %s: %+v has become %+v, servers %v, and gives promises back with %v", p.when, before,
			after, servers, release)
	}
	return decided
}

// TestEveryCrashPointOfAFollowersFirstStart: whenever one that has promised dies, it comes back, still promised or
// bound to the cluster, and takes part in it.
func TestEveryCrashPointOfAFollowersFirstStart(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("long, because it starts a process for each of its system calls")
	}
	for _, store := range []string{LogWAL, LogBbolt} {
		t.Run(store, func(t *testing.T) {
			replicas := prepare(t, newTestNet(), 3)
			follower, others := replicas[0], replicas[1:]
			follower.cfg.LogStore = store
			for i, r := range others { // the smallest ids
				withID(t, r, freshRecord(uuid.UUID{15: byte(i + 1)}))
				r.start()
			}
			points := firstStart(t, follower)
			waitReady(t, others...)
			cluster := others[0].store.ClusterID()
			stages := map[string]crashPoint{}
			bound := 0
			for _, p := range points {
				if _, ok := stages[p.stage(t)]; !ok {
					stages[p.stage(t)] = p
				}
				before := p.identity(t)
				if before.Cluster != uuid.Nil {
					bound++
				}
				checkFollower(t, follower.again(t, p), p, cluster)
			}
			if bound < 5 || bound == len(points) {
				t.Errorf("it was bound at %d of %d points: this test shows little", bound, len(points))
			}
			if store != disk.LogWAL {
				return
			}
			for stage, p := range stages {
				if p.identity(t).ID == uuid.Nil {
					continue // somebody else
				}
				t.Run(stage, func(t *testing.T) {
					r := follower.again(t, p).start()
					waitReady(t, r)
					if !slices.ContainsFunc(r.raft.GetConfiguration().Configuration().Servers,
						func(s raft.Server) bool { return s.ID == r.serverID }) {
						t.Error("it is ready and not a member")
					}
					r.crash()
				})
			}
		})
	}
}

func checkFollower(t *testing.T, r *replicaT, p crashPoint, cluster uuid.UUID) {
	t.Helper()
	r.cfg.ListenAddress = freePorts(t) // where the others do not know it
	replica, err := open(r.openConfig(), r.tune)
	if err != nil {
		t.Errorf("after a crash at %s: %v", p.when, err)
		return
	}
	defer func() {
		if err := replica.Close(); err != nil {
			t.Error(err)
		}
	}()
	before, after := p.identity(t), replica.id.Get()
	switch admitted := replica.promises.Admit(cluster); {
	case before.HasRaftState && after.Cluster != cluster:
		t.Errorf("after a crash at %s: %+v has become %+v", p.when, before, after)
	case (before.Promised == cluster || before.HasRaftState) != (admitted == nil):
		t.Errorf("after a crash at %s: %+v takes the cluster's traffic with %v", p.when, before, admitted)
	}
}
