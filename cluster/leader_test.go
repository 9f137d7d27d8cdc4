package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"pushquorum/fsm"
)

// fakeNode is a Raft that is told who leads, and tells nobody by itself.
type fakeNode struct {
	mu     sync.Mutex
	leader raft.ServerID
	state  raft.RaftState
	term   uint64
}

func (n *fakeNode) LeaderWithID() (raft.ServerAddress, raft.ServerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return "", n.leader
}

func (n *fakeNode) State() raft.RaftState {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.state
}

func (n *fakeNode) CurrentTerm() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.term
}

func (n *fakeNode) RegisterObserver(*raft.Observer)   {}
func (n *fakeNode) DeregisterObserver(*raft.Observer) {}

func (n *fakeNode) Apply([]byte, time.Duration) raft.ApplyFuture { return appliedT{} }

// appliedT is the future of an entry that was applied.
type appliedT struct{ raft.ApplyFuture }

func (appliedT) Error() error  { return nil }
func (appliedT) Response() any { return []fsm.Result{{}} }

func (n *fakeNode) follow(leader raft.ServerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leader, n.state = leader, raft.Follower
}

func (n *fakeNode) lead(term uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.leader, n.state, n.term = "self", raft.Leader, term
}

// newLeadershipOf watches a fake node; gains counts what onNewLeader was called for.
func newLeadershipOf(n *fakeNode, gains *int) *leadership {
	return &leadership{
		raft: n, self: "self", logger: slog.New(slog.DiscardHandler), nameOf: func(id raft.ServerID) string {
			return string(id)
		},
		onNewLeader: func() { *gains++ }, changed: make(chan struct{}), since: time.Now(),
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A leader is lost and found again between two looks: who was told in between that there is none is woken all the same.
func TestWhoIsToldOfNoLeaderIsWokenWhenTheOldOneIsBack(t *testing.T) {
	n, gains := &fakeNode{leader: "a"}, 0
	l := newLeadershipOf(n, &gains)
	l.observe()
	n.follow("")
	id, changed := l.current()
	if id != "" {
		t.Fatalf("the leader is %q, want none", id)
	}
	n.follow("a")
	l.observe()
	if !closed(changed) {
		t.Error("the channel that came with no leader stays open though one is known")
	}
	if gains != 2 {
		t.Errorf("%d gains were counted, want 2: a, and a again", gains)
	}
}

// The model: leaders come and go, looks and waiters come in between. After any look no waiter holds an open channel who
// was told something else than that look saw.
func TestNobodyWaitsForAChangeThatHasBeen(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			n, gains, want := &fakeNode{}, 0, 0
			l := newLeadershipOf(n, &gains)
			type waiter struct {
				told    raft.ServerID
				changed <-chan struct{}
			}
			var waiters []waiter
			seen := raft.ServerID("")
			for step := range 200 {
				switch random.IntN(3) {
				case 0:
					n.follow([]raft.ServerID{"", "", "a", "b", "self"}[random.IntN(5)])
					continue
				case 1:
					l.observe()
				case 2:
					id, changed := l.current()
					waiters = append(waiters, waiter{id, changed})
				}
				if n.leader != seen && n.leader != "" {
					want++
				}
				seen = n.leader
				for _, w := range waiters {
					if w.told != seen && !closed(w.changed) {
						t.Fatalf("step %d: who was told %q sleeps though %q leads", step, w.told, seen)
					}
				}
				if id, _ := l.state(); id != seen {
					t.Fatalf("step %d: the state is %q, want %q", step, id, seen)
				}
			}
			if gains != want {
				t.Errorf("%d gains were counted, want %d", gains, want)
			}
		})
	}
}

// Side by side: whoever waits for a leader gets one, however it flaps.
func TestWaitersAndFlapsSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, gains := &fakeNode{}, 0
		l := newLeadershipOf(n, &gains)
		ctx, cancel := context.WithCancel(t.Context())
		var background, waiters sync.WaitGroup
		background.Go(func() { l.run(ctx) })
		background.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				n.follow([]raft.ServerID{"a", "", "a", "", "b", ""}[i%6])
				<-time.After(7 * time.Millisecond) // of the bubble's time
			}
		})
		for i := range 8 {
			waiters.Go(func() {
				for range 50 {
					<-time.After(time.Duration(i+1) * time.Millisecond) // of the bubble's time
					for id, changed := l.current(); id == ""; id, changed = l.current() {
						<-changed
					}
				}
			})
		}
		waiters.Wait()
		cancel()
		background.Wait()
	})
}

// What the lost wake-up did: with each flap one more sender slept, and two are all there are.
func TestABatchIsSentAfterALeaderFlapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, gains := &fakeNode{leader: "a"}, 0
		l := newLeadershipOf(n, &gains)
		ctx, cancel := context.WithCancel(t.Context())
		var background sync.WaitGroup
		background.Go(func() { l.run(ctx) })
		synctest.Wait()
		b := &batcher{
			leader: l.current,
			send: func(_ context.Context, leader raft.ServerID, commands [][]byte) ([]fsm.Result, outcome, error) {
				return make([]fsm.Result, len(commands)), outcomeApplied, nil
			},
			run: func(f func(context.Context)) bool { background.Go(func() { f(ctx) }); return true },
		}
		n.follow("")
		answers := []<-chan answerT{submit(ctx, b, []byte("one")), submit(ctx, b, []byte("two"))}
		synctest.Wait() // both senders wait for a leader
		n.follow("a")
		for i, c := range answers {
			select {
			case a := <-c:
				if a.what != outcomeApplied {
					t.Errorf("command %d: %v, want applied", i+1, a.err)
				}
			case <-time.After(5 * time.Second):
				t.Errorf("command %d was not sent within 5 s of there being a leader again", i+1)
			}
		}
		cancel()
		background.Wait()
	})
}

// A term passes from a leader to the same leader: Raft says nothing, and the reader is not forgotten.
func TestAReaderWaitsForTheFirstEntryOfASilentTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, gains := &fakeNode{}, 0
		n.lead(1)
		l := newLeadershipOf(n, &gains)
		ctx, cancel := context.WithCancel(t.Context())
		var background sync.WaitGroup
		background.Go(func() { l.run(ctx) })
		for term := uint64(1); term < 4; term++ {
			n.lead(term)
			wait, done := context.WithTimeout(ctx, 2*time.Second)
			if got, err := l.waitReady(wait); got != term || err != nil {
				t.Errorf("ready in term %d, %v; want %d", got, err, term)
			}
			done()
		}
		cancel()
		background.Wait()
	})
}

// Its leadership handed over and won back at once, a replica that is stopping has no next leader to wait for.
func TestTheNextLeaderIsNotAwaitedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, gains := &fakeNode{}, 0
		n.lead(1)
		r := &Replica{serverID: "self", leader: newLeadershipOf(n, &gains)}
		if name := r.nextLeader(t.Context()); name != "" {
			t.Errorf("the next leader is %q, want none", name)
		}
	})
}
