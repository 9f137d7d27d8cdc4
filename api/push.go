package api

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"pushquorum/expo"
	"pushquorum/fsm"
)

const (
	idempotencyKey    = "Idempotency-Key"
	maxIdempotencyKey = 255 // bytes
)

// push returns the handler of PUT (replace) and POST. Only a body that has been read and parsed to its end reaches the store:
// whatever fails before is the client's answer alone and changes nothing.
func (a *API) push(g groupPath, replace bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		request, p := a.request(r)
		if p != nil {
			a.refuseUnread(w, r, p)
			return
		}
		group, err := g.labels(r.URL.Path)
		if err != nil {
			a.refuseUnread(w, r, &problem{http.StatusBadRequest, err.Error()})
			return
		}
		if !a.inFlight.requests.try(1) {
			a.refuseUnread(w, r, a.inFlight.tooMany())
			return
		}
		defer a.inFlight.requests.give(1)
		b, p := a.openBody(w, r)
		defer b.hold.end() // when the push has been answered: its command is in memory until then
		if p != nil {
			b.release()
			b.hold.end()
			if p.code != http.StatusRequestTimeout {
				b.drain(w, r)
			}
			a.refusePush(w, r, p)
			return
		}
		var command []byte
		p, err = a.decode(r, b, group, func(families []*expo.Family) {
			command = fsm.EncodePush(request, group, replace, families)
		})
		b.release()
		if p == nil {
			p = b.hold.resize(int64(len(command)))
		}
		switch {
		case p != nil:
			a.refusePush(w, r, p)
			return
		case err != nil:
			a.reject(w, r, request, group, err)
			return
		}
		if reason := a.submit(w, r, command, http.StatusOK); reason != "" {
			a.metrics.rejected(reason)
		}
		a.pinned.relieve()
	}
}

// refuseUnread answers a push whose body has not been read, when it has: see body.drain.
func (a *API) refuseUnread(w http.ResponseWriter, r *http.Request, p *problem) {
	(&body{limit: a.cfg.MaxBodyBytes}).drain(w, r)
	a.refusePush(w, r, p)
}

// refusePush answers a push whose body, or what stands before it, is no good, or cannot be taken now.
func (a *API) refusePush(w http.ResponseWriter, r *http.Request, p *problem) {
	a.metrics.rejected(reasonOf(p))
	a.refuse(w, r, p)
}

// decode parses a body into what is stored, and hands it to use. Nothing of it may be kept: its memory is the body's, or the next
// push's. It returns a problem with a body that cannot be parsed, and an error for one that can be, but not accepted.
func (a *API) decode(r *http.Request, b *body, group expo.Labels, use func([]*expo.Family)) (*problem, error) {
	t := &turn{in: a.inFlight}
	defer t.end()
	raw, p := b.decompressed(r.Context(), t)
	if p == nil && len(raw) > smallBody {
		p = t.begin(r.Context(), true)
	}
	if p != nil {
		return p, nil
	}
	most := a.inFlight.decoding.size
	var families []*expo.Family
	var plain *expo.PlainPush
	format := expo.BodyFormatOf(r.Header.Get("Content-Type"))
	if format == expo.FormatText {
		if p := t.afford(r.Context(), expo.EstimatePlain(raw, group, most)); p != nil {
			return p, nil
		}
		plain = expo.Plain(raw, group)
	}
	if plain != nil {
		defer plain.Release()
		families = plain.Families()
	} else {
		if p := t.afford(r.Context(), expo.Estimate(raw, format, group, most)); p != nil {
			return p, nil
		}
		parsed, err := expo.Parse(bytes.NewReader(raw), format, a.naming.scheme)
		if err != nil {
			return b.problem(err), nil
		}
		if families, err = expo.Canonical(group, parsed, a.naming.scheme); err != nil {
			return nil, err
		}
	}
	if a.self != nil {
		if err := a.self.clash(families); err != nil {
			return nil, err
		}
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
		group, err := g.labels(r.URL.Path)
		if err != nil {
			a.refuse(w, r, &problem{http.StatusBadRequest, err.Error()})
			return
		}
		a.submit(w, r, fsm.EncodeDelete(request, group), http.StatusAccepted)
	}
}

func (a *API) wipe(w http.ResponseWriter, r *http.Request) {
	request, p := a.request(r)
	if p != nil {
		a.refuse(w, r, p)
		return
	}
	a.submit(w, r, fsm.EncodeWipe(request), http.StatusAccepted)
}

// request identifies what the client asks for: by its own key, so that it can ask again, or by a new one.
func (a *API) request(r *http.Request) (fsm.Request, *problem) {
	request := fsm.Request{Seen: a.cfg.Store.Applied()}
	switch key := r.Header.Get(idempotencyKey); {
	case key == "":
		request.ID = fsm.NewRequestID()
	case len(key) > maxIdempotencyKey:
		return request, &problem{http.StatusBadRequest, fmt.Sprintf("the header %s has %d bytes: use at most %d", idempotencyKey, len(key), maxIdempotencyKey)}
	default:
		request.ID = fsm.RequestIDFromKey(key)
	}
	return request, nil
}

// submit replicates a command and answers with ok, or with what came of it instead, and returns the reason of that.
func (a *API) submit(w http.ResponseWriter, r *http.Request, command []byte, ok int) (reason string) {
	ctx, cancel := context.WithTimeout(r.Context(), a.cfg.PushTimeout)
	defer cancel()
	result, err := a.cfg.Replica.Apply(ctx, command)
	if err != nil {
		a.refuse(w, r, &problem{http.StatusServiceUnavailable, fmt.Sprintf("not known to be replicated, try again: %v", err)})
		return reasonUnavailable
	}
	switch result.Status {
	case fsm.Applied:
		w.WriteHeader(ok)
		return ""
	case fsm.Rejected:
		a.rejected(w, r, result.Reason)
		return reasonInconsistent
	case fsm.Reused:
		a.refuse(w, r, &problem{http.StatusUnprocessableEntity, result.Reason})
		return reasonReused
	case fsm.Full:
		return a.full(w, r, result)
	case fsm.NoSpace:
		a.refuse(w, r, &problem{http.StatusInsufficientStorage, result.Reason})
		return reasonNoSpace
	default: // fsm.Forgotten, and what a newer leader may know: not a success in any case
		a.refuse(w, r, &problem{http.StatusServiceUnavailable, result.Reason})
		return reasonUnavailable
	}
}

// full answers a push that a limit has no room for. There is no Retry-After: room comes of what somebody does, and not of
// time. Who reads the log is told once, and not with each push.
func (a *API) full(w http.ResponseWriter, r *http.Request, result fsm.Result) (reason string) {
	reason = reasonOfLimit(result.Limit())
	a.met.once(slog.LevelWarn, fmt.Errorf("the limit %s is reached", reason), "pushes are refused for want of room",
		"path", shownPath(r), "source", r.RemoteAddr, "first", result.Reason)
	a.refuse(w, r, &problem{http.StatusTooManyRequests, "no room for the pushed metrics: " + result.Reason})
	return reason
}

// reject records a failed push of a group and answers why it failed. The answer is final even if the record cannot be
// replicated, or a limit has no room for its group: nothing of the push has been stored, and sending it again cannot help.
func (a *API) reject(w http.ResponseWriter, r *http.Request, request fsm.Request, group expo.Labels, reason error) {
	a.metrics.rejected(reasonInvalid)
	ctx, cancel := context.WithTimeout(r.Context(), a.cfg.PushTimeout)
	defer cancel()
	result, err := a.cfg.Replica.Apply(ctx, fsm.EncodeReject(request, group))
	switch {
	case err != nil:
		a.log.Warn("a failed push was not recorded", "group", group.String(), "err", err)
	case result.Status == fsm.NoSpace:
		a.log.Debug("a failed push was not recorded", "group", group.String(), "err", result.Reason)
	case result.Status == fsm.Reused:
		a.refuse(w, r, &problem{http.StatusUnprocessableEntity, result.Reason})
		return
	}
	a.rejected(w, r, reason.Error())
}

// rejected tells the client, and whoever reads the log: the client is often a job whose output nobody sees.
func (a *API) rejected(w http.ResponseWriter, r *http.Request, reason string) {
	a.log.Warn("push rejected", "method", r.Method, "path", shownPath(r), "source", r.RemoteAddr, "err", reason)
	a.refuse(w, r, &problem{http.StatusBadRequest, "pushed metrics are invalid or inconsistent with existing metrics: " + reason})
}

// refuse answers with a problem, in one line of text.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, p *problem) {
	a.log.Debug("request refused", "method", r.Method, "path", shownPath(r), "source", r.RemoteAddr, "code", p.code, "err", p.text)
	if p.code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	http.Error(w, p.text, p.code)
}
