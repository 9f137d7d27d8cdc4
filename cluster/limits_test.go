package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"pushquorum/expo"
	"pushquorum/fsm"
)

// limited is a cluster of three in which so many groups may be stored.
func limited(t *testing.T, groups int) (*testNet, []*replicaT) {
	t.Helper()
	tn := newTestNet()
	replicas := prepare(t, tn, 3)
	for _, r := range replicas {
		r.cfg.Limits.Groups = groups
		r.start()
	}
	waitReady(t, replicas...)
	return tn, replicas
}

func deleteGroup(t *testing.T, r *replicaT, job string) {
	t.Helper()
	command := fsm.EncodeDelete(fsm.Request{ID: fsm.NewRequestID(), Seen: r.cfg.FSM.Applied()},
		expo.NewLabels(map[string]string{"job": job}))
	if result, err := r.Apply(testContext(t), command); err != nil || result != (fsm.Result{}) {
		t.Fatalf("%s is not deleted through %s: %+v, %v", job, r.cfg.Name, result, err)
	}
}

// wantFull: the answer comes, and is not waited for to the end of the time.
func wantFull(t *testing.T, r *replicaT, job, reason string) {
	t.Helper()
	result, err := r.Apply(testContext(t), pushCommand(r, job, 1))
	if err != nil || result.Status != fsm.Full || !strings.Contains(result.Reason, reason) {
		t.Errorf("a push of %s through %s: %+v, %v; want that there is no room, and %q", job, r.cfg.Name, result, err,
			reason)
	}
}

// idle waits until nothing that was admitted is under way.
func idle(t *testing.T, replicas ...*replicaT) {
	t.Helper()
	for _, r := range replicas {
		eventually(t, r.cfg.Name+" has nothing under way", func() bool { return r.admission.UnderWay() == 0 })
	}
}

func TestAFullClusterGoesOn(t *testing.T) {
	t.Parallel()
	_, replicas := limited(t, 4)
	for i := range 4 {
		push(t, replicas[i%3], fmt.Sprint("job", i), 1)
	}
	for _, r := range replicas {
		wantFull(t, r, "new", "--limit.groups=4 is reached: 4 are stored, and this push would add 1;")
		push(t, r, "job0", 2) // what is stored is updated
	}
	deleteGroup(t, replicas[0], "job1")
	push(t, replicas[1], "new", 1)
	wantFull(t, replicas[2], "another", "--limit.groups=4")
	sameState(t, replicas...)
	idle(t, replicas...)

	// With smaller limits, it starts, serves, is updated, and takes new groups again once there is room.
	for _, r := range replicas {
		r.crash()
	}
	for _, r := range replicas {
		r.cfg.Limits.Groups = 2
		r.start()
	}
	waitReady(t, replicas...)
	for _, r := range replicas {
		if err := r.ReadBarrier(testContext(t)); err != nil || !hasJob(r, "new") {
			t.Errorf("%s does not serve what is stored: %v", r.cfg.Name, err)
		}
		push(t, r, "job0", 3)
		wantFull(t, r, "more", "--limit.groups=2 is reached: 4 are stored")
	}
	for i, job := range []string{"job0", "job2"} {
		deleteGroup(t, replicas[i], job)
		wantFull(t, replicas[2], "more", "--limit.groups=2")
	}
	deleteGroup(t, replicas[2], "job3")
	push(t, replicas[2], "more", 1)
	sameState(t, replicas...)
	idle(t, replicas...)
}

func TestManyAtOnceDoNotExceedALimit(t *testing.T) {
	t.Parallel()
	const limit = 20
	_, replicas := limited(t, limit)
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[fsm.Status]int{}
	for i := range 90 {
		wg.Go(func() {
			r := replicas[i%3]
			result, err := r.Apply(testContext(t), pushCommand(r, fmt.Sprint("job", i), 1))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			count[result.Status]++
			mu.Unlock()
		})
	}
	wg.Wait()
	sameState(t, replicas...)
	if n := replicas[0].cfg.FSM.View().Len(); n != limit || count[fsm.Applied] != limit || count[fsm.Full] != 90-limit {
		t.Errorf("%d groups are stored where %d may be; the answers: %v", n, limit, count)
	}
	idle(t, replicas...)
}

// What another replica has sent is refused one by one, and what travels with it goes its way.
func TestWhatThereIsNoRoomForIsAnsweredAmongOthers(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1)
	r.cfg.Limits.Groups = 2
	r.start()
	waitReady(t, r)
	push(t, r, "a", 1)
	ask := func(commands ...[]byte) (reply ApplyReply) {
		args := &ApplyArgs{Cluster: r.store.ClusterID(), Commands: commands, TimeoutMs: testDeadline.Milliseconds()}
		if err := (&Peer{r.Replica}).Apply(args, &reply); err != nil {
			t.Fatal(err)
		}
		return reply
	}
	before := r.raft.LastIndex()
	reply := ask(pushCommand(r, "b", 1), pushCommand(r, "c", 1), unknownCommand(), pushCommand(r, "a", 2),
		pushCommand(r, "d", 1))
	var got []fsm.Status
	for _, result := range reply.Results {
		got = append(got, result.Status)
	}
	if want := []fsm.Status{
		fsm.Applied, fsm.Full, fsm.Unreadable, fsm.Applied,
		fsm.Full,
	}; reply.Outcome != outcomeApplied || !slices.Equal(got, want) {
		t.Errorf("the answer is %+v, want %v", reply, want)
	}
	if r.raft.LastIndex() != before+1 {
		t.Errorf("the log has %d entries more", r.raft.LastIndex()-before)
	}
	if reply := ask(pushCommand(r, "e", 1)); reply.Outcome != outcomeApplied || reply.Results[0].Status != fsm.Full ||
		r.raft.LastIndex() != before+1 {
		t.Errorf("one alone: %+v, and the log has %d entries more", reply, r.raft.LastIndex()-before)
	}
	idle(t, r)
}

// A leader that has lost the others learns what has become of its pushes when it hears of another one.
func TestALeaderThatIsCutOffHasNothingUnderWayInTheEnd(t *testing.T) {
	t.Parallel()
	tn, replicas := limited(t, 3)
	leader, others := leaderOf(t, replicas)
	push(t, leader, "before", 1)
	tn.isolate(leader.cfg.Name, true, names(replicas))
	short, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			if _, err := leader.Apply(short, pushCommand(leader, fmt.Sprint("lost", i), 1)); !errors.Is(err,
				ErrUnavailable) {
				t.Errorf("the cut-off leader acknowledges a push: %v", err)
			}
		})
	}
	wg.Wait()
	idle(t, leader)
	push(t, others[0], "during", 1)
	tn.isolate(leader.cfg.Name, false, names(replicas))
	sameState(t, replicas...)
	push(t, leader, "after", 1)
	wantFull(t, leader, "too many", "--limit.groups=3 is reached: 3 are stored")
	idle(t, replicas...)
}

// futureT is the future of an entry of which it is not known yet what becomes.
type futureT struct {
	raft.ApplyFuture
	answer chan error
}

func (f futureT) Error() error { return <-f.answer }
func (futureT) Response() any  { return []fsm.Result{{}} }

type slowNode struct {
	*fakeNode
	future futureT
}

func (n slowNode) Apply([]byte, time.Duration) raft.ApplyFuture { return n.future }

func TestAnEntryEndsWhenItsFateIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := 0
		attempt := func(ctx context.Context) (chan error, chan outcome) {
			node := slowNode{&fakeNode{}, futureT{answer: make(chan error)}}
			what := make(chan outcome, 1)
			ended = 0
			go func() {
				_, got, _ := replicateEntry(ctx, node, nil, func() { ended++ })
				what <- got
			}()
			synctest.Wait()
			return node.future.answer, what
		}
		for err, want := range map[error]outcome{
			nil: outcomeApplied, raft.ErrNotLeader: outcomeNotAppended,
			raft.ErrLeadershipLost: outcomeUnknown,
		} {
			answer, what := attempt(t.Context())
			if ended != 0 {
				t.Error("ended before it was known")
			}
			answer <- err
			if got := <-what; got != want || ended != 1 {
				t.Errorf("%v: outcome %d, ended %d times", err, got, ended)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		answer, what := attempt(ctx)
		cancel()
		if got := <-what; got != outcomeUnknown || ended != 0 {
			t.Errorf("one that is not waited for: outcome %d, ended %d times", got, ended)
		}
		answer <- raft.ErrLeadershipLost
		synctest.Wait()
		if ended != 1 {
			t.Errorf("once it is known: ended %d times", ended)
		}
		if _, what := attempt(ctx); <-what != outcomeNotAppended || ended != 1 {
			t.Errorf("one whose time was up before: ended %d times", ended)
		}
		late, cancelLate := context.WithTimeout(t.Context(), -time.Second)
		defer cancelLate()
		if _, what := attempt(late); <-what != outcomeNotAppended || ended != 1 {
			t.Errorf("one that comes late: ended %d times", ended)
		}
	})
}

// There is no room, because an earlier attempt of the same push, of which nothing is known, has it already: to say that
// it was refused would be a lie.
func TestWhatMayHaveBeenAppliedIsNotRefused(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1).start()
	waitReady(t, r)
	real, attempts := r.toLog.send, 0
	r.toLog.send = func(ctx context.Context, leader raft.ServerID, commands [][]byte) ([]fsm.Result, outcome, error) {
		switch attempts++; attempts {
		case 1:
			return nil, outcomeUnknown, errors.New("no answer")
		case 2:
			return []fsm.Result{{Status: fsm.Full, Reason: "--limit.groups=1 is reached"}}, outcomeApplied, nil
		}
		return real(ctx, leader, commands)
	}
	push(t, r, "a", 1)
	if attempts != 3 {
		t.Errorf("%d attempts", attempts)
	}
}

func TestTheMetricsTellWhatIsStored(t *testing.T) {
	t.Parallel()
	machine := fsm.New(slog.New(slog.DiscardHandler))
	registry := prometheus.NewRegistry()
	c := newUsageCollector(machine, fsm.Limits{Groups: 5, StateBytes: 1000})
	now := time.Unix(1000, 0)
	c.now = func() time.Time { return now }
	registry.MustRegister(c)
	shown := func() (out string) {
		mfs, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, mf := range mfs {
			for _, m := range mf.GetMetric() {
				labels := ""
				for _, l := range m.GetLabel() {
					labels = "/" + l.GetValue()
				}
				if name := strings.TrimPrefix(mf.GetName(), "pushquorum_"); name != "state_bytes" {
					out += fmt.Sprintf("%s%s %v\n", name, labels, m.GetGauge().GetValue())
				}
			}
		}
		return out
	}
	if got, want := shown(), "groups 0\nlimit/groups 5\nlimit/state_bytes 1000\nseries 0\n"; got != want {
		t.Errorf("of nothing:\n%s", got)
	}
	index := uint64(0)
	apply := func(at int64, job string) {
		index++
		group := expo.NewLabels(map[string]string{"job": job})
		f := expo.Gauge(&expo.Header{Name: "x", Type: dto.MetricType_GAUGE}, group.Key(), 1)
		command := fsm.EncodePush(fsm.Request{ID: fsm.NewRequestID()}, group, true, []*expo.Family{f})
		machine.Apply(&raft.Log{
			Index: index, Type: raft.LogCommand,
			Data: fsm.Seal([][]byte{command}, time.Unix(at, 0)),
		})
	}
	apply(100, "a")
	apply(200, "b")
	now = now.Add(surveyEvery)
	if got, want := shown(), "groups 2\nlimit/groups 5\nlimit/state_bytes 1000\noldest_push_timestamp_seconds "+
		"100\nseries 2\n"; got != want {
		t.Errorf("of two groups:\n%s", got)
	}
	apply(300, "a")
	if got := shown(); !strings.Contains(got, "oldest_push_timestamp_seconds 100\n") {
		t.Errorf("it has looked again at once:\n%s", got)
	}
	now = now.Add(surveyEvery)
	if got := shown(); !strings.Contains(got, "oldest_push_timestamp_seconds 200\n") {
		t.Errorf("after a while:\n%s", got)
	}
}

// What earlier leaders have left in the log may fill the store: until it is applied, nobody can tell what there is room
// for.
func TestANewLeaderAppendsNothingBeforeItKnowsWhatIsStored(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1).start()
	waitReady(t, r)
	setReady := func(term uint64) {
		r.leader.mu.Lock()
		defer r.leader.mu.Unlock()
		r.leader.readyTerm = term
		r.leader.broadcastLocked()
	}
	setReady(0)
	before := r.raft.LastIndex()
	pushed := make(chan error, 1)
	go func() {
		_, err := r.Apply(testContext(t), pushCommand(r, "a", 1))
		pushed <- err
	}()
	eventually(t, "the push is on its way", func() bool {
		r.toLog.mu.Lock()
		defer r.toLog.mu.Unlock()
		return r.toLog.senders == 1 && len(r.toLog.waiting) == 0
	})
	_, _, err := r.appendBatch(expired(t), r.serverID, [][]byte{pushCommand(r, "b", 1)})
	if !errors.Is(err, context.Canceled) || r.raft.LastIndex() != before {
		t.Errorf("it has appended %d entries: %v", r.raft.LastIndex()-before, err)
	}
	setReady(r.raft.CurrentTerm())
	if err := <-pushed; err != nil || !hasJob(r, "a") {
		t.Errorf("once it knows: %v", err)
	}
	idle(t, r)
}

func expired(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
