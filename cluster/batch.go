package cluster

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"pushquorum/fsm"
)

const (
	// maxBatch bounds the commands that travel together; a larger one travels alone. Bytes.
	maxBatch = 256 << 10
	// maxBatches is how many batches of one batcher are under way at a time: while one is on its way, the next one
	// gathers.
	maxBatches = 2
	// maxIdleYields bounds the wait of a batch for more: it is sent once so many yields in a row have brought no new
	// command.
	maxIdleYields = 6
)

// batcher sends commands on. Those that come while others are under way go together. A replica has two, one for each
// half of the trip: Replica.toLeader sends to the leader, in one call; Replica.toLog appends what has come to the
// leader, from wherever, in one entry of the log and with one sync of each disk.
type batcher struct {
	// leader gives the present leader, "" when none is known, and a channel that is closed when that may have changed.
	leader func() (raft.ServerID, <-chan struct{})
	// send has commands applied, all or none, by that leader.
	send func(ctx context.Context, leader raft.ServerID, commands [][]byte) ([]fsm.Result, outcome, error)
	run  func(func(context.Context)) bool // starts a goroutine that ends with the replica; false: it is closing

	mu      sync.Mutex
	waiting []*submission // oldest first
	senders int
}

// submission is a command on its way, or some that have come together.
type submission struct {
	commands [][]byte
	size     int // bytes
	deadline time.Time
	sent     bool          // guarded by batcher.mu
	done     chan struct{} // closed when what follows is set
	results  []fsm.Result
	outcome  outcome
	err      error
}

// submit has commands applied once, together with others, and waits until ctx ends.
func (b *batcher) submit(ctx context.Context, commands ...[]byte) ([]fsm.Result, outcome, error) {
	s := &submission{commands: commands, done: make(chan struct{})}
	for _, c := range commands {
		s.size += len(c)
	}
	var ok bool
	if s.deadline, ok = ctx.Deadline(); !ok {
		s.deadline = time.Now().Add(defaultTimeout)
	}
	if !b.enqueue(s) {
		return nil, outcomeNotAppended, errClosing
	}
	select {
	case <-s.done:
		return s.results, s.outcome, s.err
	case <-ctx.Done():
	}
	if b.withdraw(s) {
		return nil, outcomeNotAppended, fmt.Errorf("it was not its turn in time: %w", context.Cause(ctx))
	}
	select {
	case <-s.done: // just now, which is better than not to know
		return s.results, s.outcome, s.err
	default:
	}
	return nil, outcomeUnknown, fmt.Errorf("no quorum confirmed it in time: %w", context.Cause(ctx))
}

// enqueue has commands wait for a sender, and starts one unless there are enough; false: the replica is closing.
func (b *batcher) enqueue(s *submission) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.senders < maxBatches {
		if !b.run(b.sendBatches) {
			return false
		}
		b.senders++
	}
	b.waiting = append(b.waiting, s)
	return true
}

// withdraw takes commands back unless they have been sent, and tells whether it did.
func (b *batcher) withdraw(s *submission) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.sent {
		return false
	}
	b.waiting = slices.DeleteFunc(b.waiting, func(other *submission) bool { return other == s })
	return true
}

// sendBatches sends one batch after the other until no command waits.
func (b *batcher) sendBatches(ctx context.Context) {
	for {
		leader, changed := b.leader()
		if leader == "" && ctx.Err() == nil {
			if b.endIdle() {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		b.gather()
		batch := b.nextBatch()
		if batch == nil {
			return
		}
		b.sendBatch(ctx, leader, batch)
	}
}

// endIdle ends a sender for which no command waits, and tells whether it did.
func (b *batcher) endIdle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) > 0 {
		return false
	}
	b.senders--
	return true
}

func (b *batcher) countWaiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)
}

// gather yields to others for as long as commands come of it. Clients that were answered together come back together: a
// batch of the first of them alone would make a round for itself, and the others wait for it.
func (b *batcher) gather() {
	for n, idle := b.countWaiting(), 0; idle < maxIdleYields; idle++ {
		runtime.Gosched()
		if now := b.countWaiting(); now != n {
			n, idle = now, 0
		}
	}
}

// nextBatch returns the oldest commands that may travel together, nil when none waits and the sender has to end.
func (b *batcher) nextBatch() []*submission {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, size := 0, 0
	for n < len(b.waiting) && (n == 0 || size+b.waiting[n].size <= maxBatch) {
		size += b.waiting[n].size
		b.waiting[n].sent = true
		n++
	}
	if n == 0 {
		b.senders--
		return nil
	}
	batch := slices.Clone(b.waiting[:n])
	b.waiting = slices.Delete(b.waiting, 0, n) // which clears what it deletes, for the garbage collector
	return batch
}

// sendBatch sends a batch, and tells those who wait what has become of it. It takes as long as the most patient of them
// waits.
func (b *batcher) sendBatch(ctx context.Context, leader raft.ServerID, batch []*submission) {
	var commands [][]byte
	last := batch[0].deadline
	for _, s := range batch {
		commands = append(commands, s.commands...)
		if s.deadline.After(last) {
			last = s.deadline
		}
	}
	ctx, cancel := context.WithDeadline(ctx, last)
	defer cancel()
	results, outcome, err := b.send(ctx, leader, commands)
	for _, s := range batch {
		s.outcome, s.err = outcome, err
		if outcome == outcomeApplied {
			n := len(s.commands)
			s.results, results = results[:n:n], results[n:]
		}
		close(s.done)
	}
}
