package fsm

// rememberedRequests is how many requests the state machine remembers, so that a retry that arrives later is not applied
// again. It is part of what replicas must agree on: another number needs another entry version.
const rememberedRequests = 1 << 16

// A request is what became of a client's request.
type request struct {
	id          RequestID
	index       uint64 // of its log entry
	fingerprint uint64
	result      Result
}

func (r *request) digest() digest {
	h := newHasher("request")
	h.bytes(r.id[:])
	h.number(r.index)
	h.number(r.fingerprint)
	h.number(uint64(r.result.Status))
	h.strings(r.result.Reason)
	return h.digest()
}

// requests remembers the last rememberedRequests requests. It forgets by number alone, never by time, because that is what
// replicas agree on.
type requests struct {
	ring      []request         // oldest at next once it is full
	next      int               // where the next request goes, when the ring is full
	position  map[RequestID]int // in ring
	forgotten uint64            // index of the newest request that is no longer in the ring
	sum       digest
}

func newRequests() *requests {
	return &requests{position: map[RequestID]int{}}
}

// lookup returns what became of a request, with ok=false for one that has not been applied. A request that came in before the
// memory reaches back may have been applied and forgotten: it is answered with Forgotten and must not be applied.
func (q *requests) lookup(id RequestID, seen, fingerprint uint64) (res Result, ok bool) {
	if i, found := q.position[id]; found {
		if q.ring[i].fingerprint != fingerprint {
			return Result{Status: Reused, Reason: "the Idempotency-Key was used for another request; use a new one for each request"}, true
		}
		return q.ring[i].result, true
	}
	if q.forgotten > seen {
		return Result{
			Status: Forgotten,
			Reason: "the request is older than what the replicas remember, so it cannot be told whether it was applied; look, then push again",
		}, true
	}
	return Result{}, false
}

func (q *requests) remember(r request) {
	if len(q.ring) < rememberedRequests {
		q.position[r.id] = len(q.ring)
		q.ring = append(q.ring, r)
	} else {
		oldest := &q.ring[q.next]
		q.sum.remove(oldest.digest())
		q.forgotten = oldest.index
		delete(q.position, oldest.id)
		q.position[r.id] = q.next
		*oldest = r
		q.next = (q.next + 1) % rememberedRequests
	}
	q.sum.add(r.digest())
}

// list returns a copy of what is remembered, oldest first.
func (q *requests) list() []request {
	out := make([]request, 0, len(q.ring))
	out = append(out, q.ring[q.next:]...)
	return append(out, q.ring[:q.next]...)
}
