package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pushquorum/cluster/internal/disk"
	"pushquorum/fsm"
)

// unknownCommand is a command of a kind that this version does not know: field 10 of a Command, empty.
func unknownCommand() []byte { return []byte{0x52, 0} }

// A command that the leader cannot apply would halt every replica of its version, and again after each restart.
func TestWhatTheLeaderCannotApplyReachesNoLog(t *testing.T) {
	t.Parallel()
	r := newReplica(t, nil, "alone", "", 1).start()
	waitReady(t, r)
	unknown := unknownCommand()
	if err := r.cfg.FSM.Check(unknown); err == nil {
		t.Fatal("the command is known: this test shows nothing")
	}
	for name, tc := range map[string]struct {
		bad  []byte
		says string
	}{
		"of an unknown kind": {unknown, "is of a kind that this program does not know"},
		"not protobuf":       {[]byte{0xff, 0xff, 0xff}, "cannot be decoded"},
		"empty":              {nil, "no command"},
		"too large":          {make([]byte, MaxCommand+1), fmt.Sprintf("takes %d bytes", MaxCommand+1)},
	} {
		ask := func(commands ...[]byte) (reply ApplyReply) {
			args := &ApplyArgs{Cluster: r.store.ClusterID(), Commands: commands, TimeoutMs: testDeadline.Milliseconds()}
			if err := (&Peer{r.Replica}).Apply(args, &reply); err != nil {
				t.Fatal(err)
			}
			return reply
		}
		before := r.raft.LastIndex()
		if reply := ask(tc.bad); reply.Outcome != outcomeNotAppended || !strings.Contains(reply.Error, tc.says) ||
			r.raft.LastIndex() != before {
			t.Errorf("%s, alone: %+v, want that it is not appended; the log ends with %d, and with %d before", name,
				reply, r.raft.LastIndex(), before)
		}
		// Beside others it spoils nothing.
		reply := ask(pushCommand(r, name+" 1", 1), tc.bad, pushCommand(r, name+" 2", 1), tc.bad)
		if reply.Outcome != outcomeApplied || len(reply.Results) != 4 {
			t.Fatalf("%s, among others: %+v", name, reply)
		}
		for i, want := range []fsm.Status{fsm.Applied, fsm.Unreadable, fsm.Applied, fsm.Unreadable} {
			got := reply.Results[i]
			if got.Status != want ||
				(want == fsm.Unreadable && (!strings.Contains(got.Reason, tc.says) ||
					strings.Contains(got.Reason, "\n"))) {
				t.Errorf("%s, among others: result %d is %+v, want %d", name, i, got, want)
			}
		}
		if r.raft.LastIndex() != before+1 || !hasJob(r, name+" 1") || !hasJob(r, name+" 2") {
			t.Errorf("%s, among others: the log has %d entries more, want one with the others", name,
				r.raft.LastIndex()-before)
		}
	}
	// Each is small enough, all are too much for an entry.
	large := padded(fsm.EncodeNoop(), disk.MaxSealed/2)
	args := &ApplyArgs{
		Cluster: r.store.ClusterID(), Commands: [][]byte{large, large},
		TimeoutMs: testDeadline.Milliseconds(),
	}
	var reply ApplyReply
	if err := (&Peer{r.Replica}).Apply(args, &reply); err != nil || reply.Outcome != outcomeNotAppended ||
		!strings.Contains(reply.Error, "at most") {
		t.Errorf("more than an entry may have: %v, outcome %d, %s", err, reply.Outcome, reply.Error)
	}
	if err := r.cfg.FSM.Err(); err != nil {
		t.Error(err)
	}
}

// padded makes a command larger, by a field that nobody knows and everybody skips.
func padded(command []byte, size int) []byte {
	n := size - len(command) - 1 - 4
	if n < 1<<21 {
		panic("a length of four bytes is meant")
	}
	out := append([]byte(nil), command...)
	out = append(out, 15<<3|2, byte(n)|0x80, byte(n>>7)|0x80, byte(n>>14)|0x80, byte(n>>21))
	return append(out, make([]byte, n)...)
}

func TestACommandOfAnotherVersionDoesNotHoldUpThoseThatTravelWithIt(t *testing.T) {
	t.Parallel()
	_, replicas := trio(t)
	leader, others := leaderOf(t, replicas)
	at := others[0]
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() { push(t, at, fmt.Sprintf("job%d", i), 1) })
	}
	// What is said is what the last attempt has come to, and that one may be cut off by the end of the time.
	eventually(t, "the command of another version is not applied, and it is said whom to upgrade", func() bool {
		ctx, cancel := context.WithTimeout(testContext(t), 3*time.Second)
		defer cancel()
		_, err := at.Apply(ctx, unknownCommand())
		if !errors.Is(err, ErrUnavailable) {
			t.Fatalf("answered with %v", err)
		}
		return strings.Contains(err.Error(), "upgrade "+leader.cfg.Name) && notApplied(err)
	})
	all.Wait()
	sameState(t, replicas...)
	for _, r := range replicas {
		if err := r.cfg.FSM.Err(); err != nil {
			t.Errorf("%s: %v", r.cfg.Name, err)
		}
	}
}

func TestTheLargestCommandFitsIntoAnEntry(t *testing.T) {
	t.Parallel()
	if size := fsm.SealedSize([][]byte{make([]byte, MaxCommand)}); size > disk.MaxSealed {
		t.Errorf("the largest command takes %d bytes sealed, an entry holds %d", size, disk.MaxSealed)
	}
	commands := [][]byte{fsm.EncodeNoop(), make([]byte, 200), make([]byte, 1<<20)}
	if size, entry := fsm.SealedSize(commands), fsm.Seal(commands, time.Now()); size != len(entry) {
		t.Errorf("an entry is measured as %d bytes, and has %d", size, len(entry))
	}
}
