package raftnet

import (
	"context"
	"errors"
	"io"
	"net"
	"net/rpc"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"pushquorum/cluster/internal/testkit"
)

// What is said in these tests; net/rpc wants it exported.
type (
	Question struct{ Payload []byte }
	Reply    struct{ Text string }
)

// A process that is stopped takes connections, by way of its kernel, and reads nothing.
func TestAPeerThatReadsNothingHoldsUpNoOtherCallForLong(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := NewClient(
		func(uuid.UUID) string { return ln.Addr().String() },
		net.ErrClosed,
		func(ctx context.Context, _ uuid.UUID, address string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		},
	)
	defer p.Close()
	large := make(chan error, 1)
	id := uuid.New()
	go func() {
		large <- p.Call(t.Context(), id, "Apply", &Question{Payload: make([]byte, 48<<20)}, new(Reply))
	}()
	testkit.Eventually(t, "the large call is under way", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.conns[id] != nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = p.Call(ctx, id, "ReadIndex", &Question{}, new(Reply))
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the call behind it: %v, want an error before its time is up", err)
	}
	select {
	case err := <-large:
		if err == nil || errors.Is(err, ErrNotSent) {
			t.Errorf("the large call: %v, want an error that leaves open whether it was seen", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the large call still waits")
	}
}

// deafPeer answers to Status, unless it is dead, and to Apply when it is told to.
type deafPeer struct {
	apply chan struct{}
}

func (p *deafPeer) Status(_ *Question, reply *Reply) error {
	reply.Text = "alive"
	return nil
}

func (p *deafPeer) Apply(_ *Question, _ *Reply) error {
	<-p.apply
	return nil
}

// hosts is a network of fake hosts, each at an address; a dead one takes everything and answers nothing.
type hosts struct {
	mu    sync.Mutex
	at    string // where the peer is said to be
	dead  map[string]bool
	peer  deafPeer
	dials []string
	conns []net.Conn
}

func (h *hosts) where(uuid.UUID) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at
}

func (h *hosts) move(address string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at = address
}

func (h *hosts) dial(_ context.Context, _ uuid.UUID, address string) (net.Conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dials = append(h.dials, address)
	here, there := net.Pipe()
	h.conns = append(h.conns, there)
	if h.dead[address] {
		go func() { _, _ = io.Copy(io.Discard, there) }()
		return here, nil
	}
	server := rpc.NewServer()
	if err := server.RegisterName("Peer", &h.peer); err != nil {
		return nil, err
	}
	go server.ServeConn(there)
	return here, nil
}

func (h *hosts) dialled() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.dials)
}

func (h *hosts) close() {
	close(h.peer.apply)
	for _, c := range h.conns {
		_ = c.Close()
	}
}

// A dead host is noticed by what it owes, whatever the single calls' deadlines and the pauses between them.
func TestASilentConnectionIsGivenUp(t *testing.T) {
	type step struct {
		wait    time.Duration // before the call
		method  string
		timeout time.Duration
	}
	status := func(wait, timeout time.Duration) step { return step{wait, "Status", timeout} }
	apply := func(wait, timeout time.Duration) step { return step{wait, "Apply", timeout} }
	for _, c := range []struct {
		name  string
		dead  bool
		steps []step
		took  time.Duration // the last call
		dials int           // in all
	}{
		{
			name: "eight calls of a second each", dead: true,
			steps: []step{
				status(0, time.Second), status(0, time.Second), status(0, time.Second), status(0, time.Second),
				status(0, time.Second), status(0, time.Second), status(0, time.Second), status(0, time.Second),
			},
			took: time.Second, dials: 4,
		},
		{
			name: "a short call, and another one after a while", dead: true,
			steps: []step{status(0, 10*time.Millisecond), status(5*time.Second, time.Second)}, took: time.Second,
			dials: 2,
		},
		{name: "one long call", dead: true, steps: []step{apply(0, time.Minute)}, took: silentAfter, dials: 1},
		{
			name: "a long call after a short one", dead: true,
			steps: []step{status(0, time.Second), apply(500*time.Millisecond, time.Minute)},
			took:  500 * time.Millisecond, dials: 1,
		},
		{
			name:  "a living one that is asked now and then",
			steps: []step{status(0, time.Second), status(time.Minute, time.Second)}, dials: 1,
		},
		{
			name: "a living one with a slow answer, given up",
			steps: []step{
				apply(0, time.Second), status(500*time.Millisecond, time.Second),
				status(time.Minute, time.Second),
			}, dials: 1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hosts{at: "a", dead: map[string]bool{"a": c.dead}, peer: deafPeer{apply: make(chan struct{})}}
				p, id := NewClient(h.where, net.ErrClosed, h.dial), uuid.New()
				var took time.Duration
				for i, s := range c.steps {
					<-time.After(s.wait) // of the bubble's time
					ctx, cancel := context.WithTimeout(t.Context(), s.timeout)
					began := time.Now()
					err := p.Call(ctx, id, s.method, &Question{}, new(Reply))
					cancel()
					took = time.Since(began)
					if silent := c.dead || s.method == "Apply"; silent != (err != nil) {
						t.Errorf("call %d: %v", i+1, err)
					}
					if errors.Is(err, ErrNotSent) {
						t.Errorf("call %d: %v, though it may have been seen", i+1, err)
					}
				}
				if took != c.took || h.dialled() != c.dials {
					t.Errorf(
						"the last call took %s and the host was dialled %d times, want %s and %d",
						took,
						h.dialled(),
						c.took,
						c.dials,
					)
				}
				p.Close()
				h.close()
			})
		})
	}
}

// While a slow answer is waited for, others show that the peer lives.
func TestASlowAnswerIsAwaitedWhileThePeerLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hosts{at: "a", peer: deafPeer{apply: make(chan struct{})}}
		p, id := NewClient(h.where, net.ErrClosed, h.dial), uuid.New()
		slow := make(chan error, 1)
		go func() { slow <- p.Call(t.Context(), id, "Apply", &Question{}, new(Reply)) }()
		for range 60 {
			<-time.After(time.Second) // of the bubble's time
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := p.Call(ctx, id, "Status", &Question{}, new(Reply)); err != nil {
				t.Error(err)
			}
			cancel()
		}
		h.peer.apply <- struct{}{}
		if err := <-slow; err != nil {
			t.Errorf("the slow call: %v", err)
		}
		if h.dialled() != 1 {
			t.Errorf("dialled %d times, want once", h.dialled())
		}
		p.Close()
		h.close()
	})
}

// A replica that has moved is called where it is now, and who waits at its old place learns that at once.
func TestAConnectionToWhereAPeerWasIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hosts{at: "old", dead: map[string]bool{"old": true}, peer: deafPeer{apply: make(chan struct{})}}
		p, id := NewClient(h.where, net.ErrClosed, h.dial), uuid.New()
		began, waiting := time.Now(), make(chan error, 1)
		go func() { waiting <- p.Call(t.Context(), id, "Apply", &Question{}, new(Reply)) }()
		synctest.Wait()
		p.Moved(id, "old")
		synctest.Wait()
		if h.dialled() != 1 || len(waiting) != 0 {
			t.Error("news of the same address ended a call")
		}
		h.move("new")
		p.Moved(id, "new")
		if err := <-waiting; err == nil || errors.Is(err, ErrNotSent) || time.Since(began) > 0 {
			t.Errorf(
				"the call at the old place ended after %s with %v, want an error at once that leaves open whether it "+
					"was seen",
				time.Since(began),
				err,
			)
		}
		if err := p.Call(t.Context(), id, "Status", &Question{}, new(Reply)); err != nil {
			t.Errorf("the call at the new place: %v", err)
		}
		p.Close()
		h.close()
	})
}

// The news comes while the old place is being dialled.
func TestADialToWhereAPeerWasIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hosts{at: "old", dead: map[string]bool{"old": true}, peer: deafPeer{apply: make(chan struct{})}}
		gate := make(chan struct{})
		p := NewClient(
			h.where,
			net.ErrClosed,
			func(ctx context.Context, id uuid.UUID, address string) (net.Conn, error) {
				if address == "old" {
					<-gate
				}
				return h.dial(ctx, id, address)
			},
		)
		id, old := uuid.New(), make(chan error, 1)
		go func() { old <- p.Call(t.Context(), id, "Status", &Question{}, new(Reply)) }()
		synctest.Wait()
		h.move("new")
		p.Moved(id, "new")
		close(gate)
		synctest.Wait()
		if err := p.Call(t.Context(), id, "Status", &Question{}, new(Reply)); err != nil {
			t.Errorf("the call at the new place: %v", err)
		}
		if err := <-old; err == nil {
			t.Error("the call at the old place was answered")
		}
		p.Close()
		h.close()
	})
}
