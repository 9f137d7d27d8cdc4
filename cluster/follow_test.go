package cluster

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"pushquorum/cluster/internal/disk"
	"pushquorum/cluster/internal/gossip"
	"pushquorum/cluster/internal/loglimit"
)

func TestANewReplicaFollowsWhomItsPeersLeadTo(t *testing.T) {
	x, y := uuid.MustParse("11111111-1111-4111-8111-111111111111"), uuid.MustParse(
		"22222222-2222-4222-8222-222222222222")
	for _, c := range []struct {
		name      string
		led, seen []uuid.UUID
		invited   uuid.UUID
		refusal   string // part of it, "" when it follows
	}{
		{"its peers belong to the cluster", []uuid.UUID{x}, []uuid.UUID{x}, x, ""},
		{"its peers belong to the cluster, and another is there as well", []uuid.UUID{x}, []uuid.UUID{x, y}, x, ""},
		{"its peers belong to another", []uuid.UUID{x}, []uuid.UUID{x, y}, y, "is led to cluster " + x.String()},
		{
			"its peers belong to another, and that alone is seen",
			[]uuid.UUID{x},
			[]uuid.UUID{x},
			y,
			"is led to cluster " + x.String(),
		},
		{"its peers belong to two", []uuid.UUID{x, y}, []uuid.UUID{x, y}, x, "is led to two clusters"},
		{"its peers are a load balancer, with one cluster behind it", nil, []uuid.UUID{x}, x, ""},
		{"it has no peers and knows nobody", nil, nil, x, ""},
		{"its peers lead to nobody, and two clusters are seen", nil, []uuid.UUID{x, y}, x, "sees two clusters"},
		{
			"its peers lead to nobody, and another cluster is seen than the one that invites", nil,
			[]uuid.UUID{x},
			y,
			"sees two clusters",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := whomToFollow(c.invited, c.led, c.seen)
			switch {
			case c.refusal == "" && err != nil:
				t.Errorf("it refuses: %v", err)
			case c.refusal != "" && err == nil:
				t.Error("it follows")
			case c.refusal != "" && (!strings.Contains(err.Error(), c.refusal) ||
				!strings.Contains(err.Error(), x.String()) || !strings.Contains(err.Error(), y.String())):
				t.Errorf("it says %q, want %q and both clusters", err, c.refusal)
			}
		})
	}
}

// followerT is a new replica that has opened no port.
func followerT(t *testing.T, logs *logBuffer, peers ...string) *Replica {
	t.Helper()
	id, err := disk.OpenIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &Replica{
		cfg: Config{Peers: peers}, id: id, places: gossip.NewPlaces(), refusals: loglimit.New(), ctx: t.Context(),
		logger: slog.New(slog.NewTextHandler(logs, nil)), gossip: gossipOf(gossip.Meta{ID: id.Get().ID}),
	}
	return r
}

func TestAnInvitationIsJudgedByWhoIsAtThePeersAddresses(t *testing.T) {
	t.Parallel()
	x, y := uuid.New(), uuid.New()
	logs := &logBuffer{}
	r := followerT(t, logs, "peers.test:7946")
	if err := r.mayFollow(y); err == nil || !strings.Contains(err.Error(), "not reached") {
		t.Errorf("before it has asked its peers: %v, want a refusal", err)
	}
	r.places.Set("peers.test:7946", []string{"127.0.0.1:7946"}) // where gossipNode is
	r.gossip.NotifyJoin(gossipNode(t, gossip.Meta{ID: uuid.New(), Cluster: x, HasRaftState: true}))
	if err := r.mayFollow(x); err != nil {
		t.Errorf("the cluster of its peer: %v", err)
	}
	for range 3 {
		if err := r.mayFollow(y); err == nil {
			t.Error("it follows another cluster than that of its peer")
		}
	}
	if n := strings.Count(logs.String(), "invited to a cluster and refused"); n != 1 {
		t.Errorf("it says so %d times within a moment, want once", n)
	}
	if err := r.id.Bind(x); err != nil {
		t.Fatal(err)
	}
	if err := r.mayFollow(y); err != nil {
		t.Errorf("bound, it leaves the answer to its promises: %v", err)
	}
}

func TestAPeerThatNobodyGossipsAtIsNoReasonToRefuse(t *testing.T) {
	r := followerT(t, &logBuffer{}, "balancer.test:7946")
	r.places.Set("balancer.test:7946", []string{"10.1.1.1:7946"})
	r.places.WereReached()
	x := uuid.New()
	r.gossip.NotifyJoin(gossipNode(t, gossip.Meta{ID: uuid.New(), Cluster: x, HasRaftState: true}))
	if err := r.mayFollow(x); err != nil {
		t.Error(err)
	}
}

func TestPlacesKeepWhatANameLastResolvedTo(t *testing.T) {
	dns := &fakeDNS{hosts: map[string][]string{}}
	p := gossip.NewPlaces()
	d := &gossip.Discovery{
		Peers: []string{"replicas.test:7946"}, Resolver: dns, Logger: slog.New(slog.DiscardHandler), Places: p,
		Known: func() map[string]bool { return nil }, Settled: func() bool { return false },
		Join: func(string) error { return nil },
		Own:  map[string]bool{},
	}
	for _, step := range []struct {
		name      string
		addresses []string
		has, not  string
	}{
		{"two addresses", []string{"10.0.0.1", "10.0.0.2"}, "10.0.0.2:7946", "10.0.0.3:7946"},
		{"one has moved", []string{"10.0.0.1", "10.0.0.3"}, "10.0.0.3:7946", "10.0.0.2:7946"},
		{"the name is gone", nil, "10.0.0.3:7946", "10.0.0.2:7946"},
	} {
		dns.set("replicas.test", step.addresses...)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		d.Round(ctx)
		cancel()
		if !p.Has(step.has) || p.Has(step.not) {
			t.Errorf("%s: has %s: %t, has %s: %t", step.name, step.has, p.Has(step.has), step.not, p.Has(step.not))
		}
	}
}

func TestPeersAreReachedWhenOneHasAnsweredOrThereIsNoOther(t *testing.T) {
	const own = "10.0.0.1:7946"
	for name, c := range map[string]struct {
		addresses []string
		joins     error
		want      bool
	}{
		"nobody answers":       {[]string{"10.0.0.1", "10.0.0.2"}, errCut, false},
		"one answers":          {[]string{"10.0.0.1", "10.0.0.2"}, nil, true},
		"all are this replica": {[]string{"10.0.0.1"}, errCut, true},
		"the name is unknown":  {nil, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			dns := &fakeDNS{hosts: map[string][]string{}}
			dns.set("replicas.test", c.addresses...)
			p := gossip.NewPlaces()
			d := &gossip.Discovery{
				Peers: []string{"replicas.test:7946"}, Resolver: dns, Logger: slog.New(slog.DiscardHandler), Places: p,
				Known: func() map[string]bool { return nil }, Settled: func() bool { return false },
				Join: func(string) error { return c.joins },
				Own:  map[string]bool{own: true},
			}
			d.Round(t.Context())
			reached := false
			select {
			case <-p.Reached:
				reached = true
			default:
			}
			if reached != c.want {
				t.Errorf("reached: %t, want %t", reached, c.want)
			}
		})
	}
}
