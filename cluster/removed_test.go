package cluster

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/gossip"
)

// TestWhoeverIsMissedByALeadersFollowerWasRemoved goes through what the others may say to a replica that has no leader.
func TestWhoeverIsMissedByALeadersFollowerWasRemoved(t *testing.T) {
	self, other, cluster := uuid.New(), uuid.New(), uuid.New()
	for name, tc := range map[string]struct {
		leader  raft.ServerID
		without time.Duration // a leader
		answer  StatusReply
		err     error
		asks    bool
		want    bool // that it was removed
	}{
		"the leader's configuration lacks it": {
			"", time.Minute, StatusReply{Cluster: cluster, Leader: "b", Servers: []uuid.UUID{other}}, nil, true, true,
		},
		"the leader's configuration has it": {
			"", time.Minute,
			StatusReply{Cluster: cluster, Leader: "b", Servers: []uuid.UUID{other, self}},
			nil, true,
			false,
		},
		"who answers has no leader": {
			"", time.Minute, StatusReply{Cluster: cluster, Servers: []uuid.UUID{other}}, nil, true, false,
		},
		"who answers is of another cluster": {
			"", time.Minute,
			StatusReply{Cluster: uuid.New(), Leader: "b", Servers: []uuid.UUID{other}},
			nil, true,
			false,
		},
		"nobody answers": {
			"", time.Minute, StatusReply{}, errors.New("no answer"), true, false,
		},
		"it has had a leader a moment ago": {
			"", time.Second, StatusReply{Cluster: cluster, Leader: "b", Servers: []uuid.UUID{other}}, nil, false, false,
		},
		"it has a leader": {
			"b", time.Minute,
			StatusReply{Cluster: cluster, Leader: "b", Servers: []uuid.UUID{other}},
			nil, false,
			false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			leader, asked := tc.leader, false
			w := &evictionWatch{
				self: self, cluster: func() uuid.UUID { return cluster }, logger: slog.New(slog.DiscardHandler),
				leader:  func() (raft.ServerID, time.Time) { return leader, time.Now().Add(-tc.without) },
				members: func() []gossip.Meta { return []gossip.Meta{{ID: other, Name: "b"}} },
				ask: func(context.Context, uuid.UUID) (StatusReply, error) {
					asked = true
					return tc.answer, tc.err
				},
			}
			w.check(t.Context())
			if asked != tc.asks || w.evicted() != tc.want {
				t.Errorf("asked: %t, want %t; removed: %t, want %t", asked, tc.asks, w.evicted(), tc.want)
			}
			leader = "b" // who has added it again
			if w.check(t.Context()); w.evicted() {
				t.Error("with a leader it still counts as removed")
			}
		})
	}
	if (*evictionWatch)(nil).evicted() {
		t.Error("a standalone replica counts as removed")
	}
}
