package formation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// model is a world of new replicas that try to form clusters of three while messages are late or lost, replicas
// restart, and each sees what it sees: a partition is a time in which letters are late and views differ. In some worlds
// there is an old member as well, whose cluster invites whom it sees. Only Promises and Attempt, the real ones, decide.
//
// apart is for the model itself: what a replica decides by is read when a question arrives, and other things happen
// before it decides. That is how it once was, and must show.
type model struct {
	rng      *rand.Rand
	draw     *rand.Rand // of cluster ids
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
	id       uuid.UUID
	promises *Promises
	attempt  *Attempt
	disk     Promise
	state    bool
	bound    uuid.UUID
	// founding is what has been written down of a founding that Raft has not heard of.
	founding bool
	// stale is what the replica knew when the present question arrived, nil for now.
	stale *LocalView
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
	m := &model{
		rng:   rng,
		now:   time.Unix(1000, 0),
		ttl:   10 * time.Second,
		homes: map[uuid.UUID][]uuid.UUID{},
		apart: apart,
	}
	m.draw = rand.New(rand.NewPCG(1, 2))
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

// newID draws apart from everything else, so that a seed goes on to show the same world.
func (m *model) newID() (id uuid.UUID, err error) {
	_, err = rngReader{m.draw}.Read(id[:])
	return id, err
}

func (m *model) boot(r *modelReplica) {
	r.promises = OpenPromises(r.id, m.ttl, r.disk, Environment{
		View: func() LocalView { return m.view(r) },
		Save: func(p Promise) error {
			r.disk = p
			return nil
		},
		Bind: func(cluster uuid.UUID) error {
			if r.bound != uuid.Nil && r.bound != cluster {
				return ErrOtherCluster
			}
			r.bound = cluster
			return nil
		},
	})
	r.attempt, r.round = NewAttempt(r.promises, m.newID, r.decided), nil
	r.lives++
	switch {
	case r.founding:
		m.settle(r)
		m.resumed++
	case !r.state:
		r.bound = uuid.Nil
	}
}

// decided is what cluster tells an Attempt.
func (r *modelReplica) decided(cluster uuid.UUID) bool { return r.settled() && r.bound == cluster }

func (r *modelReplica) settled() bool { return r.state || r.founding }

// ask lets a question arrive at a replica.
func (m *model) ask(to *modelReplica, decide func()) {
	if !m.apart {
		decide()
		return
	}
	s := m.view(to)
	m.mail = append(m.mail, func() {
		to.stale = &s
		decide()
		to.stale = nil
	})
}

func (m *model) view(r *modelReplica) LocalView {
	if r.stale != nil {
		return *r.stale
	}
	s := LocalView{Now: m.now, HasState: r.state, Bound: r.bound}
	if m.old != uuid.Nil && m.rng.IntN(4) > 0 { // mostly it is seen
		s.Member = "old"
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
	cluster, err := r.attempt.Begin(set)
	if err != nil || r.promises.Prepare(cluster, r.id, set) != nil {
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
				if to.promises.Prepare(cluster, r.id, set) == nil {
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
	_ = r.attempt.Commit(round.cluster, func() error {
		err := r.promises.Found(round.cluster, func() error {
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
	if to.promises.Admit(r.bound) == nil {
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
			if r.promises.Invite(m.old) == nil {
				m.mail = append(m.mail, func() {
					if r.promises.Admit(m.old) == nil && !r.state {
						m.settle(r)
						m.invited++
					}
				})
			}
		})
	})
}

func (m *model) askRelease(r *modelReplica) {
	held, ok := r.promises.Overdue(m.now)
	if !ok {
		return
	}
	life := r.lives
	m.mail = append(m.mail, func() {
		if m.find(held.Coordinator).attempt.Release(held.Cluster) == nil {
			m.mail = append(m.mail, func() {
				if r.lives == life {
					_ = r.promises.Release(held.Cluster)
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
		held, ok := r.promises.Overdue(m.now.Add(time.Hour))
		if !ok || slices.Contains(m.ids, held.Cluster) {
			continue
		}
		if err := m.find(held.Coordinator).attempt.Release(held.Cluster); err != nil {
			return fmt.Errorf(
				"%v has promised to be part of %v, which was never formed, and is never given it back: %w",
				r.id,
				held.Cluster,
				err,
			)
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
		t.Fatalf(
			"only %d clusters formed in all runs, %d foundings were done again, %d replicas joined an old member: "+
				"this test shows little",
			formed,
			resumed,
			invited,
		)
	}
	t.Logf(
		"%d clusters formed, %d foundings were done again, %d replicas joined an old member's",
		formed,
		resumed,
		invited,
	)
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
	for name, decide := range map[string]func(*Promises) error{
		"a promise":     func(p *Promises) error { return p.Prepare(cluster, uuid.UUID{3}, []uuid.UUID{self}) },
		"an invitation": func(p *Promises) error { return p.Invite(cluster) },
		"a hello of Raft's": func(p *Promises) error {
			p.held = Promise{cluster, uuid.UUID{3}}
			return p.Admit(cluster)
		},
		"a founding": func(p *Promises) error {
			p.held = Promise{cluster, self}
			return p.Found(cluster, func() error { return p.env.Bind(cluster) })
		},
		"giving it back": func(p *Promises) error { p.held = Promise{cluster, self}; return p.Release(cluster) },
		"a second promise": func(p *Promises) error {
			p.held = Promise{cluster, self}
			return p.Prepare(cluster, self, []uuid.UUID{self})
		},
		"a refused founding": func(p *Promises) error { _ = p.Found(cluster, nil); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			var p *Promises
			locked := func(what string) {
				if p.mu.TryLock() {
					p.mu.Unlock()
					t.Errorf("%s without the lock", what)
				}
			}
			p = OpenPromises(self, time.Second, Promise{}, Environment{
				View: func() LocalView { locked("the circumstances are read"); return LocalView{} },
				Save: func(Promise) error { locked("the promise is written"); return nil },
				Bind: func(uuid.UUID) error { locked("the replica is bound"); return nil },
			})
			if err := decide(p); err != nil {
				t.Fatal(err)
			}
		})
	}
}
