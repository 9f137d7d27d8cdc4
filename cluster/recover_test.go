package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/raftnet"
	"pushquorum/fsm"
)

// recoverIt runs a recovery of a stopped replica's directory; without accept it only looks.
func recoverIt(t *testing.T, r *replicaT, accept bool) (Recovery, error) {
	t.Helper()
	cfg := r.cfg
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.FSM = fsm.New(cfg.Logger)
	return recoverCluster(testContext(t), cfg, r.tune, func(Recovery) error {
		if !accept {
			return errors.New("only looking")
		}
		return nil
	})
}

func TestOneSurvivingDirectoryBecomesANewClusterThatOldMembersCannotEnter(t *testing.T) {
	t.Parallel()
	_, replicas := trio(t)
	push(t, replicas[0], "before", 1)
	sameState(t, replicas...)
	oldCluster := replicas[0].store.ClusterID()
	survivor, other, lost := replicas[0], replicas[1], replicas[2]
	survivor.crash()
	if _, err := recoverIt(t, survivor, true); err == nil || !strings.Contains(err.Error(), "answers at") ||
		!strings.Contains(err.Error(), "is a member of this cluster") {
		t.Fatalf("with two members alive: %v", err)
	}
	lost.crash()
	if _, err := recoverIt(t, survivor, true); err == nil || !strings.Contains(err.Error(), other.cfg.Name) {
		t.Fatalf("with one other member alive: %v", err)
	}
	other.crash()

	rec, err := recoverIt(t, survivor, false)
	if err == nil || !strings.Contains(err.Error(), "only looking") {
		t.Fatalf("looking: %v", err)
	}
	if rec.Cluster != oldCluster || rec.LastIndex == 0 || rec.LastTerm == 0 || len(rec.Others) != 2 ||
		!strings.Contains(strings.Join(rec.Others, " "), "r3 at ") {
		t.Errorf("the report is %+v", rec)
	}
	again, err := recoverIt(t, survivor, true)
	if err != nil || again.Cluster != oldCluster || again.LastIndex != rec.LastIndex {
		t.Fatalf("looking has changed something: %+v, %v", again, err)
	}
	survivor.start()
	waitReady(t, survivor)
	if survivor.store.ClusterID() == oldCluster || survivor.store.ClusterID() != again.NewCluster {
		t.Fatalf("the cluster is %s", survivor.store.ClusterID())
	}
	if !exactly([]*replicaT{survivor}, survivor) || !hasJob(survivor, "before") {
		t.Fatalf("members %v, state there: %v", configured(survivor), hasJob(survivor, "before"))
	}
	push(t, survivor, "after", 1)

	// An old member comes back with its data, and stays out.
	other.start()
	eventually(t, "the old member is told from a new one", func() bool {
		return strings.Contains(survivor.logs.String(), "belongs to another cluster") &&
			strings.Contains(survivor.logs.String(), other.self.String())
	})
	for _, cluster := range []uuid.UUID{oldCluster, other.store.ClusterID()} {
		if _, err := raftnet.Dial(testContext(t), other.tune.dial, survivor.addrs.PeerAdvertise,
			raftnet.Hello{
				Kind: raftnet.KindRaft, Target: survivor.self, Sender: other.self,
				Cluster: cluster,
			}); !errors.Is(err, raftnet.OtherCluster) {
			t.Errorf("Raft traffic of the old cluster: %v, want a refusal", err)
		}
	}
	if !exactly([]*replicaT{survivor}, survivor) || hasJob(other, "after") {
		t.Error("the old member has got in")
	}
	other.crash()

	// With empty directories they come in.
	for _, r := range []*replicaT{other, lost} {
		if err := os.RemoveAll(r.cfg.DataDir); err != nil {
			t.Fatal(err)
		}
		r.start()
	}
	eventually(t, "three vote", func() bool { return exactly(replicas, replicas...) })
	waitReady(t, replicas...)
	sameState(t, replicas...)
	if !hasJob(lost, "before") || !hasJob(lost, "after") {
		t.Error("the new members have not got everything")
	}
}

func TestARecoveryStartsFromASnapshotAndMayBeRepeatedAfterAFailure(t *testing.T) {
	t.Parallel()
	tn := newTestNet()
	replicas := prepare(t, tn, 3)
	for _, r := range replicas {
		r.cfg.SnapshotEntries = 20
		r.start()
	}
	waitReady(t, replicas...)
	for i := range 100 {
		push(t, replicas[i%3], fmt.Sprintf("job%d", i), float64(i))
	}
	survivor := replicas[1]
	eventually(t, "it has a snapshot", func() bool { return survivor.store.SnapshotIndex() > 0 })
	sameState(t, replicas...)
	// One that ends just where the log ends: a recovery makes another of the same index, and must not mix the two up.
	if err := survivor.raft.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		t.Fatal(err)
	}
	for _, r := range replicas {
		r.crash()
	}

	// A state machine that cannot go on must not become a new cluster.
	cfg := survivor.cfg
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.FSM = fsm.New(cfg.Logger)
	cfg.FSM.Apply(&raft.Log{Index: 1, Type: raft.LogCommand, Data: []byte("damaged")})
	if _, err := recoverCluster(testContext(t), cfg, survivor.tune, func(Recovery) error { return nil }); err == nil ||
		!strings.Contains(err.Error(), "damaged") {
		t.Fatalf("with a halted state machine: %v", err)
	}
	if _, err := recoverIt(t, survivor, true); err != nil {
		t.Fatalf("again: %v", err)
	}
	if _, err := recoverIt(t, survivor, true); err == nil || !strings.Contains(err.Error(), "only member") {
		t.Fatalf("a recovered one: %v", err)
	}
	for range 2 { // its directory is a good one, and stays so
		survivor.start()
		waitReady(t, survivor)
		for i := range 100 {
			if !hasJob(survivor, fmt.Sprintf("job%d", i)) {
				t.Fatalf("job%d is lost", i)
			}
		}
		push(t, survivor, "more", 1)
		survivor.crash()
	}
}

func TestThereIsNothingToRecover(t *testing.T) {
	t.Parallel()
	running := newReplica(t, newTestNet(), "r1", freePorts(t), 1).start()
	waitReady(t, running)
	if _, err := recoverIt(t, running, true); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a running replica: %v", err)
	}
	fresh := newReplica(t, newTestNet(), "r2", freePorts(t), 3, freePorts(t)).start()
	fresh.crash()
	if _, err := recoverIt(t, fresh, true); err == nil || !strings.Contains(err.Error(), "nothing to recover") {
		t.Errorf("a replica without state: %v", err)
	}
	none := newReplica(t, newTestNet(), "r3", "", 1)
	if _, err := recoverIt(t, none, true); err == nil || !strings.Contains(err.Error(), "holds no replica") {
		t.Errorf("no directory: %v", err)
	}
	if _, err := os.Stat(none.cfg.DataDir); !os.IsNotExist(err) {
		t.Errorf("a directory was made: %v", err)
	}
}
