package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"pushquorum/expo"
	"pushquorum/fsm"
)

const (
	idempotencyKey    = "Idempotency-Key"
	maxIdempotencyKey = 255 // bytes
)

// push returns the handler of PUT (replace) and POST. Only a body that has been read and parsed to its end reaches the
// store; whatever fails before that changes nothing.
func (a *API) push(g groupPath, replace bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		request, p := a.request(r)
		if p != nil {
			a.refusePush(w, r, p)
			return
		}
		group, err := g.labelsOf(r.URL)
		if err != nil {
			a.refusePush(w, r, &problem{http.StatusBadRequest, err.Error()})
			return
		}
		if !a.inFlight.requests.tryAcquire(1) {
			a.refusePush(w, r, a.inFlight.tooMany())
			return
		}
		defer a.inFlight.requests.release(1)
		b, p := a.openBody(w, r)
		defer b.memory.free() // when the push has been answered: its command is in memory until then
		if p != nil {
			b.recycle()
			b.memory.free()
			a.refusePush(w, r, p)
			return
		}
		ctx, cancel := a.untilAnswered(r, b.waited)
		defer cancel()
		var command []byte
		p, err = a.decode(ctx, r, b, group, func(families []*expo.Family) {
			command = fsm.EncodePush(request, group, replace, families)
		})
		b.recycle()
		if p == nil {
			p = b.memory.resize(int64(len(command)))
		}
		switch {
		case p != nil:
			a.refusePush(w, r, p)
			return
		case err != nil:
			a.reject(ctx, w, r, request, group, err)
			return
		}
		if reason := a.submit(ctx, w, r, pushing, command); reason != "" {
			a.metrics.countRejected(reason)
		}
		a.pinned.relieve()
	}
}

// refusePush answers a push whose path, headers or body are wrong, or cannot be taken now, and counts it.
func (a *API) refusePush(w http.ResponseWriter, r *http.Request, p *problem) {
	a.metrics.countRejected(reasonOf(p))
	a.refuse(w, r, p)
}

// decode parses a body into families in canonical form, and calls use with them. use must not keep any of them, because
// their memory is the body's, or the next push's. decode returns a problem if the body cannot be parsed, and an error
// if it can be, but is not accepted.
func (a *API) decode(
	ctx context.Context, r *http.Request, b *body, group expo.Labels, use func([]*expo.Family),
) (*problem, error) {
	slot := &decodeSlot{in: a.inFlight}
	defer slot.releaseDecodeSlot()
	raw, p := b.decompressed(ctx, slot)
	if p == nil && len(raw) > smallBody {
		p = slot.acquireDecodeSlot(ctx, true)
	}
	if p != nil {
		return p, nil
	}
	most := a.inFlight.decoding.size
	var families []*expo.Family
	var plain *expo.PlainPush
	format := expo.BodyFormatOf(r.Header.Get("Content-Type"))
	if format == expo.FormatText {
		raw = expo.Tidy(raw)
		if p := slot.acquireDecodeMemory(ctx, expo.EstimatePlain(raw, group, most)); p != nil {
			return b.unaffordable(raw, p), nil
		}
		plain = expo.Plain(raw, group)
	}
	if plain != nil {
		defer plain.Release()
		families = plain.Families()
	} else {
		if p := slot.acquireDecodeMemory(ctx, expo.Estimate(raw, format, group, most)); p != nil {
			return b.unaffordable(raw, p), nil
		}
		parsed, err := expo.Parse(bytes.NewReader(raw), format, a.naming.scheme)
		if err != nil {
			return b.unreadable(r.Header.Get("Content-Type"), raw, expo.Diagnose(raw, a.naming.scheme, err)), nil
		}
		if families, err = expo.Canonical(group, parsed, a.naming.scheme); err != nil {
			return nil, err
		}
	}
	if err := a.selfMetrics.checkReserved(families); err != nil {
		return nil, err
	}
	use(families)
	return nil, nil
}

// delete returns the handler of DELETE.
func (a *API) delete(g groupPath) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		request, p := a.request(r)
		if p != nil {
			a.refuse(w, r, p)
			return
		}
		group, err := g.labelsOf(r.URL)
		if err != nil {
			a.refuse(w, r, &problem{http.StatusBadRequest, err.Error()})
			return
		}
		ctx, cancel := a.untilAnswered(r, 0)
		defer cancel()
		a.submit(ctx, w, r, deleting, fsm.EncodeDelete(request, group))
	}
}

func (a *API) wipe(w http.ResponseWriter, r *http.Request) {
	request, p := a.request(r)
	if p != nil {
		a.refuse(w, r, p)
		return
	}
	ctx, cancel := a.untilAnswered(r, 0)
	defer cancel()
	a.submit(ctx, w, r, wiping, fsm.EncodeWipe(request))
}

// untilAnswered is the context of a write whose body has been read. It ends after PushTimeout, because clients give up
// some time after they have sent the body, whatever the write waits for; waited is how much of that has passed. It does
// not end with the request's context: a client that has closed its half of the connection (printf … | nc) waits for the
// answer and looks like one that has gone, and a Pushgateway stores whatever a client has sent completely.
func (a *API) untilAnswered(r *http.Request, waited time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), a.cfg.PushTimeout-waited)
}

// request identifies the request, by the client's Idempotency-Key, so that the client can repeat it, or by a random id.
func (a *API) request(r *http.Request) (fsm.Request, *problem) {
	request := fsm.Request{Seen: a.cfg.Store.Applied()}
	switch key := r.Header.Get(idempotencyKey); {
	case key == "":
		request.ID = fsm.NewRequestID()
	case len(key) > maxIdempotencyKey:
		return request, &problem{http.StatusBadRequest, fmt.Sprintf(
			"the header %s has %d bytes: use at most %d", idempotencyKey, len(key), maxIdempotencyKey,
		)}
	default:
		request.ID = fsm.RequestIDFromKey(key)
	}
	return request, nil
}
