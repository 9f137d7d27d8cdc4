package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"pushquorum/cluster/internal/raftnet"
	"pushquorum/cluster/internal/server"
	"pushquorum/expo"
	"pushquorum/fsm"
)

func TestPushesGoOnThroughTheOthersWhenTheLeaderDies(t *testing.T) {
	t.Parallel()
	_, replicas := trio(t)
	leader, others := leaderOf(t, replicas)

	var wg sync.WaitGroup
	started := make(chan struct{}, 1)
	ctx := testContext(t)
	for w := range 4 {
		wg.Go(func() {
			for i := range 25 {
				through := others[(w+i)%2]
				result, err := through.Apply(ctx, pushCommand(through, fmt.Sprintf("w%d-%d", w, i), 1))
				if err != nil || result.Status != fsm.Applied {
					t.Errorf("push %d-%d through %s: %v, %v", w, i, through.cfg.Name, result, err)
				}
				select {
				case started <- struct{}{}:
				default:
				}
			}
		})
	}
	<-started
	leader.crash()
	wg.Wait()

	for _, r := range others {
		if err := r.ReadBarrier(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if got := r.cfg.FSM.View().Len(); got != 100 {
			t.Errorf("%s has %d groups, want 100", r.cfg.Name, got)
		}
	}
	leader.start()
	waitReady(t, leader)
	sameState(t, replicas...)
}

func TestTheSameCommandAgainIsNotAppliedAgain(t *testing.T) {
	t.Parallel()
	_, replicas := trio(t)
	first := pushCommand(replicas[0], "job", 1)
	if _, err := replicas[0].Apply(testContext(t), first); err != nil {
		t.Fatal(err)
	}
	push(t, replicas[1], "job", 2)
	if result, err := replicas[2].Apply(testContext(t), first); err != nil || result.Status != fsm.Applied {
		t.Fatalf("second arrival: %v, %v", result, err)
	}
	if err := replicas[0].ReadBarrier(testContext(t)); err != nil {
		t.Fatal(err)
	}
	group, ok := replicas[0].cfg.FSM.View().Group(expo.NewLabels(map[string]string{"job": "job"}).Key())
	if !ok || len(group.Families) != 1 {
		t.Fatalf("group: %+v", group)
	}
	mf, err := group.Families[0].Decode()
	if err != nil {
		t.Fatal(err)
	}
	if got := mf.GetMetric()[0].GetGauge().GetValue(); got != 2 {
		t.Fatalf("the value is %v, want 2: a retry has undone a later push", got)
	}
}

func TestMinorityServesNoReadAndNoWriteAndCatchesUpLater(t *testing.T) {
	tn := newTestNet()
	replicas := prepare(t, tn, 3)
	for _, r := range replicas {
		r.tune.lease = defaultTuning().lease // not parallel: as it is shipped, and short on a busy machine
		r.start()
	}
	waitReady(t, replicas...)
	leader, others := leaderOf(t, replicas)
	push(t, leader, "before", 1)

	tn.isolate(leader.cfg.Name, true, names(replicas))
	short, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
	defer cancel()
	if err := leader.ReadBarrier(short); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("the cut-off leader confirms a read: %v", err)
	}
	if _, err := leader.Apply(short, pushCommand(leader, "lost", 1)); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("the cut-off leader acknowledges a push: %v", err)
	}
	eventually(t, "the majority has another leader", func() bool {
		id, _ := others[0].leader.current()
		return id != "" && id != leader.serverID
	})
	push(t, others[0], "during", 2)
	if err := others[1].ReadBarrier(testContext(t)); err != nil || !hasJob(others[1], "during") {
		t.Fatalf("the majority does not serve reads: %v", err)
	}

	// A push whose outcome is unknown on the minority side is retried with the same bytes and goes through after
	// healing.
	command := pushCommand(leader, "healed", 3)
	done := make(chan error, 1)
	go func() {
		_, err := leader.Apply(testContext(t), command)
		done <- err
	}()
	tn.isolate(leader.cfg.Name, false, names(replicas))
	if err := <-done; err != nil {
		t.Fatalf("the push does not go through after the partition: %v", err)
	}
	if err := leader.ReadBarrier(testContext(t)); err != nil || !hasJob(leader, "during") || !hasJob(leader, "healed") {
		t.Fatalf("the old leader has not caught up: %v", err)
	}
	sameState(t, replicas...)
}

// patientLeader is a trio led by a replica that does not notice when Raft's traffic no longer reaches it, as one that
// was paused (SIGSTOP) does not.
func patientLeader(t *testing.T) (tn *testNet, old *replicaT, others, all []*replicaT) {
	t.Helper()
	tn, all = trio(t)
	old, others = all[0], all[1:]
	old.crash()
	old.tune.heartbeat, old.tune.election, old.tune.lease = time.Minute, time.Minute, time.Minute
	old.start()
	waitReady(t, all...)
	if first, _ := leaderOf(t, all); first != old {
		transferred := first.raft.LeadershipTransferToServer(old.serverID,
			server.Address{ID: old.self, Peer: old.addrs.PeerAdvertise}.Encode())
		if err := transferred.Error(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all follow the patient one", func() bool {
		for _, r := range all {
			if id, _ := r.leader.current(); id != old.serverID {
				return false
			}
		}
		return true
	})
	return tn, old, others, all
}

func TestPausedLeaderDoesNotHoldARequest(t *testing.T) { // not parallel, because it measures time
	tn, old, others, all := patientLeader(t)
	// Raft's traffic is cut, the request still reaches the old leader, which can do nothing with it.
	tn.isolate(old.cfg.Name, true, names(all), raftnet.KindRaft)
	began := time.Now()
	push(t, others[0], "held", 1)
	if took := time.Since(began); took > 10*time.Second {
		t.Fatalf("the push took %s: it waited for the old leader", took)
	}
	if old.raft.State().String() != "Leader" {
		t.Fatal("the old leader has noticed: this test shows nothing")
	}
	tn.isolate(old.cfg.Name, false, names(all))
	eventually(t, "the push is on the old leader, once", func() bool { return hasJob(old, "held") })
	sameState(t, all...)
}

func TestNewLeaderAnswersNoReadBeforeItsFirstEntry(t *testing.T) {
	t.Parallel()
	_, replicas := trio(t)
	leader, _ := leaderOf(t, replicas)
	if err := leader.ReadBarrier(testContext(t)); err != nil {
		t.Fatal(err)
	}
	leader.leader.mu.Lock()
	leader.leader.readyTerm--
	leader.leader.mu.Unlock()
	short, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if _, err := leader.confirmIndex(short, 0, uuid.Nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want that it waits for an entry of its own term", err)
	}
}

// The old leader wakes up and still believes that it leads; its questions to the others get through.
func TestDeposedLeaderNeverConfirmsARead(t *testing.T) {
	t.Parallel()
	tn, old, others, replicas := patientLeader(t)
	push(t, old, "before", 1)
	if err := old.ReadBarrier(testContext(t)); err != nil {
		t.Fatal(err)
	}
	term := old.raft.CurrentTerm()

	tn.isolate(old.cfg.Name, true, names(replicas), raftnet.KindRaft)
	eventually(t, "the others have another leader", func() bool {
		id, _ := others[0].leader.current()
		return id != "" && id != old.serverID
	})
	push(t, others[0], "missed", 2)
	if state := old.raft.State().String(); state != "Leader" || old.raft.CurrentTerm() != term {
		t.Fatalf("the old leader has noticed (%s in term %d): this test shows nothing", state, old.raft.CurrentTerm())
	}
	short, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
	defer cancel()
	if err := old.ReadBarrier(short); !errors.Is(err, ErrUnavailable) {
		t.Errorf("the deposed leader confirms a read of its own: %v", err)
	}
	for _, o := range others {
		var reply ReadIndexReply
		args := &ReadIndexArgs{
			Cluster: o.store.ClusterID(), Term: o.raft.CurrentTerm(), Requester: o.self,
			TimeoutMs: 500,
		}
		if err := o.peers.Call(testContext(t), old.self, "ReadIndex", args, &reply); err != nil || reply.Error == "" {
			t.Errorf("the deposed leader gives %s the read index %d, err %v", o.cfg.Name, reply.Index, err)
		}
	}
}

func TestClosingFailsCallsUnderWayQuickly(t *testing.T) { // not parallel, because it measures time
	tn, replicas := trio(t)
	leader, others := leaderOf(t, replicas)
	for _, o := range others {
		tn.isolate(o.cfg.Name, true, names(replicas))
	}
	eventually(t, "the lonely leader steps down", func() bool {
		id, _ := leader.leader.current()
		return id == ""
	})
	done := make(chan error, 2)
	go func() {
		_, err := others[0].Apply(testContext(t), pushCommand(others[0], "x", 1))
		done <- err
	}()
	go func() { done <- others[0].ReadBarrier(testContext(t)) }()
	closed := time.Now()
	others[0].crash()
	for range 2 {
		if err := <-done; !errors.Is(err, ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable", err)
		}
	}
	if took := time.Since(closed); took > 8*time.Second {
		t.Errorf("closing took %s", took)
	}
	if _, err := others[0].Apply(testContext(t), pushCommand(others[0], "x", 1)); !errors.Is(err, ErrUnavailable) ||
		!notApplied(err) {
		t.Errorf("after closing: got %v, want ErrUnavailable, and that it was not applied", err)
	}
	if err := others[0].Ready(); err == nil {
		t.Error("a closed replica says it is ready")
	}
}
