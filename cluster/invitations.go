package cluster

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"pushquorum/cluster/internal/gossip"
)

const (
	// maxAsked is how many replicas are asked at a time, for an invitation or for their status.
	maxAsked = 32
	// maxDoublings bounds the pause between two invitations of one that does not answer: eight times the first pause.
	maxDoublings = 3
)

// errDeclined is wrapped when a replica was asked and said no.
var errDeclined = errors.New("declined")

func newInvitations(r *Replica) *invitations {
	return &invitations{
		ask: r.invite, run: r.spawn, done: r.gossip.Poke, pause: r.tune.reconcile, logger: r.logger,
		asking: map[uuid.UUID]bool{},
	}
}

// invitations asks those who may join whether they will. Anybody who reaches the gossip can say that there are
// thousands, and one may be cut off: so they are asked side by side, each with one question at a time, and who does not
// answer is asked less and less often. Who has failed least comes first, and among them who came last into the gossip,
// because the others have had their chance. Who has accepted and has not come in is asked again, too: its disk may have
// been put back to what it was before its answer.
type invitations struct {
	ask    func(ctx context.Context, m gossip.Meta) error
	run    func(func(context.Context)) bool // starts a goroutine that ends with the replica; false: it is closing
	done   func()                           // called when a question has ended
	pause  time.Duration                    // before the same one is asked again
	logger *slog.Logger

	mu     sync.Mutex
	guests map[uuid.UUID]*guest
	asking map[uuid.UUID]bool // who has a question to answer, guest or no longer
}

// guest is one who may join.
type guest struct {
	gossip.Meta
	accepted bool
	failures int       // since it last answered
	next     time.Time // when it may be asked again
}

// offer is told who may join now, and gives those who have accepted, in the order in which they came. All others are
// forgotten.
func (i *invitations) offer(now time.Time, present []gossip.Meta) (accepted []gossip.Meta) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.update(present)
	var due, willing []*guest
	for id, g := range i.guests {
		if g.accepted {
			willing = append(willing, g)
		}
		if !i.asking[id] && !now.Before(g.next) {
			due = append(due, g)
		}
	}
	slices.SortFunc(due, func(a, b *guest) int {
		return cmp.Or(cmp.Compare(a.failures, b.failures), cmp.Compare(b.Seen, a.Seen))
	})
	for _, g := range due[:min(len(due), maxAsked-len(i.asking))] {
		m := g.Meta
		if !i.run(func(ctx context.Context) { i.invite(ctx, g, m) }) {
			break
		}
		i.asking[m.ID] = true
	}
	slices.SortFunc(willing, func(a, b *guest) int { return cmp.Compare(a.Seen, b.Seen) })
	for _, g := range willing {
		accepted = append(accepted, g.Meta)
	}
	return accepted
}

// update makes guests those who are present. One that has started again has forgotten its answer.
func (i *invitations) update(present []gossip.Meta) {
	old := i.guests
	i.guests = make(map[uuid.UUID]*guest, len(present))
	for _, m := range present {
		g := old[m.ID]
		if g == nil || g.Starts != m.Starts {
			g = &guest{}
		}
		g.Meta = m
		i.guests[m.ID] = g
	}
}

func (i *invitations) invite(ctx context.Context, g *guest, m gossip.Meta) {
	err := i.ask(ctx, m)
	if err != nil {
		i.logger.Debug("cannot invite a replica yet", "name", m.Name, "id", m.ID, "err", err)
	}
	i.mu.Lock()
	delete(i.asking, m.ID)
	g.accepted = err == nil
	wait := i.pause
	if err == nil || errors.Is(err, errDeclined) {
		g.failures = 0
	} else {
		wait <<= min(g.failures, maxDoublings)
		g.failures++
	}
	g.next = time.Now().Add(wait)
	i.mu.Unlock()
	i.done()
}

// sideBySide calls f for each, some at a time, and waits for all.
func sideBySide[T any](each []T, f func(T)) {
	var wg sync.WaitGroup
	turn := make(chan struct{}, maxAsked)
	for _, one := range each {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			f(one)
		})
	}
	wg.Wait()
}

// before puts those first for whom it holds; otherwise the order stays.
func before[T any](each []T, first func(T) bool) {
	slices.SortStableFunc(each, func(a, b T) int {
		switch isFirst := first(a); {
		case isFirst == first(b):
			return 0
		case isFirst:
			return -1
		}
		return 1
	})
}
