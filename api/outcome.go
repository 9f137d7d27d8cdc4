package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"pushquorum/expo"
	"pushquorum/fsm"
)

// intent is what a client has asked for. A 503 says one of two things about it, nothingDone or unknown, because the
// program at the other end decides by it whether to ask again.
type intent uint8

const (
	pushing intent = iota
	deleting
	wiping
)

// words returns the participle of the intent, the imperative that asks for it again, and the name of asking again.
func (i intent) words() (done, again, repeating string) {
	switch i {
	case deleting:
		return "deleted", "delete again", "deleting again"
	case wiping:
		return "deleted", "wipe again", "wiping again"
	default:
		return "stored", "push again", "pushing the same again"
	}
}

// nothingDone is the text where the command is certainly in no log. keyed: the client has a key of its own, and an
// earlier request with it may be in the log.
func (i intent) nothingDone(keyed bool, why string) string {
	done, again, _ := i.words()
	if keyed {
		return fmt.Sprintf("nothing was %s by this request: %s with the same %s (%s)", done, again, idempotencyKey, why)
	}
	return fmt.Sprintf("nothing was %s: %s (%s)", done, again, why)
}

// unknown is the text where the command may be in the log. keyed: the client has a key of its own, with which the
// command will be applied once.
func (i intent) unknown(keyed bool, why string) string {
	done, _, repeating := i.words()
	safe := repeating + " is safe"
	if keyed {
		safe = repeating + " with the same " + idempotencyKey + " is safe, it counts once"
	}
	return fmt.Sprintf("the outcome is unknown: it may be %s or not; %s (%s)", done, safe, why)
}

func unavailable(text string) *problem { return &problem{http.StatusServiceUnavailable, text} }

// submit replicates a command until ctx ends, and answers with its result. It returns "" for success, and otherwise the
// reason by which it is counted.
func (a *API) submit(ctx context.Context, w http.ResponseWriter, r *http.Request, i intent,
	command []byte,
) (reason string) {
	result, err := a.cfg.Replica.Apply(ctx, command)
	if err != nil {
		keyed := r.Header.Get(idempotencyKey) != ""
		text := i.unknown(keyed, err.Error())
		if not := (*fsm.NotAppliedError)(nil); errors.As(err, &not) {
			text = i.nothingDone(keyed, err.Error())
		}
		a.refuse(w, r, unavailable(text))
		return reasonUnavailable
	}
	switch result.Status {
	case fsm.Applied:
		w.WriteHeader(a.success(i))
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
		a.refuse(w, r, unavailable(i.unknown(false, result.Reason)))
		return reasonUnavailable
	}
}

// success is the status code of an intent that has been carried out.
func (a *API) success(i intent) int {
	if i == pushing && !a.cfg.Unchecked {
		return http.StatusOK
	}
	return http.StatusAccepted
}

// full answers a push for which a limit has no room. There is no Retry-After, because somebody has to make room, and
// time does not. The log says it once, and not with each push.
func (a *API) full(w http.ResponseWriter, r *http.Request, result fsm.Result) (reason string) {
	reason = reasonOfLimit(result.Limit())
	cause := fmt.Errorf("the limit %s is reached", reason)
	a.scrapeLog.once(slog.LevelWarn, cause, "pushes are refused for want of room",
		"path", shownPath(r), "source", r.RemoteAddr, "first", result.Reason)
	a.refuse(w, r, &problem{http.StatusTooManyRequests, "no room for the pushed metrics: " + result.Reason})
	return reason
}

// reject records a failed push of a group and answers why it failed. The answer is final even if the record cannot be
// replicated, or a limit has no room for its group: nothing of the push has been stored, and sending it again cannot
// help.
func (a *API) reject(
	ctx context.Context, w http.ResponseWriter, r *http.Request, request fsm.Request, group expo.Labels, reason error,
) {
	a.metrics.countRejected(reasonInvalid)
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

// rejected tells the client, and the log as well, because the client is often a job whose output nobody sees.
func (a *API) rejected(w http.ResponseWriter, r *http.Request, reason string) {
	a.log.Warn("push rejected", "method", r.Method, "path", shownPath(r), "source", r.RemoteAddr, "err", reason)
	a.refuse(w, r, &problem{
		http.StatusBadRequest, "pushed metrics are invalid or inconsistent with existing metrics: " + reason,
	})
}

// maxAnswer is how long the text of a problem may be, in bytes. Whatever is quoted in it is shorter.
const maxAnswer = 4 << 10

// refuse answers with a problem, in one line of text.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, p *problem) {
	a.log.Debug("request refused",
		"method", r.Method, "path", shownPath(r), "source", r.RemoteAddr, "code", p.code, "err", p.text)
	if p.code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	if p.code == http.StatusUnsupportedMediaType {
		w.Header().Set("Accept-Encoding", acceptedEncodings)
	}
	http.Error(w, expo.OneLine(p.text, maxAnswer), p.code)
}
