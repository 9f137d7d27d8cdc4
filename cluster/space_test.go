package cluster

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus"

	"pushquorum/cluster/internal/disk"
	"pushquorum/expo"
	"pushquorum/fsm"
)

// fakeSpace answers how much room a file system of 1 GB has.
type fakeSpace struct{ free atomic.Uint64 }

func (s *fakeSpace) measure(string) (disk.FileSystem, error) {
	return disk.FileSystem{Size: 1 << 30, Free: s.free.Load()}, nil
}

// withSpace gives a replica, before its start, a file system with room.
func withSpace(r *replicaT) *fakeSpace {
	s := &fakeSpace{}
	s.free.Store(1 << 29)
	r.tune.stuckEvery = 10 * time.Millisecond
	r.tune.measure = s.measure
	return s
}

// storageBytes are the gauges of the storage.
func storageBytes(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "pushquorum_storage_bytes" {
			for _, m := range f.GetMetric() {
				out[m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	return out
}

func deleteCommand(r *replicaT, job string) []byte {
	return fsm.EncodeDelete(fsm.Request{ID: fsm.NewRequestID(), Seen: r.cfg.FSM.Applied()},
		expo.NewLabels(map[string]string{"job": job}))
}

// What must not be refused is what makes room.
func TestOnADiskThatIsNearlyFullNothingIsStoredAndAllCanBeDeleted(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1)
	space := withSpace(r)
	r.cfg.MinFree = 1 << 20
	registry := prometheus.NewRegistry()
	r.cfg.Registerer = registry
	r.start()
	waitReady(t, r)
	before := pushCommand(r, "before", 1)
	if result, err := r.Apply(testContext(t), before); err != nil || result.Status != fsm.Applied {
		t.Fatalf("a push is answered with %v, %v", result, err)
	}
	eventually(t, "there are all gauges", func() bool { return len(storageBytes(t, registry)) == 6 })
	if got := storageBytes(t, registry); got["log"] < 1 || got["size"] != 1<<30 || got["free"] != 1<<29 ||
		got["required"] < 1<<20 || got["required"] > 2<<20 || len(got) != 6 {
		t.Errorf("the gauges say %v", got)
	}
	eventually(t, "there is a reserve", func() bool {
		return storageBytes(t, registry)["reserve"] == float64(r.space.ReserveSize())
	})
	space.free.Store(1<<20 - 1)
	eventually(t, "it is short of room", func() bool { return r.noSpace() != "" })
	for name, command := range map[string][]byte{
		"a push": pushCommand(r, "after", 1),
		"a failed push": fsm.EncodeReject(fsm.Request{ID: fsm.NewRequestID()},
			expo.NewLabels(map[string]string{"job": "after"})),
		"an import": fsm.EncodeImport(fsm.Request{ID: fsm.NewRequestID()}, nil),
	} {
		result, err := r.Apply(testContext(t), command)
		if err != nil || result.Status != fsm.NoSpace {
			t.Fatalf("%s is answered with %v, %v", name, result, err)
		}
		for _, says := range []string{"--storage.min-free=1.0MB", r.cfg.DataDir, "alone", "make room", "delete"} {
			if !strings.Contains(result.Reason, says) || strings.Contains(result.Reason, "\n") {
				t.Errorf("%s: the reason should be one line that says %q: %s", name, says, result.Reason)
			}
		}
	}
	if hasJob(r, "after") {
		t.Error("what was refused is stored")
	}
	at := r.cfg.FSM.Applied()
	if result, err := r.Apply(testContext(t), before); err != nil || result.Status != fsm.Applied ||
		r.cfg.FSM.Applied() != at {
		t.Errorf("what was applied before is answered with %v, %v, after %d entries more", result, err,
			r.cfg.FSM.Applied()-at)
	}
	if result, err := r.Apply(testContext(t), deleteCommand(r, "before")); err != nil || result.Status != fsm.Applied ||
		hasJob(r, "before") {
		t.Errorf("nothing can be deleted: %v, %v", result, err)
	}
	if result, err := r.Apply(testContext(t),
		fsm.EncodeWipe(fsm.Request{ID: fsm.NewRequestID(), Seen: r.cfg.FSM.Applied()})); err != nil ||
		result.Status != fsm.Applied {
		t.Errorf("nothing can be wiped: %v, %v", result, err)
	}
	space.free.Store(1 << 29)
	eventually(t, "there is room again", func() bool { return r.noSpace() == "" })
	push(t, r, "again", 1)
}

// Commands go together: one that is refused must not take the others with it, nor get the answer of another.
func TestWhatIsRefusedAmongOthersIsAnsweredAlone(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1)
	space := withSpace(r)
	r.start()
	waitReady(t, r)
	push(t, r, "a", 1)
	space.free.Store(0)
	eventually(t, "it is short of room", func() bool { return r.noSpace() != "" })
	results, what, err := r.appendForwarded(testContext(t),
		[][]byte{pushCommand(r, "b", 1), deleteCommand(r, "a"), {0xff}, pushCommand(r, "c", 1)})
	if what != outcomeApplied || err != nil {
		t.Fatalf("the call ended with %d, %v", what, err)
	}
	for i, want := range []fsm.Status{fsm.NoSpace, fsm.Applied, fsm.Unreadable, fsm.NoSpace} {
		if results[i].Status != want {
			t.Errorf("command %d is answered with %v, want %d", i, results[i], want)
		}
	}
	if hasJob(r, "a") || hasJob(r, "b") || hasJob(r, "c") {
		t.Error("the state is not what was answered")
	}
}

// A refusal says that nothing was stored, which an earlier attempt may have done.
func TestARefusalAfterAnUnknownOutcomeIsUnknown(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1)
	space := withSpace(r)
	r.start()
	waitReady(t, r)
	ctx, cancel := context.WithCancel(testContext(t))
	tries := 0
	r.toLog = &batcher{
		leader: r.toLog.leader, run: r.spawn,
		send: func(ctx context.Context, leader raft.ServerID, commands [][]byte) ([]fsm.Result, outcome, error) {
			if tries++; tries == 1 {
				space.free.Store(0)
				r.space.Measure()
				return nil, outcomeUnknown, errors.New("no answer")
			}
			if tries == 4 { // the caller has had refusals by now, and would go on until its time is up
				cancel()
			}
			return r.appendBatch(ctx, leader, commands)
		},
	}
	result, err := r.Apply(ctx, pushCommand(r, "a", 1))
	if !errors.Is(err, ErrUnavailable) || notApplied(err) || !strings.Contains(err.Error(), "min-free") {
		t.Errorf("answered with %v, %v", result, err)
	}
}

func TestTheQuorumDecidesWhetherThereIsRoom(t *testing.T) {
	id := func(i int) raft.ServerID { return raft.ServerID(rune('a' + i)) }
	for name, c := range map[string]struct {
		voters string // r: has room, l: has not, s: does not answer, n: a non-voter that has not
		short  bool
	}{
		"one alone": {"r", false}, "one alone, short": {"l", true},
		"three": {"rrr", false}, "one of three": {"lrr", false}, "two of three": {"llr", true},
		"one of three, and one is silent":         {"lrs", true},
		"two silent: nothing is known against it": {"rss", false}, "non-voters do not count": {"rrrnn", false},
		"one of two": {"lr", true}, "two of five": {"llrrr", false}, "three of five": {"lllrr", true},
	} {
		var configuration raft.Configuration
		heard := map[raft.ServerID]answer{}
		for i, kind := range c.voters {
			s := raft.Server{ID: id(i)}
			if kind == 'n' {
				s.Suffrage = raft.Nonvoter
			}
			configuration.Servers = append(configuration.Servers, s)
			switch kind {
			case 'l', 'n':
				heard[s.ID] = answer{StatusReply: StatusReply{NoSpace: "no room"}}
			case 'r':
				heard[s.ID] = answer{}
			}
		}
		if got := shortage(configuration, heard); (got != "") != c.short {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestAClusterStoresForAsLongAsAMajorityHasRoom(t *testing.T) {
	t.Parallel()
	replicas := prepare(t, newTestNet(), 3)
	spaces := map[string]*fakeSpace{}
	for _, r := range replicas {
		spaces[r.cfg.Name] = withSpace(r)
		r.start()
	}
	waitReady(t, replicas...)
	leader, _ := leaderOf(t, replicas)
	spaces[leader.cfg.Name].free.Store(0)
	eventually(t, "a voter with room leads", func() bool {
		id, _ := replicas[0].leader.current()
		return id != "" && id != leader.serverID
	})
	first := leader
	push(t, first, "a", 1)
	leader, others := leaderOf(t, replicas)
	for _, r := range others {
		spaces[r.cfg.Name].free.Store(0)
	}
	eventually(t, "the leader knows", func() bool { return leader.noSpace() != "" })
	for _, r := range replicas {
		result, err := r.Apply(testContext(t), pushCommand(r, "b", 1))
		if err != nil || result.Status != fsm.NoSpace || !strings.Contains(result.Reason, first.cfg.DataDir) ||
			strings.Contains(result.Reason, "\n") {
			t.Errorf("a push through %s is answered with %v, %v", r.cfg.Name, result, err)
		}
	}
	if result, err := others[0].Apply(testContext(t), deleteCommand(others[0], "a")); err != nil ||
		result.Status != fsm.Applied {
		t.Errorf("nothing can be deleted: %v, %v", result, err)
	}
	spaces[first.cfg.Name].free.Store(1 << 29)
	eventually(t, "the leader knows that there is room", func() bool { return leader.noSpace() == "" })
	push(t, others[0], "b", 1)
	sameState(t, replicas...)
}

// What is measured is wanted most while the disk hangs.
func TestADiskThatHangsHoldsUpNoScrape(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1)
	space := withSpace(r)
	var hangs atomic.Bool
	hung, release := make(chan struct{}, 1), make(chan struct{})
	r.tune.measure = func(dir string) (disk.FileSystem, error) {
		if hangs.Load() {
			select {
			case hung <- struct{}{}:
			default:
			}
			<-release
		}
		return space.measure(dir)
	}
	registry := prometheus.NewRegistry()
	r.cfg.Registerer = registry
	r.start()
	t.Cleanup(func() { close(release) })
	waitReady(t, r)
	eventually(t, "it is known what the files take", func() bool { return storageBytes(t, registry)["log"] > 0 })
	hangs.Store(true)
	<-hung
	gathered := make(chan error, 1)
	go func() {
		_, err := registry.Gather()
		gathered <- err
	}()
	eventually(t, "the metrics are there", func() bool {
		select {
		case err := <-gathered:
			return err == nil
		default:
			return false
		}
	})
	if got := storageBytes(t, registry); got["free"] != 1<<29 || got["log"] < 1 || len(got) != 6 {
		t.Errorf("the gauges say %v", got)
	}
}

// A leader knows of its own disk before it has asked the others.
func TestWhatALeaderSaysOfRoomBeforeItHasAskedTheOthers(t *testing.T) {
	for name, c := range map[string]struct {
		own  string
		said *room
		want string
	}{
		"nothing is short, and nobody was asked":          {"", nil, ""},
		"it was short when it began to lead":              {"own", nil, "own"},
		"it became short after all were asked":            {"own", &room{}, "own"},
		"a majority has room, and it knew that it is not": {"own", &room{ownShort: true}, ""},
		"a majority is short":                             {"own", &room{shortage: "theirs", ownShort: true}, "theirs"},
		"a majority is short, and it is not":              {"", &room{shortage: "theirs"}, "theirs"},
	} {
		measured := &fakeSpace{}
		if c.own == "" {
			measured.free.Store(1 << 29)
		}
		own := disk.NewSpace("/data", "r1", 0, 1, measured.measure, func() uint64 { return 0 },
			slog.New(slog.DiscardHandler))
		own.Measure()
		r := &Replica{space: own, pilot: &pilot{}}
		r.pilot.room.Store(c.said)
		want := c.want
		if want == "own" {
			want = own.Shortage()
		}
		if got := r.noSpace(); got != want || (got == "") != (c.want == "") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestWhoTakesOverFromALeaderWithoutRoom(t *testing.T) {
	at := func(index uint64) answer { return answer{StatusReply: StatusReply{LastLogIndex: index}} }
	for name, c := range map[string]struct {
		heard map[raft.ServerID]answer
		tried raft.ServerID
		want  raft.ServerID
	}{
		"nobody answers": {nil, "", ""},
		"the most of the log": {map[raft.ServerID]answer{
			"a": at(90), "b": at(10), "c": at(30),
			"d": at(20),
		}, "", "c"},
		"not who was tried last": {
			map[raft.ServerID]answer{"b": at(10), "c": at(30), "d": at(20)},
			"c", "d",
		},
		"nor where that comes first": {
			map[raft.ServerID]answer{"b": at(30), "c": at(10), "d": at(20)},
			"b", "d",
		},
		"unless there is no other": {map[raft.ServerID]answer{"c": at(30)}, "c", "c"},
		"none that is short, stops or may not vote": {
			map[raft.ServerID]answer{
				"b": {StatusReply: StatusReply{NoSpace: "no"}},
				"c": {StatusReply: StatusReply{Draining: true}}, "n": at(90),
			}, "", "",
		},
	} {
		configuration := raft.Configuration{Servers: []raft.Server{
			{ID: "a"},
			{ID: "b"},
			{ID: "c"},
			{ID: "d"},
			{ID: "n", Suffrage: raft.Nonvoter},
		}}
		got := raft.ServerID("")
		if s := successor(configuration, c.heard, "a", c.tried); s != nil {
			got = s.ID
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
