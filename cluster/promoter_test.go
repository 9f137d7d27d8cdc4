package cluster

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"

	"pushquorum/cluster/internal/server"
)

func TestOnlyTheLongAbsentAreRemovedAndNeverBelowThreeVoters(t *testing.T) {
	id := func(n byte) uuid.UUID { return uuid.UUID{n} }
	voter := func(n byte, healthy bool, replaces ...uuid.UUID) *autopilot.ServerState {
		return &autopilot.ServerState{
			Server: autopilot.Server{
				ID:      serverID(id(n)),
				Address: server.Address{ID: id(n), Peer: "h:1", Name: "x", Replaces: replaces}.Encode(),
			},
			State: autopilot.RaftVoter, Health: autopilot.ServerHealth{Healthy: healthy},
		}
	}
	for name, c := range map[string]struct {
		servers      []*autopilot.ServerState
		absent       map[byte]time.Duration
		voters, rest []byte // failed
		want         []byte // removed voters
		wantRest     []byte
	}{
		"within the grace": {
			[]*autopilot.ServerState{voter(1, true), voter(2, true), voter(3, true), voter(4, false)},
			map[byte]time.Duration{4: 9},
			[]byte{4},
			nil, nil, nil,
		},
		"after the grace": {
			[]*autopilot.ServerState{voter(1, true), voter(2, true), voter(3, true), voter(4, false)},
			map[byte]time.Duration{4: 10},
			[]byte{4},
			nil,
			[]byte{4},
			nil,
		},
		"one of three": {
			[]*autopilot.ServerState{voter(1, true), voter(2, true), voter(3, false)},
			map[byte]time.Duration{3: 99},
			[]byte{3},
			nil, nil, nil,
		},
		"two of five": {[]*autopilot.ServerState{
			voter(1, true), voter(2, true), voter(3, true), voter(4, false),
			voter(5, false),
		}, map[byte]time.Duration{4: 10, 5: 20}, []byte{4, 5}, nil, []byte{4, 5}, nil},
		"of the name of a voter that took a place": {[]*autopilot.ServerState{
			voter(1, true), voter(2, true),
			voter(3, true, id(4)), voter(4, false),
		}, map[byte]time.Duration{4: 1}, []byte{4}, nil, nil, nil},
		"who does not vote": {[]*autopilot.ServerState{
			voter(1, true), voter(2, true),
			voter(3, true),
		}, map[byte]time.Duration{8: 10, 9: 9}, nil, []byte{8, 9}, nil, []byte{8}},
	} {
		t.Run(name, func(t *testing.T) {
			p := &promoter{grace: 10, gone: newAbsences(time.Second)}
			counted := map[uuid.UUID]time.Duration{}
			for n, d := range c.absent {
				counted[id(n)] = d
			}
			p.gone.TakeOver(time.Now(), counted)
			state := &autopilot.State{Servers: map[raft.ServerID]*autopilot.ServerState{}}
			for _, s := range c.servers {
				state.Servers[s.Server.ID] = s
				state.Voters = append(state.Voters, s.Server.ID)
			}
			list := func(ids []byte) (out []*autopilot.Server) {
				for _, n := range ids {
					out = append(out, &autopilot.Server{ID: serverID(id(n))})
				}
				return out
			}
			got := p.FilterFailedServerRemovals(nil, state, &autopilot.FailedServers{
				FailedVoters: list(c.voters), FailedNonVoters: list(c.rest), StaleVoters: []raft.ServerID{"stale"},
			})
			if len(got.StaleVoters)+len(got.StaleNonVoters) != 0 {
				t.Errorf("removed without a grace: %v", got.StaleVoters)
			}
			for _, x := range []struct{ got, want []*autopilot.Server }{
				{got.FailedVoters, list(c.want)},
				{got.FailedNonVoters, list(c.wantRest)},
			} {
				if !slices.EqualFunc(x.got, x.want, func(a, b *autopilot.Server) bool { return a.ID == b.ID }) {
					t.Errorf("removed %v, want %v", x.got, x.want)
				}
			}
		})
	}
}

func TestWhoIsAboutToStopIsNotGivenAVote(t *testing.T) {
	stable := &autopilot.ServerState{
		State:  autopilot.RaftNonVoter,
		Health: autopilot.ServerHealth{Healthy: true, StableSince: time.Now().Add(-time.Hour)},
	}
	p := &promoter{mayNotVote: func(id raft.ServerID) bool { return id == "leaving" }}
	got := p.CalculatePromotionsAndDemotions(&autopilot.Config{},
		&autopilot.State{Servers: map[raft.ServerID]*autopilot.ServerState{"leaving": stable, "staying": stable}})
	if !slices.Equal(got.Promotions, []raft.ServerID{"staying"}) {
		t.Errorf("promoted %v", got.Promotions)
	}
}

// TestWhatALeaderTellsOfAbsencesIsTakenOver in milliseconds, and nothing below zero, whoever sends it.
func TestWhatALeaderTellsOfAbsencesIsTakenOver(t *testing.T) {
	now := time.Now()
	there, gone := uuid.UUID{1}, uuid.UUID{2}
	leader := newAbsences(time.Minute)
	servers := []raft.ServerID{serverID(there), serverID(gone)}
	leader.look(now, slices.Values(servers), map[raft.ServerID]bool{serverID(there): true})
	follower := newAbsences(time.Minute)
	follower.told(now, leader.missing())
	if got := follower.of(serverID(gone)); got != time.Minute || follower.of(serverID(there)) != 0 {
		t.Errorf("missing for %s, want a minute; and the one that is there for %s", got, follower.of(serverID(there)))
	}
	follower.told(now, []MissingServer{{ID: gone, ForMs: -5}})
	if got := follower.of(serverID(gone)); got < 0 {
		t.Errorf("missing for %s", got)
	}
}
