package cluster

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/disk"
	"pushquorum/fsm"
)

// notApplied tells whether an error says for certain that the command is in no log.
func notApplied(err error) bool {
	var not *fsm.NotAppliedError
	return errors.As(err, &not)
}

// TestAnErrorSaysForCertainThatNothingWasAppliedOrNothingOfIt goes through what attempts of one command may come to, in
// their order; after the last one time is up.
func TestAnErrorSaysForCertainThatNothingWasAppliedOrNothingOfIt(t *testing.T) {
	type attempt struct {
		what   outcome
		status fsm.Status
		err    error
	}
	lost := attempt{what: outcomeUnknown, err: raft.ErrLeadershipLost}
	never := attempt{what: outcomeNotAppended, err: raft.ErrNotLeader}
	unreadable := attempt{what: outcomeApplied, status: fsm.Unreadable}
	full := attempt{what: outcomeApplied, status: fsm.Full}
	noSpace := attempt{what: outcomeApplied, status: fsm.NoSpace}
	for name, test := range map[string]struct {
		attempts []attempt
		certain  bool // that it was not applied
	}{
		"never sent":                           {nil, true}, // the replica is stopping
		"not appended":                         {[]attempt{never}, true},
		"not appended, again and again":        {[]attempt{never, never, never}, true},
		"unreadable for the leader":            {[]attempt{unreadable}, true},
		"unreadable, then not appended":        {[]attempt{unreadable, never}, true},
		"leadership lost":                      {[]attempt{lost}, false},
		"not appended, then leadership lost":   {[]attempt{never, lost}, false},
		"leadership lost, then not appended":   {[]attempt{lost, never}, false},
		"leadership lost, then unreadable":     {[]attempt{lost, unreadable}, false},
		"leadership lost, then a full store":   {[]attempt{lost, full}, false},
		"leadership lost, then no room at all": {[]attempt{lost, noSpace, never}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				node := &fakeNode{leader: "a"}
				r := &Replica{
					serverID: "a", tune: defaultTuning(), dir: &disk.Watch{}, metrics: newMetrics(), ctx: t.Context(),
					leader: &leadership{
						raft: node, self: "a", logger: slog.New(slog.DiscardHandler), changed: make(chan struct{}),
						nameOf: func(id raft.ServerID) string { return string(id) }, onNewLeader: func() {},
					},
				}
				left := test.attempts
				r.toLog = &batcher{
					leader: r.leader.current,
					run:    func(f func(context.Context)) bool { go f(ctx); return len(test.attempts) > 0 },
					send: func(context.Context, raft.ServerID, [][]byte) ([]fsm.Result, outcome, error) {
						next := left[0]
						if len(left) > 1 {
							left = left[1:] // the last one is repeated until time is up
						}
						if next.what == outcomeApplied {
							return []fsm.Result{{Status: next.status, Reason: "a reason"}}, next.what, nil
						}
						return nil, next.what, next.err
					},
				}
				_, err := r.Apply(ctx, []byte("x"))
				if !errors.Is(err, ErrUnavailable) || notApplied(err) != test.certain {
					t.Errorf("got %v, certainly not applied: %v, want %v", err, notApplied(err), test.certain)
				}
				for _, fate := range []string{"applied", "stored", "known"} { // which only the type says
					if err != nil && strings.Contains(err.Error(), fate) {
						t.Errorf("the text says something about it, too: %v", err)
					}
				}
			})
		})
	}
}
