package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"pushquorum/fsm"
)

// fakeLeader takes batches when it is told to, and remembers them.
type fakeLeader struct {
	mu      sync.Mutex
	id      raft.ServerID
	changed chan struct{}
	batches [][]string
	gate    chan struct{} // one token for each batch that may go
	what    outcome
	err     error
}

func newFakeLeader(id raft.ServerID) *fakeLeader {
	return &fakeLeader{id: id, changed: make(chan struct{}), gate: make(chan struct{}, 100), what: outcomeApplied}
}

func (l *fakeLeader) current() (raft.ServerID, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id, l.changed
}

func (l *fakeLeader) become(id raft.ServerID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.id = id
	close(l.changed)
	l.changed = make(chan struct{})
}

// send answers each command with itself.
func (l *fakeLeader) send(ctx context.Context, _ raft.ServerID, commands [][]byte) ([]fsm.Result, outcome, error) {
	var names []string
	var results []fsm.Result
	for _, c := range commands {
		names = append(names, string(c[:min(len(c), 10)]))
		results = append(results, fsm.Result{Reason: string(c[:min(len(c), 10)])})
	}
	l.mu.Lock()
	l.batches = append(l.batches, names)
	l.mu.Unlock()
	select {
	case <-l.gate:
	case <-ctx.Done():
		return nil, outcomeUnknown, ctx.Err()
	}
	if l.what != outcomeApplied {
		return nil, l.what, l.err
	}
	return results, outcomeApplied, nil
}

func (l *fakeLeader) sent() [][]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([][]string(nil), l.batches...)
}

// inBubble runs a test of a batcher in a bubble of its own, where time is fake and synctest.Wait tells when all is
// still.
func inBubble(t *testing.T, leader raft.ServerID, f func(t *testing.T, b *batcher, l *fakeLeader)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		l := newFakeLeader(leader)
		b := &batcher{leader: l.current, send: l.send, run: func(f func(context.Context)) bool {
			if ctx.Err() != nil {
				return false
			}
			go f(ctx)
			return true
		}}
		f(t, b, l)
	})
}

type answerT struct {
	result fsm.Result
	what   outcome
	err    error
}

func submit(ctx context.Context, b *batcher, command []byte) <-chan answerT {
	c := make(chan answerT, 1)
	go func() {
		results, what, err := b.submit(ctx, command)
		a := answerT{what: what, err: err}
		if what == outcomeApplied {
			a.result = results[0]
		}
		c <- a
	}()
	synctest.Wait() // so that commands come in the order of the calls
	return c
}

func TestCommandsThatComeMeanwhileTravelTogether(t *testing.T) {
	inBubble(t, "a", func(t *testing.T, b *batcher, l *fakeLeader) {
		var answers []<-chan answerT
		for i := range 10 {
			answers = append(answers, submit(t.Context(), b, fmt.Append(nil, i)))
		}
		// The first ones find a free way each; the rest waits and then goes together.
		if got, want := fmt.Sprint(l.sent()), "[[0] [1]]"; got != want {
			t.Errorf("under way is %s, want %s", got, want)
		}
		l.gate <- struct{}{}
		synctest.Wait()
		if got, want := fmt.Sprint(l.sent()), "[[0] [1] [2 3 4 5 6 7 8 9]]"; got != want {
			t.Errorf("sent is %s, want %s", got, want)
		}
		for range 2 {
			l.gate <- struct{}{}
		}
		for i, c := range answers {
			if a := <-c; a.what != outcomeApplied || a.result.Reason != fmt.Sprint(i) || a.err != nil {
				t.Errorf("command %d got %+v", i, a)
			}
		}
		synctest.Wait()
		if b.senders != 0 || len(b.waiting) != 0 {
			t.Errorf("%d senders and %d commands are left", b.senders, len(b.waiting))
		}
	})
}

// What was joined by one replica goes on together, and is answered together.
func TestCommandsThatHaveComeTogetherStayTogether(t *testing.T) {
	inBubble(t, "a", func(t *testing.T, b *batcher, l *fakeLeader) {
		for i := range 2 {
			submit(t.Context(), b, fmt.Append(nil, i))
		}
		answers := make([][]fsm.Result, 3)
		var wg sync.WaitGroup
		for i, commands := range [][][]byte{{[]byte("a")}, {[]byte("b"), []byte("c"), []byte("d")}, {[]byte("e")}} {
			wg.Go(func() {
				results, what, err := b.submit(t.Context(), commands...)
				if what != outcomeApplied || err != nil {
					t.Errorf("%s: outcome %d, %v", commands, what, err)
				}
				answers[i] = results
			})
			synctest.Wait()
		}
		for range 3 {
			l.gate <- struct{}{}
		}
		wg.Wait()
		if got, want := fmt.Sprint(l.sent()), "[[0] [1] [a b c d e]]"; got != want {
			t.Errorf("sent is %s, want %s", got, want)
		}
		if got, want := fmt.Sprint(answers), "[[{0 a}] [{0 b} {0 c} {0 d}] [{0 e}]]"; got != want {
			t.Errorf("answers are %s, want %s", got, want)
		}
	})
}

func TestABatchIsBounded(t *testing.T) {
	inBubble(t, "a", func(t *testing.T, b *batcher, l *fakeLeader) {
		for i, size := range []int{1, 1, maxBatch / 2, maxBatch / 2, 1, maxBatch + 1, 1, 1} {
			command := make([]byte, size)
			command[0] = byte('0' + i)
			submit(t.Context(), b, command)
		}
		for range 6 {
			l.gate <- struct{}{}
			synctest.Wait() // one after the other, though two are under way
		}
		var sizes []int
		for _, batch := range l.sent() {
			sizes = append(sizes, len(batch))
		}
		if got, want := fmt.Sprint(sizes), "[1 1 2 1 1 2]"; got != want {
			t.Errorf("batches have %s commands, want %s", got, want)
		}
	})
}

func TestACommandWhoseTimeIsUpSaysWhetherItWasSent(t *testing.T) {
	inBubble(t, "a", func(t *testing.T, b *batcher, l *fakeLeader) {
		long, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		short, cancelShort := context.WithTimeout(t.Context(), time.Second)
		defer cancelShort()
		sent := submit(short, b, []byte("sent"))
		other := submit(long, b, []byte("other"))
		shorter, cancelShorter := context.WithTimeout(t.Context(), time.Second/2)
		defer cancelShorter()
		waits := submit(shorter, b, []byte("waits"))
		stays := submit(long, b, []byte("stays"))
		if a := <-sent; a.what != outcomeUnknown || !errors.Is(a.err, context.DeadlineExceeded) {
			t.Errorf("the one that was sent: %+v, want that it is not known", a)
		}
		if a := <-waits; a.what != outcomeNotAppended || !errors.Is(a.err, context.DeadlineExceeded) {
			t.Errorf("the one that waited: %+v, want that it is certainly not in the log", a)
		}
		for range 3 {
			l.gate <- struct{}{}
		}
		if a := <-other; a.what != outcomeApplied {
			t.Errorf("the other: %+v", a)
		}
		if a := <-stays; a.what != outcomeApplied || a.result.Reason != "stays" {
			t.Errorf("the one behind the one that was withdrawn: %+v", a)
		}
		if got, want := fmt.Sprint(l.sent()), "[[sent] [other] [stays]]"; got != want {
			t.Errorf("sent is %s, want %s", got, want)
		}
	})
}

func TestWithoutALeaderNothingIsSent(t *testing.T) {
	inBubble(t, "", func(t *testing.T, b *batcher, l *fakeLeader) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		gone := submit(ctx, b, []byte("gone"))
		if a := <-gone; a.what != outcomeNotAppended {
			t.Errorf("without a leader: %+v, want that it is certainly not in the log", a)
		}
		c := submit(t.Context(), b, []byte("x"))
		l.become("b")
		l.gate <- struct{}{}
		if a := <-c; a.what != outcomeApplied {
			t.Errorf("once there is a leader: %+v", a)
		}
		if got, want := fmt.Sprint(l.sent()), "[[x]]"; got != want {
			t.Errorf("sent is %s, want %s", got, want)
		}
	})
}

func TestAFailedBatchFailsForAll(t *testing.T) {
	inBubble(t, "a", func(t *testing.T, b *batcher, l *fakeLeader) {
		l.what, l.err = outcomeNotAppended, raft.ErrNotLeader
		var answers []<-chan answerT
		for i := range 4 {
			answers = append(answers, submit(t.Context(), b, fmt.Append(nil, i)))
		}
		for range 3 {
			l.gate <- struct{}{}
		}
		for i, c := range answers {
			if a := <-c; a.what != outcomeNotAppended || !errors.Is(a.err, raft.ErrNotLeader) {
				t.Errorf("command %d got %+v", i, a)
			}
		}
	})
}

func TestCommandsThatWereSentAreLetGo(t *testing.T) {
	inBubble(t, "a", func(t *testing.T, b *batcher, l *fakeLeader) {
		for i := range 5 {
			submit(t.Context(), b, fmt.Append(nil, i))
		}
		gone, cancel := context.WithCancel(t.Context())
		withdrawn := submit(gone, b, []byte("withdrawn"))
		cancel()
		<-withdrawn
		for range 5 {
			l.gate <- struct{}{}
		}
		synctest.Wait()
		for i, s := range b.waiting[:cap(b.waiting)] {
			if s != nil {
				t.Errorf("the queue still holds command %q at %d", s.commands, i)
			}
		}
	})
}

// TestNothingIsSentToNobody: a command may come just when a sender that had nothing left finds no leader.
// It is not parallel, because it keeps a processor busy.
func TestNothingIsSentToNobody(t *testing.T) {
	l := newFakeLeader("r1")
	var toNobody atomic.Int64
	b := &batcher{
		leader: l.current, run: func(f func(context.Context)) bool { go f(t.Context()); return true },
		send: func(_ context.Context, leader raft.ServerID, commands [][]byte) ([]fsm.Result, outcome, error) {
			if leader == "" {
				toNobody.Add(1)
			}
			return make([]fsm.Result, len(commands)), outcomeApplied, nil
		},
	}
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				l.become("")
				runtime.Gosched()
				l.become("r1")
			}
		}
	})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range 2000 {
				if _, outcome, err := b.submit(t.Context(), []byte("x")); err != nil || outcome != outcomeApplied {
					t.Errorf("answered with %v, %v", outcome, err)
					return
				}
			}
		})
	}
	clients.Wait()
	close(done)
	all.Wait()
	if n := toNobody.Load(); n > 0 {
		t.Errorf("%d batches were sent to no leader", n)
	}
}
