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
	// smallBody is how large the body of a small push may be, on the wire and decompressed.
	smallBody = 64 << 10
	// smallCost is what decoding such a body may take.
	smallCost = 1 << 20
	// smallMemory is what a small push holds at most: its body, compressed and decompressed, and its command.
	smallMemory = 4 * smallBody
)

// inFlight bounds the memory of the pushes that are under way: a push acquires here whatever it is about to allocate. A
// quarter of the limit is for bodies and commands, half for what bodies are decoded into. An eighth each is for the
// same of small pushes, which therefore never wait for a large one. All pushes acquire the parts in one order (body,
// decode slot, decode memory), so that no two wait for each other.
type inFlight struct {
	limit    int64         // bytes, of all
	maxWait  time.Duration // that a push waits for one part
	requests *semaphore
	discards *semaphore // refused bodies of which the rest is discarded

	small, large           *semaphore // bytes of bodies and commands
	decoding               *semaphore // bytes that large bodies are decoded into
	smallSlots, largeSlots *semaphore // bodies that are being decoded; a small one may take smallCost
}

func newInFlight(limit int64, requests int, maxWait time.Duration) *inFlight {
	processors := int64(runtime.GOMAXPROCS(0)) // more at a time would be no faster
	return &inFlight{
		limit: limit, maxWait: maxWait,
		requests: newSemaphore(int64(requests)), discards: newSemaphore(max(1, int64(requests)/8)),
		small: newSemaphore(limit / 8), large: newSemaphore(limit / 4), decoding: newSemaphore(limit / 2),
		smallSlots: newSemaphore(min(processors, max(1, limit/8/smallCost))), largeSlots: newSemaphore(processors),
	}
}

// bytes is how many are in use.
func (f *inFlight) bytes() int64 {
	return f.small.used.Load() + f.large.used.Load() + f.decoding.used.Load() + smallCost*f.smallSlots.used.Load()
}

// acquirePart takes n from a part, or says why it could not.
func (f *inFlight) acquirePart(ctx context.Context, part *semaphore, n int64) *problem {
	err := part.acquire(ctx, n, f.maxWait)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errWait
	}
	if err != nil {
		return f.overloaded(err)
	}
	return nil
}

// overloaded is the answer to a push that has found no room in time.
func (f *inFlight) overloaded(reason error) *problem {
	return unavailable(pushing.nothingDone(false, fmt.Sprintf(
		"too much is being pushed at a time, %v: if that goes on, raise --push.max-bytes-in-flight=%d", reason, f.limit,
	)))
}

// tooMany is the answer to a push beyond --push.max-requests.
func (f *inFlight) tooMany() *problem {
	return unavailable(pushing.nothingDone(false, fmt.Sprintf(
		"as many pushes are under way as may be, %d; if that goes on, raise --push.max-requests=%[1]d", f.requests.size,
	)))
}

// neverFits is the answer to a push that needs n bytes of a part that is smaller, and so would be refused each time.
func (f *inFlight) neverFits(n int64, to string, part *semaphore) *problem {
	return &problem{http.StatusRequestEntityTooLarge, fmt.Sprintf(
		"the push would take %d bytes or more to %s, and may take %d: "+
			"push less at once, or raise --push.max-bytes-in-flight=%d", n, to, part.size, f.limit,
	)}
}

// freeBodyMemory is what each push may have beside the parts, in bytes. The number of pushes bounds it, and so the
// bodies of most pushes never wait, however many others arrive slowly.
const freeBodyMemory = int64(len(wireBuffer{}))

// bodyMemory is the memory that a push has acquired for its body, and then for its command.
type bodyMemory struct {
	in    *inFlight
	large bool
	n     int64 // bytes, freeBodyMemory included
}

func charged(n int64) int64 { return max(0, n-freeBodyMemory) }

// reserve waits for the first n bytes.
func (m *bodyMemory) reserve(ctx context.Context, n int64) *problem {
	need := charged(n)
	m.large = n > smallBody
	if need > m.part().size {
		m.large = true // of which there is more
	}
	if need > m.part().size {
		return m.in.neverFits(n, "receive", m.part())
	}
	if need > 0 {
		if p := m.in.acquirePart(ctx, m.part(), need); p != nil {
			return p
		}
	}
	m.n = n
	return nil
}

func (m *bodyMemory) part() *semaphore {
	if m.large {
		return m.in.large
	}
	return m.in.small
}

// resize acquires or releases the difference to n bytes. It does not wait.
func (m *bodyMemory) resize(n int64) *problem {
	before, after := charged(m.n), charged(n)
	switch large := m.in.large; {
	case after <= before:
		m.part().release(before - after)
	case !m.large && n <= smallMemory && m.in.small.tryAcquire(after-before):
	case after > large.size:
		return m.in.neverFits(n, "receive", large)
	case m.large && !large.tryAcquire(after-before), !m.large && !large.tryAcquire(after):
		return m.in.overloaded(errTaken)
	case !m.large:
		m.in.small.release(before)
		m.large = true
	}
	m.n = n
	return nil
}

func (m *bodyMemory) free() {
	m.part().release(charged(m.n))
	m.n = 0
}

// decodeSlot is what a body needs while it is decoded: one of the slots, and memory.
type decodeSlot struct {
	in     *inFlight
	slots  *semaphore // nil: it holds none of either
	memory int64      // of inFlight.decoding
}

// acquireDecodeSlot waits for a slot, for which it gives up one of the other size.
func (s *decodeSlot) acquireDecodeSlot(ctx context.Context, large bool) *problem {
	slots := s.in.smallSlots
	if large {
		slots = s.in.largeSlots
	}
	if slots == s.slots {
		return nil
	}
	s.releaseDecodeSlot()
	p := s.in.acquirePart(ctx, slots, 1)
	if p == nil {
		s.slots = slots
	}
	return p
}

// acquireDecodeMemory waits for as many bytes as decoding takes. It gives up what was acquired before, for another way
// to decode the same body.
func (s *decodeSlot) acquireDecodeMemory(ctx context.Context, cost int64) *problem {
	if s.slots == s.in.smallSlots && cost <= smallCost {
		return nil
	}
	if cost > s.in.decoding.size {
		return s.in.neverFits(cost, "decode", s.in.decoding)
	}
	if p := s.acquireDecodeSlot(ctx, true); p != nil {
		return p
	}
	s.in.decoding.release(s.memory)
	s.memory = 0
	p := s.in.acquirePart(ctx, s.in.decoding, cost)
	if p == nil {
		s.memory = cost
	}
	return p
}

func (s *decodeSlot) releaseDecodeSlot() {
	s.in.decoding.release(s.memory)
	if s.slots != nil {
		s.slots.release(1)
	}
	s.memory, s.slots = 0, nil
}
