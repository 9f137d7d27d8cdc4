package cluster

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/google/uuid"
)

// A process that is stopped takes connections, by way of its kernel, and reads nothing.
func TestAPeerThatReadsNothingHoldsUpNoOtherCallForLong(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := newPeers(func(ctx context.Context, _ uuid.UUID) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", ln.Addr().String())
	})
	defer p.Close()
	large := make(chan error, 1)
	id := uuid.New()
	go func() {
		large <- p.call(t.Context(), id, "Apply", &ApplyArgs{Commands: [][]byte{make([]byte, 48<<20)}}, new(ApplyReply))
	}()
	eventually(t, "the large call is under way", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.conns[id] != nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), testDeadline)
	defer cancel()
	err = p.call(ctx, id, "ReadIndex", &ReadIndexArgs{}, new(ReadIndexReply))
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the call behind it: %v, want an error before its time is up", err)
	}
	select {
	case err := <-large:
		if err == nil || errors.Is(err, errNotSent) {
			t.Errorf("the large call: %v, want an error that leaves open whether it was seen", err)
		}
	case <-time.After(testDeadline):
		t.Error("the large call still waits")
	}
}

// An entry without a command would halt every replica, and be there again after a restart.
func TestACallWithoutCommandsReachesNoLog(t *testing.T) {
	_, replicas := trio(t)
	leader, others := leaderOf(t, replicas)
	for _, commands := range [][][]byte{nil, {}, {nil}, {{}, nil}} {
		args := &ApplyArgs{Cluster: leader.store.clusterID(), Commands: commands, TimeoutMs: 2000}
		var reply ApplyReply
		if err := others[0].peers.call(testContext(t), leader.self, "Apply", args, &reply); err != nil {
			t.Fatal(err)
		}
		if reply.Outcome != outcomeNotAppended {
			t.Errorf("%d commands: %+v, want that they are not appended", len(commands), reply)
		}
	}
	push(t, leader, "after", 1)
	sameState(t, replicas...)
}
