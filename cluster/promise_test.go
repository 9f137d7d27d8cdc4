package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// model is a world of new replicas that try to form clusters of three while messages are late or lost, replicas restart,
// and each sees what it sees: a partition is a time in which letters are late and views differ. In some worlds there is an old
// member as well, whose cluster invites whom it sees. Only grants and forming, the real ones, decide.
//
// apart is for the model itself: what a replica decides by is read when a question arrives, and other things happen
// before it decides. That is how it once was, and must show.
type model struct {
	rng      *rand.Rand
	now      time.Time
	ttl      time.Duration
	replicas []*modelReplica
	mail     []func()
	formed   [][]uuid.UUID
	ids      []uuid.UUID // of the formed clusters
	// old is the cluster of an old member that was there before, zero: none.
	old uuid.UUID
	// homes are the clusters in which a replica has ever had state.
	homes   map[uuid.UUID][]uuid.UUID
	invited int
	resumed int // foundings that were done again after a crash
	apart   bool
}

type modelReplica struct {
	id      uuid.UUID
	grants  *grants
	forming *forming
	disk    grant
	state   bool
	bound   uuid.UUID
	// founding is what has been written down of a founding that Raft has not heard of.
	founding bool
	// stale is what the replica knew when the present question arrived, nil for now.
	stale *situation
	// round is the present question for promises; answers to an earlier one do not count.
	round *modelRound
	lives int
}

type modelRound struct {
	set     []uuid.UUID
	cluster uuid.UUID
	yes     map[uuid.UUID]bool
	life    int
}

func newModel(rng *rand.Rand, n int, old, apart bool) *model {
	m := &model{rng: rng, now: time.Unix(1000, 0), ttl: 10 * time.Second, homes: map[uuid.UUID][]uuid.UUID{}, apart: apart}
	if old {
		_, _ = rngReader{rng}.Read(m.old[:])
	}
	for range n {
		r := &modelReplica{}
		_, _ = rngReader{rng}.Read(r.id[:])
		m.boot(r)
		m.replicas = append(m.replicas, r)
	}
	return m
}

type rngReader struct{ *rand.Rand }

func (r rngReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return len(p), nil
}

func (m *model) boot(r *modelReplica) {
	r.grants = openGrants(r.id, m.ttl, r.disk, grantDisk{
		situation: func() situation { return m.situation(r) },
		save: func(g grant) error {
			r.disk = g
			return nil
		},
		bind: func(cluster uuid.UUID) error {
			if r.bound != uuid.Nil && r.bound != cluster {
				return errOtherCluster
			}
			r.bound = cluster
			return nil
		},
	})
	r.forming, r.round = &forming{}, nil
	r.lives++
	switch {
	case r.founding:
		m.settle(r)
		m.resumed++
	case !r.state:
		r.bound = uuid.Nil
	}
}

// decided is what Replica.decided tells.
func (r *modelReplica) decided(cluster uuid.UUID) bool { return r.settled() && r.bound == cluster }

func (r *modelReplica) settled() bool { return r.state || r.founding }

// ask lets a question arrive at a replica.
func (m *model) ask(to *modelReplica, decide func()) {
	if !m.apart {
		decide()
		return
	}
	s := m.situation(to)
	m.mail = append(m.mail, func() {
		to.stale = &s
		decide()
		to.stale = nil
	})
}

func (m *model) situation(r *modelReplica) situation {
	if r.stale != nil {
		return *r.stale
	}
	s := situation{now: m.now, hasState: r.state, bound: r.bound}
	if m.old != uuid.Nil && m.rng.IntN(4) > 0 { // mostly it is seen
		s.member = "old"
	}
	return s
}

func (m *model) find(id uuid.UUID) *modelReplica {
	return m.replicas[slices.IndexFunc(m.replicas, func(r *modelReplica) bool { return r.id == id })]
}

// step does one thing at random.
func (m *model) step() {
	r := m.replicas[m.rng.IntN(len(m.replicas))]
	switch n := m.rng.IntN(100); {
	case n < 20:
		m.now = m.now.Add(time.Duration(m.rng.IntN(3000)) * time.Millisecond)
	case n < 40:
		m.coordinate(r)
	case n < 75:
		if len(m.mail) > 0 {
			i := m.rng.IntN(len(m.mail))
			letter := m.mail[i]
			m.mail = slices.Delete(m.mail, i, i+1)
			if m.rng.IntN(10) > 0 { // else it is lost
				letter()
			}
		}
	case n < 85:
		m.act(r)
	case n < 88:
		m.raftTraffic(r)
	case n < 90:
		m.invite(r)
	case n < 97:
		m.askRelease(r)
	default:
		m.boot(r)
	}
}

func (m *model) coordinate(r *modelReplica) {
	if r.settled() {
		return
	}
	set := []uuid.UUID{r.id}
	for _, i := range m.rng.Perm(len(m.replicas)) {
		if len(set) < 3 && m.replicas[i] != r {
			set = append(set, m.replicas[i].id)
		}
	}
	slices.SortFunc(set, func(a, b uuid.UUID) int { return strings.Compare(a.String(), b.String()) })
	if r.round != nil && m.rng.IntN(2) == 0 {
		set = r.round.set // mostly the view does not change
	}
	cluster, err := r.forming.with(set, r.grants)
	if err != nil || r.grants.promise(cluster, r.id, set) != nil {
		return
	}
	round := &modelRound{set: set, cluster: cluster, yes: map[uuid.UUID]bool{r.id: true}, life: r.lives}
	r.round = round
	for _, id := range set {
		if id == r.id {
			continue
		}
		m.mail = append(m.mail, func() {
			to := m.find(id)
			m.ask(to, func() {
				if to.grants.promise(cluster, r.id, set) == nil {
					m.mail = append(m.mail, func() { round.yes[id] = true })
				}
			})
		})
	}
}

func (m *model) act(r *modelReplica) {
	round := r.round
	if r.settled() || round == nil || round.life != r.lives || len(round.yes) < 3 {
		return
	}
	_ = r.forming.act(round.cluster, func() error {
		err := r.grants.found(round.cluster, func() error {
			r.bound, r.founding = round.cluster, true
			m.formed, m.ids = append(m.formed, round.set), append(m.ids, round.cluster)
			return nil
		})
		if err == nil && m.rng.IntN(3) > 0 { // else Raft cannot write: it is done again after a restart
			m.settle(r)
		}
		return err
	})
}

// raftTraffic goes from a replica that formed a cluster to one of its members.
func (m *model) raftTraffic(r *modelReplica) {
	if !r.state || r.round == nil {
		return
	}
	to := m.find(r.round.set[m.rng.IntN(3)])
	if to.grants.admit(r.bound) == nil {
		m.settle(to)
	}
}

// settle gives a replica state in the cluster it is bound to.
func (m *model) settle(r *modelReplica) {
	r.state, r.founding = true, false
	if !slices.Contains(m.homes[r.id], r.bound) {
		m.homes[r.id] = append(m.homes[r.id], r.bound)
	}
}

// invite comes from the old member's cluster, and its entries after it.
func (m *model) invite(r *modelReplica) {
	if m.old == uuid.Nil {
		return
	}
	m.mail = append(m.mail, func() {
		m.ask(r, func() {
			if r.grants.invite(m.old) == nil {
				m.mail = append(m.mail, func() {
					if r.grants.admit(m.old) == nil && !r.state {
						m.settle(r)
						m.invited++
					}
				})
			}
		})
	})
}

func (m *model) askRelease(r *modelReplica) {
	cluster, coordinator, ok := r.grants.old(m.now)
	if !ok {
		return
	}
	life := r.lives
	m.mail = append(m.mail, func() {
		c := m.find(coordinator)
		if c.forming.abandon(cluster, c.grants, c.decided) == nil {
			m.mail = append(m.mail, func() {
				if r.lives == life {
					_ = r.grants.release(cluster)
				}
			})
		}
	})
}

// run plays one world and tells how one replica came to be part of two clusters in it, or can never be part of one.
func (m *model) run() error {
	for range 400 {
		m.step()
	}
	for _, r := range m.replicas {
		cluster, coordinator, ok := r.grants.old(m.now.Add(time.Hour))
		if !ok || slices.Contains(m.ids, cluster) {
			continue
		}
		c := m.find(coordinator)
		if err := c.forming.abandon(cluster, c.grants, c.decided); err != nil {
			return fmt.Errorf("%v has promised to be part of %v, which was never formed, and is never given it back: %w", r.id, cluster, err)
		}
	}
	for id, homes := range m.homes {
		if len(homes) > 1 {
			return fmt.Errorf("%v has had state in the clusters %v", id, homes)
		}
	}
	for i, a := range m.formed {
		for _, id := range a {
			if homes := m.homes[id]; len(homes) > 0 && homes[0] != m.ids[i] {
				return fmt.Errorf("%v is in the set of %v but had state in %v", id, m.ids[i], homes[0])
			}
		}
		for _, b := range m.formed[:i] {
			for _, id := range a {
				if slices.Contains(b, id) {
					return fmt.Errorf("%v and %v were both formed and share %v", a, b, id)
				}
			}
		}
	}
	return nil
}

func TestTwoClustersThatShareAReplicaNeverForm(t *testing.T) {
	t.Parallel()
	formed, invited, resumed := 0, 0, 0
	for seed := range uint64(4000) {
		m := newModel(rand.New(rand.NewPCG(seed, 1)), 3+int(seed%5), seed%4 == 3, false)
		if err := m.run(); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		formed += len(m.formed)
		invited += m.invited
		resumed += m.resumed
	}
	if formed < 300 || invited < 300 || resumed < 100 {
		t.Fatalf("only %d clusters formed in all runs, %d foundings were done again, %d replicas joined an old member: this test shows little",
			formed, resumed, invited)
	}
	t.Logf("%d clusters formed, %d foundings were done again, %d replicas joined an old member's", formed, resumed, invited)
}

// TestTheModelFindsDecisionsByWhatWasKnownBefore: were a question not judged by what is so when it is decided, the
// model would show it.
func TestTheModelFindsDecisionsByWhatWasKnownBefore(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20000) {
		if err := newModel(rand.New(rand.NewPCG(seed, 1)), 3+int(seed%5), true, true).run(); err != nil {
			t.Logf("seed %d: %v", seed, err)
			return
		}
	}
	t.Fatal("no replica came to be part of two clusters: the model cannot tell the two ways apart")
}

// TestWhatIsDecidedIsReadDecidedAndWrittenInOneStep: whatever reads the circumstances or binds does so under the one
// lock.
func TestWhatIsDecidedIsReadDecidedAndWrittenInOneStep(t *testing.T) {
	self, cluster := uuid.UUID{1}, uuid.UUID{2}
	for name, decide := range map[string]func(*grants) error{
		"a promise":         func(g *grants) error { return g.promise(cluster, uuid.UUID{3}, []uuid.UUID{self}) },
		"an invitation":     func(g *grants) error { return g.invite(cluster) },
		"a hello of Raft's": func(g *grants) error { g.held = grant{cluster, uuid.UUID{3}}; return g.admit(cluster) },
		"a founding": func(g *grants) error {
			g.held = grant{cluster, self}
			return g.found(cluster, func() error { return g.disk.bind(cluster) })
		},
		"giving it back": func(g *grants) error { g.held = grant{cluster, self}; return g.release(cluster) },
		"a second promise": func(g *grants) error {
			g.held = grant{cluster, self}
			return g.promise(cluster, self, []uuid.UUID{self})
		},
		"a refused founding": func(g *grants) error { _ = g.found(cluster, nil); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			var g *grants
			locked := func(what string) {
				if g.mu.TryLock() {
					g.mu.Unlock()
					t.Errorf("%s without the lock", what)
				}
			}
			g = openGrants(self, time.Second, grant{}, grantDisk{
				situation: func() situation { locked("the circumstances are read"); return situation{} },
				save:      func(grant) error { locked("the promise is written"); return nil },
				bind:      func(uuid.UUID) error { locked("the replica is bound"); return nil },
			})
			if err := decide(g); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestQuorumSetIsTheSameForAllWhoSeeTheSame(t *testing.T) {
	meta := func(b byte, expect int, member bool) nodeMeta {
		return nodeMeta{ID: uuid.UUID{b}, Name: string('a' + rune(b)), Expect: expect, Member: member}
	}
	for name, c := range map[string]struct {
		members []nodeMeta
		want    []uuid.UUID
	}{
		"three of three":               {[]nodeMeta{meta(3, 3, false), meta(1, 3, false), meta(2, 3, false)}, []uuid.UUID{{1}, {2}, {3}}},
		"the smallest three of four":   {[]nodeMeta{meta(4, 3, false), meta(3, 3, false), meta(1, 3, false), meta(2, 3, false)}, []uuid.UUID{{1}, {2}, {3}}},
		"two of three":                 {[]nodeMeta{meta(1, 3, false), meta(2, 3, false)}, nil},
		"one expects something else":   {[]nodeMeta{meta(1, 3, false), meta(2, 3, false), meta(3, 1, false)}, nil},
		"one has state":                {[]nodeMeta{meta(1, 3, false), meta(2, 3, false), meta(3, 3, false), meta(4, 3, true)}, nil},
		"one with state expects other": {[]nodeMeta{meta(1, 3, false), meta(2, 3, false), meta(3, 3, false), meta(4, 1, true)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := quorumSet(c.members, 3)
			if !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) {
				t.Fatalf("got %v, %v; want %v", got, err, c.want)
			}
		})
	}
}
