package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"pushquorum/cluster/internal/gossip"
)

// inviteesT are those who are asked, by id: each answers in its own way and time.
type inviteesT struct {
	mu     sync.Mutex
	answer map[uuid.UUID]func(ctx context.Context) error
	asked  map[uuid.UUID][]time.Duration // since the beginning
	busy   map[uuid.UUID]int
	most   int // at once
	began  time.Time
}

func (v *inviteesT) ask(ctx context.Context, m gossip.Meta) error {
	v.mu.Lock()
	v.asked[m.ID] = append(v.asked[m.ID], time.Since(v.began))
	v.busy[m.ID]++
	if v.busy[m.ID] > 1 {
		panic("one is asked twice at a time")
	}
	total := 0
	for _, n := range v.busy {
		total += n
	}
	v.most = max(v.most, total)
	answer := v.answer[m.ID]
	v.mu.Unlock()
	err := answer(ctx)
	v.mu.Lock()
	v.busy[m.ID]--
	v.mu.Unlock()
	return err
}

func blackHole(context.Context) error {
	<-time.After(time.Second) // of the bubble's time: until the dial times out
	return errors.New("no answer")
}

func accepts(context.Context) error { return nil }

// party is what a test of the invitations sees of them.
type party struct {
	*inviteesT
	i       *invitations
	present []gossip.Meta
	woken   chan struct{}
}

func (p *party) comes(answer func(context.Context) error) uuid.UUID {
	id := uuid.New()
	p.mu.Lock()
	p.answer[id] = answer
	p.mu.Unlock()
	p.present = append(p.present, gossip.Meta{ID: id, Starts: 1, Seen: len(p.present)})
	return id
}

// until offers, as reconcile does, until the condition holds or time is up; it gives who has accepted.
func (p *party) until(limit time.Duration, cond func(accepted []gossip.Meta) bool) bool {
	deadline := time.After(limit)
	for {
		if cond(p.i.offer(time.Now(), p.present)) {
			return true
		}
		select {
		case <-p.woken:
		case <-time.After(100 * time.Millisecond):
		case <-deadline:
			return false
		}
	}
}

// questions tells when one was asked.
func (p *party) questions(id uuid.UUID) []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked[id])
}

func hasAccepted(id uuid.UUID) func([]gossip.Meta) bool {
	return func(accepted []gossip.Meta) bool {
		return slices.ContainsFunc(accepted, func(m gossip.Meta) bool { return m.ID == id })
	}
}

func never([]gossip.Meta) bool { return false }

func atAParty(t *testing.T, f func(t *testing.T, p *party)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var background sync.WaitGroup
		v := &inviteesT{
			answer: map[uuid.UUID]func(context.Context) error{}, asked: map[uuid.UUID][]time.Duration{},
			busy: map[uuid.UUID]int{}, began: time.Now(),
		}
		p := &party{inviteesT: v, woken: make(chan struct{}, 1)}
		p.i = &invitations{
			ask: v.ask, pause: time.Second, logger: slog.New(slog.DiscardHandler), asking: map[uuid.UUID]bool{},
			run: func(f func(context.Context)) bool { background.Go(func() { f(ctx) }); return true },
			done: func() {
				select {
				case p.woken <- struct{}{}:
				default:
				}
			},
		}
		f(t, p)
		cancel()
		background.Wait()
	})
}

func TestThousandsWhoDoNotAnswerHoldUpNobody(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after int  // phantoms that come before and after the real one
		alone         bool // it is seen before they come
		first         error
		within        time.Duration
	}{
		{name: "it comes after them", before: 2000, within: 1100 * time.Millisecond},
		{name: "they come after it", after: 2000, alone: true, within: 0},
		{name: "they come in the same moment", before: 1000, after: 1000, within: 40 * time.Second},
		{
			name: "it declines at first", before: 2000, first: fmt.Errorf("%w: it has promised", errDeclined),
			within: 2 * time.Second,
		},
		{name: "it does not answer at first", before: 2000, first: errors.New("no answer"), within: 70 * time.Second},
		{name: "a black hole beside it", before: 1, within: 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			atAParty(t, func(t *testing.T, p *party) {
				for range c.before {
					p.comes(blackHole)
				}
				p.until(50*time.Millisecond, never) // the first of them are being asked
				first := c.first
				id := p.comes(func(context.Context) error { defer func() { first = nil }(); return first })
				came := time.Now()
				if c.alone {
					p.until(0, never)
				}
				for range c.after {
					p.comes(blackHole)
				}
				if !p.until(2*time.Minute, hasAccepted(id)) || time.Since(came) > c.within {
					t.Errorf("it has accepted after %s, want %s at the latest", time.Since(came), c.within)
				}
				p.mu.Lock()
				defer p.mu.Unlock()
				if p.most > maxAsked {
					t.Errorf("%d were asked at a time, want %d at most", p.most, maxAsked)
				}
			})
		})
	}
}

func TestWhoDoesNotAnswerIsAskedLessAndLessOften(t *testing.T) {
	atAParty(t, func(t *testing.T, p *party) {
		hole, no := p.comes(blackHole), p.comes(func(context.Context) error { return errDeclined })
		p.until(40*time.Second, never)
		want := []time.Duration{
			0, 2 * time.Second, 5 * time.Second, 10 * time.Second, 19 * time.Second,
			28 * time.Second, 37 * time.Second,
		}
		if got := p.questions(hole); !slices.Equal(got, want) {
			t.Errorf("a black hole is asked at %v, want %v", got, want)
		}
		if got := len(p.questions(no)); got < 35 {
			t.Errorf("who answers is asked %d times in 40 s, want each second", got)
		}
	})
}

func TestWhoIsGoneOrStartsAgainIsForgotten(t *testing.T) {
	atAParty(t, func(t *testing.T, p *party) {
		hole, guest := p.comes(blackHole), p.comes(accepts)
		all := p.present
		p.until(12*time.Second, never)
		p.present = nil
		p.until(time.Second, never)
		if n := len(p.i.guests); n != 0 { // only offer changes them, and nobody else calls it
			t.Errorf("%d who are gone are remembered", n)
		}
		before, beforeGuest := len(p.questions(hole)), len(p.questions(guest))
		p.present = all
		p.until(100*time.Millisecond, never)
		if got := len(p.questions(hole)); got != before+1 {
			t.Errorf("come back, it is asked %d times at once, want once", got-before)
		}
		if !p.until(time.Second, hasAccepted(guest)) || len(p.questions(guest)) != beforeGuest+1 {
			t.Errorf("who accepted was asked %d times at once, want once: it has been away",
				len(p.questions(guest))-beforeGuest)
		}
		p.present = slices.Clone(all)
		p.present[1].Starts++
		p.until(100*time.Millisecond, never)
		if got := len(p.questions(guest)); got != beforeGuest+2 {
			t.Errorf("who started again was asked %d times at once, want once", got-beforeGuest-1)
		}
	})
}

func TestWhoAcceptedAndDoesNotComeInIsAskedAgain(t *testing.T) {
	atAParty(t, func(t *testing.T, p *party) {
		guest := p.comes(accepts)
		if !p.until(time.Second, hasAccepted(guest)) {
			t.Fatal("it has not accepted")
		}
		if p.until(10*time.Second, func(accepted []gossip.Meta) bool { return len(accepted) == 0 }) {
			t.Error("while it is asked again, it is none of those who have accepted")
		}
		if got := len(p.questions(guest)); got < 5 {
			t.Errorf("who accepted and stays outside is asked %d times in 10 s, want about each second", got)
		}
	})
}

func TestSideBySideIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most, sum := 0, 0, 0
		var each []int
		for i := range 100 {
			each = append(each, i)
		}
		sideBySide(each, func(i int) {
			mu.Lock()
			now, sum = now+1, sum+i
			most = max(most, now)
			mu.Unlock()
			<-time.After(time.Second) // of the bubble's time
			mu.Lock()
			now--
			mu.Unlock()
		})
		if most != maxAsked || sum != 4950 || now != 0 {
			t.Errorf("%d at a time, sum %d, %d still under way; want %d, 4950, 0", most, sum, now, maxAsked)
		}
	})
}

// swallows listens, takes everything and answers nothing.
func swallows(t *testing.T) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	return ln.Addr().String()
}

// Gossip shows 2,000 members that nobody has met; their peer port swallows everything.
func TestAReplicaJoinsPastPhantoms(t *testing.T) { // not parallel, because it measures time
	tn := newTestNet()
	r := newReplica(t, tn, "r1", freePorts(t), 1).start()
	waitReady(t, r)
	hole := swallows(t)
	for i := range 2000 {
		r.gossip.NotifyJoin(
			gossipNode(t, gossip.Meta{ID: uuid.New(), Name: fmt.Sprintf("phantom%d", i), Peer: hole, Starts: 1}))
	}
	began := time.Now()
	second := newReplica(t, tn, "r2", freePorts(t), 1, r.cfg.ListenAddress).start()
	waitReady(t, second)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("joining took %s beside 2,000 phantoms", took)
	}
	if n := len(configured(r)); n != 2 {
		t.Errorf("%d are configured, want 2", n)
	}
}

func TestTheStatusOfAClusterDoesNotWaitForPhantoms(t *testing.T) { // not parallel, because it measures time
	_, replicas := trio(t)
	hole := swallows(t)
	for range 500 {
		replicas[0].gossip.NotifyJoin(gossipNode(t, gossip.Meta{ID: uuid.New(), Peer: hole, Starts: 1}))
	}
	began := time.Now()
	healthy := 0
	for _, m := range replicas[0].Status(testContext(t)).Members {
		if m.Healthy {
			healthy++
		}
	}
	if took := time.Since(began); healthy != 3 || took > 5*time.Second {
		t.Errorf("%d replicas are healthy, found out in %s; want the 3 in a second", healthy, took)
	}
}
