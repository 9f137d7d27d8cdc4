package cluster

import (
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
}

type modelReplica struct {
	id      uuid.UUID
	grants  *grants
	forming *forming
	disk    grant
	state   bool
	bound   uuid.UUID
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

func newModel(rng *rand.Rand, n int, old bool) *model {
	m := &model{rng: rng, now: time.Unix(1000, 0), ttl: 10 * time.Second, homes: map[uuid.UUID][]uuid.UUID{}}
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
	r.grants = openGrants(r.id, m.ttl, r.disk, func(g grant) error {
		r.disk = g
		return nil
	})
	r.forming, r.round = &forming{}, nil
	r.lives++
	if !r.state {
		r.bound = uuid.Nil
	}
}

func (m *model) situation(r *modelReplica) situation {
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
	if r.state {
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
	if err != nil || r.grants.promise(m.situation(r), cluster, r.id, set) != nil {
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
			if to.grants.promise(m.situation(to), cluster, r.id, set) == nil {
				m.mail = append(m.mail, func() { round.yes[id] = true })
			}
		})
	}
}

func (m *model) act(r *modelReplica) {
	round := r.round
	if r.state || round == nil || round.life != r.lives || len(round.yes) < 3 {
		return
	}
	_ = r.forming.act(round.cluster, func() error {
		if r.bound != uuid.Nil && r.bound != round.cluster {
			return errOtherCluster
		}
		r.bound = round.cluster
		m.settle(r)
		m.formed, m.ids = append(m.formed, round.set), append(m.ids, round.cluster)
		return nil
	})
}

// raftTraffic goes from a replica that formed a cluster to one of its members.
func (m *model) raftTraffic(r *modelReplica) {
	if !r.state || r.round == nil {
		return
	}
	to := m.find(r.round.set[m.rng.IntN(3)])
	if to.bound == r.bound || (to.bound == uuid.Nil && to.grants.allows(r.bound)) {
		to.bound = r.bound
		m.settle(to)
	}
}

// settle gives a replica state in the cluster it is bound to.
func (m *model) settle(r *modelReplica) {
	r.state = true
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
		if !r.state && r.grants.invite(m.situation(r), m.old) == nil && (r.bound == uuid.Nil || r.bound == m.old) {
			r.bound = m.old
			m.mail = append(m.mail, func() {
				if r.bound == m.old && !r.state {
					m.settle(r)
					m.invited++
				}
			})
		}
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
		if c.forming.abandon(cluster, c.grants, func() bool { return c.state }) == nil {
			m.mail = append(m.mail, func() {
				if r.lives == life {
					_ = r.grants.release(cluster)
				}
			})
		}
	})
}

func TestTwoClustersThatShareAReplicaNeverForm(t *testing.T) {
	formed, invited := 0, 0
	for seed := range uint64(4000) {
		m := newModel(rand.New(rand.NewPCG(seed, 1)), 3+int(seed%5), seed%4 == 3)
		for range 400 {
			m.step()
		}
		formed += len(m.formed)
		invited += m.invited
		for id, homes := range m.homes {
			if len(homes) > 1 {
				t.Fatalf("seed %d: %v has had state in the clusters %v", seed, id, homes)
			}
		}
		for i, a := range m.formed {
			for _, id := range a {
				if homes := m.homes[id]; len(homes) > 0 && homes[0] != m.ids[i] {
					t.Fatalf("seed %d: %v is in the set of %v but had state in %v", seed, id, m.ids[i], homes[0])
				}
			}
			for _, b := range m.formed[:i] {
				for _, id := range a {
					if slices.Contains(b, id) {
						t.Fatalf("seed %d: %v and %v were both formed and share %v", seed, a, b, id)
					}
				}
			}
		}
	}
	if formed < 300 {
		t.Fatalf("only %d clusters formed in all runs: this test shows little", formed)
	}
	if invited < 300 {
		t.Fatalf("only %d replicas joined an old member: this test shows little", invited)
	}
	t.Logf("%d clusters formed, %d replicas joined an old member's", formed, invited)
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
