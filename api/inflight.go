package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"time"
)

const (
	// smallBody is how large the body of a push may be, on the wire and decompressed, to go by the lane for small
	// ones.
	smallBody = 64 << 10
	// smallCost is what decoding such a body may take.
	smallCost = 1 << 20
	// smallHold is what a small push holds at most, of its body in both forms and of its command.
	smallHold = 4 * smallBody
)

// inFlight bounds the memory of pushes that are under way: all that a push takes is taken here before it is
// allocated. A quarter is for bodies and commands, half for what decoding makes of bodies, and an eighth each for the
// same of small pushes, which have a lane of their own: they never wait for a large one. Where a push waits, it holds
// nothing that another one, which it could be waiting for, may be waiting for: bodies that wait to be decoded do not
// keep the memory of those that are being decoded.
type inFlight struct {
	limit    int64         // bytes, of all
	longest  time.Duration // that a push waits for a part
	requests *pool
	drains   *pool // refused bodies of which the rest is read

	small, large           *pool // bytes of bodies and commands
	decoding               *pool // bytes that large bodies are decoded into
	smallTurns, largeTurns *pool // bodies that are being decoded; a small one may take smallCost
}

func newInFlight(limit int64, requests int, longest time.Duration) *inFlight {
	processors := int64(runtime.GOMAXPROCS(0)) // more at a time would be no faster
	return &inFlight{
		limit: limit, longest: longest, requests: newPool(int64(requests)), drains: newPool(max(1, int64(requests)/8)),
		small: newPool(limit / 8), large: newPool(limit / 4), decoding: newPool(limit / 2),
		smallTurns: newPool(min(processors, max(1, limit/8/smallCost))), largeTurns: newPool(processors),
	}
}

// bytes is how many are taken.
func (f *inFlight) bytes() int64 {
	return f.small.taken.Load() + f.large.taken.Load() + f.decoding.taken.Load() + smallCost*f.smallTurns.taken.Load()
}

// wait takes n from a part, or says why not.
func (f *inFlight) wait(ctx context.Context, part *pool, n int64) *problem {
	err := part.take(ctx, n, f.longest)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errWait
	}
	if err != nil {
		return f.busy(err)
	}
	return nil
}

func (f *inFlight) busy(reason error) *problem {
	return unavailable(pushing.nothingDone(false, fmt.Sprintf("too much is being pushed at a time, %v: if that goes on, raise --push.max-bytes-in-flight=%d", reason, f.limit)))
}

// tooMany is the answer to a push that comes when there are as many as may be.
func (f *inFlight) tooMany() *problem {
	return unavailable(pushing.nothingDone(false, fmt.Sprintf(
		"as many pushes are under way as may be, %d; if that goes on, raise --push.max-requests=%[1]d", f.requests.size,
	)))
}

// neverFits is the answer to a push that would be refused each time.
func (f *inFlight) neverFits(n int64, to string, part *pool) *problem {
	return &problem{http.StatusRequestEntityTooLarge, fmt.Sprintf(
		"the push would take %d bytes or more to %s, and may take %d: push less at once, or raise --push.max-bytes-in-flight=%d",
		n, to, part.size, f.limit,
	)}
}

// freeHold is what each push may have beside the parts, which is bounded by the number of pushes: so the bodies of most
// pushes never wait, however many others arrive slowly.
const freeHold = int64(len(wireBuffer{}))

// hold is what a push has taken for its body, and then for its command.
type hold struct {
	in    *inFlight
	large bool
	n     int64 // bytes, with what is free
}

func charged(n int64) int64 { return max(0, n-freeHold) }

// begin waits for the first n bytes.
func (h *hold) begin(ctx context.Context, n int64) *problem {
	take := charged(n)
	h.large = n > smallBody
	if take > h.part().size {
		h.large = true // of which there is more
	}
	if take > h.part().size {
		return h.in.neverFits(n, "receive", h.part())
	}
	if take > 0 {
		if p := h.in.wait(ctx, h.part(), take); p != nil {
			return p
		}
	}
	h.n = n
	return nil
}

func (h *hold) part() *pool {
	if h.large {
		return h.in.large
	}
	return h.in.small
}

// resize takes, or gives back, what there is to n bytes. It does not wait.
func (h *hold) resize(n int64) *problem {
	before, after := charged(h.n), charged(n)
	switch large := h.in.large; {
	case after <= before:
		h.part().give(before - after)
	case !h.large && n <= smallHold && h.in.small.try(after-before):
	case after > large.size:
		return h.in.neverFits(n, "receive", large)
	case h.large && !large.try(after-before), !h.large && !large.try(after):
		return h.in.busy(errTaken)
	case !h.large:
		h.in.small.give(before)
		h.large = true
	}
	h.n = n
	return nil
}

func (h *hold) end() {
	h.part().give(charged(h.n))
	h.n = 0
}

// turn is a body that is being decoded.
type turn struct {
	in     *inFlight
	turns  *pool // nil: none has been taken
	memory int64 // of inFlight.decoding
}

// begin waits for a turn.
func (t *turn) begin(ctx context.Context, large bool) *problem {
	turns := t.in.smallTurns
	if large {
		turns = t.in.largeTurns
	}
	if turns == t.turns {
		return nil
	}
	t.end()
	p := t.in.wait(ctx, turns, 1)
	if p == nil {
		t.turns = turns
	}
	return p
}

// afford waits for the memory that decoding takes; what was taken for another way to decode the same is given back.
func (t *turn) afford(ctx context.Context, cost int64) *problem {
	if t.turns == t.in.smallTurns && cost <= smallCost {
		return nil
	}
	if cost > t.in.decoding.size {
		return t.in.neverFits(cost, "decode", t.in.decoding)
	}
	if p := t.begin(ctx, true); p != nil {
		return p
	}
	t.in.decoding.give(t.memory)
	t.memory = 0
	p := t.in.wait(ctx, t.in.decoding, cost)
	if p == nil {
		t.memory = cost
	}
	return p
}

func (t *turn) end() {
	t.in.decoding.give(t.memory)
	if t.turns != nil {
		t.turns.give(1)
	}
	t.memory, t.turns = 0, nil
}
