package fsm

import (
	"iter"
	"maps"
	"slices"
)

// rememberedRequests is how many requests the state machine remembers, so that a retry that arrives later is not
// applied again. It is part of what replicas must agree on: another number needs another entry version.
const rememberedRequests = 1 << 16

// A request is what became of a client's request.
type request struct {
	id          RequestID
	index       uint64 // of its log entry
	fingerprint uint64
	result      Result
}

// digest leaves out the reason, because what was decided is what replicas must agree on, and two versions may say it
// in other words.
func (r *request) digest() digest {
	h := r.hasher()
	return h.digest()
}

func (r *request) hasher() hasher {
	h := newHasher("request")
	h.bytes(r.id[:])
	h.number(r.index)
	h.number(r.fingerprint)
	h.number(uint64(r.result.Status))
	return h
}

// reasonDigest is what the hash of a snapshot has beyond the state hash. A snapshot's hash covers the reasons, too,
// because there are builds whose state hash does: so each takes the other's snapshots.
func (r *request) reasonDigest() digest {
	h := r.hasher()
	h.strings(r.result.Reason)
	d := h.digest()
	d.remove(r.digest())
	return d
}

// requests remembers the last rememberedRequests requests. It forgets by number alone, never by time, because that is
// what replicas agree on.
type requests struct {
	ring      []remembered         // oldest at next once it is full
	next      int                  // where the next request goes, when the ring is full
	position  map[RequestID]uint16 // in ring
	reasons   map[RequestID]string // of those that have one
	forgotten uint64               // index of the newest request that is no longer in the ring
	sum       digest
}

// remembered is a request but for the reason, which few have: without a pointer the garbage
// collector has nothing to look at.
type remembered struct {
	id                 RequestID
	index, fingerprint uint64
	status             Status
}

func newRequests() *requests {
	return &requests{position: map[RequestID]uint16{}, reasons: map[RequestID]string{}}
}

// lookup returns what became of a request, with ok=false for one that has not been applied. A request that came in
// before the memory reaches back may have been applied and forgotten: it is answered with Forgotten and must not be
// applied.
func (q *requests) lookup(id RequestID, seen, fingerprint uint64) (res Result, ok bool) {
	if i, found := q.position[id]; found {
		r := q.at(int(i))
		if r.fingerprint != fingerprint {
			return Result{
				Status: Reused,
				Reason: "the Idempotency-Key was used for another request; use a new one for each request",
			}, true
		}
		return r.result, true
	}
	if q.forgotten > seen {
		return Result{
			Status: Forgotten,
			Reason: "the request is older than what the replicas remember, so it cannot be told whether it was applied",
		}, true
	}
	return Result{}, false
}

// at returns the request at a place in the ring.
func (q *requests) at(i int) request {
	r := &q.ring[i]
	return request{
		id: r.id, index: r.index, fingerprint: r.fingerprint, result: Result{Status: r.status, Reason: q.reasons[r.id]},
	}
}

func (q *requests) remember(r request) {
	at := len(q.ring)
	if at < rememberedRequests {
		if at == cap(q.ring) {
			q.ring = slices.Grow(q.ring, min(max(at, 1<<10), rememberedRequests-at))
		}
		q.ring = q.ring[:at+1]
	} else {
		at = q.next
		q.next = (q.next + 1) % rememberedRequests
		oldest := q.at(at)
		q.sum.remove(oldest.digest())
		q.forgotten = oldest.index
		delete(q.position, oldest.id)
		delete(q.reasons, oldest.id)
	}
	q.ring[at] = remembered{id: r.id, index: r.index, fingerprint: r.fingerprint, status: r.result.Status}
	q.position[r.id] = uint16(at)
	if r.result.Reason != "" {
		q.reasons[r.id] = r.result.Reason
	}
	q.sum.add(r.digest())
}

// frozen returns what is remembered now, to be read with all while the original goes on.
func (q *requests) frozen() *requests {
	return &requests{ring: slices.Clone(q.ring), next: q.next, reasons: maps.Clone(q.reasons), forgotten: q.forgotten}
}

// all yields what is remembered, oldest first.
func (q *requests) all() iter.Seq[request] {
	return func(yield func(request) bool) {
		for i := range q.ring {
			if !yield(q.at((q.next + i) % len(q.ring))) {
				return
			}
		}
	}
}
