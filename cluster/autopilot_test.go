package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/gossip"
	"pushquorum/cluster/internal/server"
)

// configured gives the suffrage of every server in a replica's configuration.
func configured(r *replicaT) map[uuid.UUID]raft.ServerSuffrage {
	out := map[uuid.UUID]raft.ServerSuffrage{}
	for _, s := range r.raft.GetConfiguration().Configuration().Servers {
		if id, err := uuid.Parse(string(s.ID)); err == nil {
			out[id] = s.Suffrage
		}
	}
	return out
}

// exactly tells whether all replicas' configurations are these voters and nobody else.
func exactly(replicas []*replicaT, members ...*replicaT) bool {
	for _, r := range replicas {
		c := configured(r)
		if len(c) != len(members) {
			return false
		}
		for _, m := range members {
			if s, ok := c[m.self]; !ok || s != raft.Voter {
				return false
			}
		}
	}
	return true
}

func TestDisksMayBeLostOneAfterTheOther(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("long, because it waits for many changes of the membership")
	}
	_, replicas := trio(t)
	push(t, replicas[0], "before", 1)
	for i, r := range replicas {
		old := r.self
		r.crash()
		if err := os.RemoveAll(r.cfg.DataDir); err != nil {
			t.Fatal(err)
		}
		r.start()
		if r.self == old {
			t.Fatal("a replica without a disk has its old id")
		}
		eventually(t, r.cfg.Name+" votes and its predecessor is removed", func() bool {
			return exactly(replicas, replicas...)
		})
		push(t, r, r.cfg.Name, float64(i))
	}
	waitReady(t, replicas...)
	for _, r := range replicas {
		if err := r.ReadBarrier(testContext(t)); err != nil || !hasJob(r, "before") || !hasJob(r, "r3") {
			t.Fatalf("%s has not got everything: %v", r.cfg.Name, err)
		}
	}
	sameState(t, replicas...)
}

func TestGrowingFromOneToFiveAndShrinkingToThreeTakesNothingButProcesses(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("long, because it waits for many changes of the membership")
	}
	tn := newTestNet()
	address := freePorts(t)
	replicas := []*replicaT{newReplica(t, tn, "r1", address, 1)}
	for _, name := range []string{"r2", "r3", "r4", "r5"} {
		replicas = append(replicas, newReplica(t, tn, name, freePorts(t), 1, address))
	}
	for i, r := range replicas {
		r.cfg.DeadServerGrace = time.Second
		r.start()
		waitReady(t, r)
		push(t, r, r.cfg.Name, float64(i))
		eventually(t, r.cfg.Name+" votes", func() bool { return exactly(replicas[:i+1], replicas[:i+1]...) })
	}
	for i := 4; i > 2; i-- {
		replicas[i].crash()
		eventually(t, replicas[i].cfg.Name+" is removed", func() bool { return exactly(replicas[:i], replicas[:i]...) })
	}
	push(t, replicas[2], "three", 3)

	// Of three, none is removed, however long it is away.
	replicas[0].crash()
	rest := replicas[1:3]
	push(t, rest[1], "two", 2)
	eventually(t, "the grace of the dead one has passed", func() bool {
		for _, r := range rest {
			if r.pilot.gone.of(replicas[0].serverID) > 3*time.Second {
				return true
			}
		}
		return false
	})
	if !exactly(rest, replicas[:3]...) {
		t.Fatalf("one of three was removed: %v", configured(rest[0]))
	}
	replicas[0].start()
	waitReady(t, replicas[:3]...)

	// One that was removed is added again when it comes back.
	replicas[4].start()
	waitReady(t, replicas[4])
	members := append([]*replicaT{replicas[4]}, replicas[:3]...)
	eventually(t, "the one that came back votes", func() bool { return exactly(members, members...) })
	sameState(t, members...)
}

// withLostDisk is a cluster of three whose last replica has been replaced by one with an empty directory and another
// address.
func withLostDisk(t *testing.T) (replicas []*replicaT, old *replicaT) {
	_, replicas = trio(t)
	old = replicas[2]
	old.crash()
	fresh := newReplica(t, old.net, old.cfg.Name, freePorts(t), 3, replicas[0].cfg.ListenAddress)
	fresh.cfg.DataDir = filepath.Join(t.TempDir(), "new")
	replicas = []*replicaT{replicas[0], replicas[1], fresh.start()}
	eventually(t, "the new one is there in the place of the old", func() bool { return exactly(replicas, replicas...) })
	return replicas, old
}

// configurations are all that stand in a replica's log.
func configurations(t *testing.T, r *replicaT) (out []raft.Configuration) {
	t.Helper()
	first, err := r.store.Log().FirstIndex()
	if err != nil {
		t.Fatal(err)
	}
	for index := first; index <= r.store.LastIndex(); index++ {
		var l raft.Log
		if err := r.store.Log().GetLog(index, &l); err != nil {
			t.Fatal(err)
		}
		if l.Type == raft.LogConfiguration {
			out = append(out, raft.DecodeConfiguration(l.Data))
		}
	}
	return out
}

// Else, with four voters of which one is dead, a newcomer that dies as well takes the quorum with it.
func TestAPredecessorAndItsSuccessorNeverVoteAtTheSameTime(t *testing.T) {
	t.Parallel()
	replicas, old := withLostDisk(t)
	leader, _ := leaderOf(t, replicas)
	for _, c := range configurations(t, leader) {
		vote := map[raft.ServerID]bool{}
		for _, s := range c.Servers {
			vote[s.ID] = s.Suffrage == raft.Voter
		}
		if vote[old.serverID] && vote[replicas[2].serverID] {
			t.Fatalf("both vote: %v", c.Servers)
		}
	}
}

func TestADiskMayBeLostAgainAsSoonAsTheReplicaVotes(t *testing.T) {
	t.Parallel()
	_, replicas := trio(t)
	lost, rest := replicas[2], replicas[:2]
	for range 3 {
		lost.crash()
		if err := os.RemoveAll(lost.cfg.DataDir); err != nil {
			t.Fatal(err)
		}
		lost.start()
		eventually(t, "it votes", func() bool {
			return configured(rest[0])[lost.self] == raft.Voter && configured(rest[1])[lost.self] == raft.Voter
		})
		push(t, rest[0], "meanwhile", 1)
	}
	waitReady(t, replicas...)
	eventually(t, "the three of now vote and nobody else", func() bool { return exactly(replicas, replicas...) })
	sameState(t, replicas...)
}

// A namesake that did not answer when another joined, and has answered since, is nobody's predecessor.
func TestANamesakeThatHasAnsweredSinceIsMissedForTheWholeGrace(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("long, because it waits for a grace to pass")
	}
	tn := newTestNet()
	replicas := prepare(t, tn, 3)
	start := func(r *replicaT) {
		r.cfg.Name = "same"
		r.tune.stabilize = 5 * time.Second // in which the one that is away comes back
		r.start()
	}
	for _, r := range replicas {
		start(r)
	}
	waitReady(t, replicas...)
	leader, others := leaderOf(t, replicas)
	away := others[0]
	away.crash()
	fourth := newReplica(t, tn, "same", freePorts(t), 1, replicas[0].cfg.ListenAddress, replicas[1].cfg.ListenAddress,
		replicas[2].cfg.ListenAddress)
	start(fourth)
	replaced := func(r *replicaT) []uuid.UUID {
		for _, s := range r.raft.GetConfiguration().Configuration().Servers {
			if a, err := server.ParseAddress(s.Address); err == nil && a.ID == fourth.self {
				return a.Replaces
			}
		}
		return nil
	}
	eventually(t, "the fourth is added in the place of the one that is away",
		func() bool { return slices.Contains(replaced(leader), away.self) })
	away.start()
	all := slices.Concat(replicas, []*replicaT{fourth})
	eventually(t, "four vote", func() bool { return exactly(all, all...) })
	eventually(t, "the leader has heard of it", func() bool { return leader.pilot.answered(away.serverID) })
	away.crash()
	rest := slices.DeleteFunc(slices.Clone(all), func(r *replicaT) bool { return r == away })
	missedFor(t, 3*time.Second, away, rest)
	if !exactly(rest, all...) {
		t.Fatal("it was removed without a grace")
	}
	away.start()
	waitReady(t, all...)
}

// Two that are paused while a third of their name is given a vote must not both lose theirs.
func TestOfSeveralSilentNamesakesOnlyThoseGoWhomGossipMissesToo(t *testing.T) {
	t.Parallel()
	_, replicas := trio(t)
	leader, others := leaderOf(t, replicas)
	one, two := others[0], others[1]
	silent := func(of ...*replicaT) []raft.ServerID {
		var ids []uuid.UUID
		for _, r := range of {
			leader.pilot.noteSilent(r.serverID)
			ids = append(ids, r.self)
		}
		return leader.pilot.predecessorsOf(ids)
	}
	if got := silent(one); !slices.Equal(got, []raft.ServerID{one.serverID}) {
		t.Errorf("the only one that is silent: %v go, want %s", got, one.serverID)
	}
	if got := silent(one, two); len(got) > 0 {
		t.Errorf("both are silent and gossip: %v go", got)
	}
	one.crash()
	missedFor(t, 0, one, []*replicaT{leader})
	if got := silent(one, two); !slices.Equal(got, []raft.ServerID{one.serverID}) {
		t.Errorf("both are silent, and one is dead: %v go, want %s", got, one.serverID)
	}
}

// missedFor waits until a leader has missed a replica for so long.
func missedFor(t *testing.T, long time.Duration, missing *replicaT, rest []*replicaT) {
	t.Helper()
	eventually(t, "a leader has missed it for a while", func() bool {
		return slices.ContainsFunc(rest, func(r *replicaT) bool { return r.pilot.gone.of(missing.serverID) > long })
	})
}

func TestANewLeaderGoesOnCountingAbsences(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("long, because it waits for a grace to pass")
	}
	tn := newTestNet()
	replicas := prepare(t, tn, 5)
	for _, r := range replicas {
		r.start()
	}
	waitReady(t, replicas...)
	leader, others := leaderOf(t, replicas)
	missing := others[0]
	missing.crash()
	const long = 4 * time.Second
	missedFor(t, long, missing, []*replicaT{leader})
	leader.crash()
	rest := others[1:]
	now, _ := leaderOf(t, rest)
	eventually(t, "the new leader looks", func() bool { return now.pilot.gone.of(missing.serverID) > 0 })
	// what the last look had found was not told
	if got := now.pilot.gone.of(missing.serverID); got < long-2*now.tune.pilotLook {
		t.Fatalf("the new leader has missed it for %s, the one before for more than %s", got, long)
	}
}

func TestANewcomerIsNotReadyBeforeItVotes(t *testing.T) {
	t.Parallel()
	tn := newTestNet()
	first := newReplica(t, tn, "r1", freePorts(t), 1)
	first.tune.stabilize = time.Hour
	first.start()
	waitReady(t, first)
	push(t, first, "before", 1)
	second := newReplica(t, tn, "r2", freePorts(t), 1, first.cfg.ListenAddress).start()
	eventually(t, "it has caught up", func() bool {
		_, fresh := second.Staleness()
		return fresh && hasJob(second, "before")
	})
	if err := second.Ready(); !errors.Is(err, errNoVote) {
		t.Fatalf("ready without a vote: %v", err)
	}
}

func TestAReplacedReplicaThatComesBackIsNotAddedAndSaysSo(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("long, because it waits for a replica to be removed")
	}
	replicas, old := withLostDisk(t)
	leader, _ := leaderOf(t, replicas)
	// It may ask for pre-votes, which disturb nobody; a vote that is asked for would end the leader's term.
	campaigns := func() int { return strings.Count(old.logs.String(), "raft: asking for vote") }
	old.start() // with a log of its own
	hole := swallows(t)
	for range 200 { // and with a gossip full of members that nobody has met
		old.gossip.NotifyJoin(
			gossipNode(t, gossip.Meta{
				ID: uuid.New(), Peer: hole, HasRaftState: true,
				Cluster: leader.store.ClusterID(),
			}))
	}
	eventually(t, "the leader says what to do", func() bool {
		return strings.Contains(leader.logs.String(), "another of its name has taken its place") &&
			strings.Contains(leader.logs.String(), old.self.String())
	})
	eventually(t, "the old one says that it was removed", func() bool {
		err := old.Ready()
		return err != nil && strings.Contains(err.Error(), "removed") &&
			strings.Contains(old.logs.String(), "was removed from its cluster")
	})
	push(t, leader, "after", 1)
	if !exactly(replicas, replicas...) || campaigns() > 0 {
		t.Fatalf("the old one disturbs the cluster: it asked for %d votes, %v", campaigns(), configured(leader))
	}
}

func TestAnOldDiskThatIsPutBackTakesThePlaceOfTheNewOne(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it waits for elections and for gossip")
	}
	t.Parallel()
	replicas, old := withLostDisk(t)
	push(t, replicas[1], "meanwhile", 1)
	replicas[2].crash()
	old.start()
	members := []*replicaT{replicas[0], replicas[1], old}
	eventually(t, "the old one votes again and the new one is removed", func() bool {
		return exactly(members, members...)
	})
	waitReady(t, members...)
	if err := old.ReadBarrier(testContext(t)); err != nil || !hasJob(old, "meanwhile") {
		t.Fatalf("it has not caught up: %v", err)
	}
}

func TestReplicasThatShareANameAreNotTakenForOneAnother(t *testing.T) {
	if testing.Short() {
		t.Skip("long, because it waits for elections and for gossip")
	}
	t.Parallel()
	tn := newTestNet()
	replicas := prepare(t, tn, 3)
	for _, r := range replicas {
		r.cfg.Name = "same"
		r.start()
	}
	waitReady(t, replicas...)
	fourth := newReplica(t, tn, "same", freePorts(t), 1, replicas[0].cfg.ListenAddress).start()
	all := slices.Concat(replicas, []*replicaT{fourth})
	eventually(t, "four vote", func() bool { return exactly(all, all...) })
	_, others := leaderOf(t, replicas) // those whom the leader had to judge when the fourth came
	missing := others[0]
	missing.crash()
	rest := slices.DeleteFunc(slices.Clone(all), func(r *replicaT) bool { return r == missing })
	eventually(t, "the leader has missed it for a while", func() bool {
		for _, r := range rest {
			if r.pilot.gone.of(missing.serverID) > 2*time.Second {
				return true
			}
		}
		return false
	})
	if !exactly(rest, all...) {
		t.Fatal("a namesake was taken for a replacement, and the missing one was removed at once")
	}
	missing.start()
	waitReady(t, missing)
}
