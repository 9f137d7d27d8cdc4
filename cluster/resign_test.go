package cluster

import (
	"strings"
	"sync"
	"testing"

	"github.com/hashicorp/raft"
)

// formed is a cluster of so many new replicas.
func formed(t *testing.T, n int) []*replicaT {
	t.Helper()
	replicas := prepare(t, newTestNet(), n)
	for _, r := range replicas {
		r.start()
	}
	waitReady(t, replicas...)
	return replicas
}

// end stops a replica in good order.
func (r *replicaT) end() {
	r.t.Helper()
	r.Drain(testContext(r.t))
	r.Leave(testContext(r.t))
	r.crash()
}

func TestWhoLeavesInGoodOrderGivesUpItsVoteDownToThree(t *testing.T) {
	t.Parallel()
	replicas := formed(t, 5)
	push(t, replicas[0], "before", 1)
	leader, others := leaderOf(t, replicas)
	leader.end() // hands over first
	others[0].end()
	rest := others[1:]
	for _, r := range rest {
		eventually(t, "three votes are left", func() bool { return voters(r) == 3 })
	}

	// Of three nobody gives up its vote: one more may stop, as in a rolling restart, and the other two go on.
	rest[0].end()
	push(t, rest[1], "two", 2)
	if got := configured(rest[1])[rest[0].self]; got != raft.Voter {
		t.Fatal("one of three has given up its vote")
	}
	rest[0].start()
	waitReady(t, rest...)

	// Who comes back gets its vote again, and is ready with it.
	leader.start()
	waitReady(t, leader)
	if got := configured(leader)[leader.self]; got != raft.Voter {
		t.Fatalf("ready as a %s", got)
	}
	sameState(t, rest[0], rest[1], rest[2], leader)
}

func TestAVoteThatWasGivenUpIsNotGivenBackBeforeTheEnd(t *testing.T) {
	t.Parallel()
	replicas := formed(t, 5)
	_, others := leaderOf(t, replicas)
	leaver := others[0]
	leaver.Drain(testContext(t))
	leader, _ := leaderOf(t, replicas)
	if got := configured(leader)[leaver.self]; got != raft.Nonvoter {
		t.Fatalf("it has not given up its vote: it is a %s", got)
	}
	if err := leader.pilot.promote(leaver.serverID); err != nil { // as autopilot does that last looked before
		t.Fatal(err)
	}
	if got := configured(leader)[leaver.self]; got != raft.Nonvoter {
		t.Fatal("it is a voter again by what it said before it drained")
	}
	looks, last := 0, leader.pilot.current()
	eventually(t, "the leader has found it healthy again and again", func() bool {
		if now := leader.pilot.current(); now != last && now != nil && now.Servers[leaver.serverID].Health.Healthy {
			looks, last = looks+1, now
		}
		return looks > 3
	})
	if got := configured(leader)[leaver.self]; got != raft.Nonvoter {
		t.Fatalf("it is a %s again", got)
	}
}

func TestOfFourThatLeaveAtOnceThreeKeepTheirVotes(t *testing.T) {
	t.Parallel()
	replicas := formed(t, 4)
	leader, others := leaderOf(t, replicas)
	var wg sync.WaitGroup
	for _, r := range others {
		wg.Go(func() { _ = leader.takeVote(testContext(t), r.self) })
	}
	wg.Wait()
	if got := voters(leader); got != 3 {
		t.Fatalf("%d votes are left", got)
	}
}

func TestAVoteIsKeptWhenTheOthersHaveNoMajorityWithoutIt(t *testing.T) {
	t.Parallel()
	replicas := formed(t, 5)
	leader, others := leaderOf(t, replicas)
	others[0].crash()
	others[1].crash()
	err := leader.takeVote(testContext(t), others[2].self)
	if err == nil || !strings.Contains(err.Error(), "2 of the 4") {
		t.Fatalf("with two of five gone a third gives up its vote: %v", err)
	}
	if got := configured(leader)[others[2].self]; got != raft.Voter {
		t.Fatalf("it is a %s", got)
	}
}
