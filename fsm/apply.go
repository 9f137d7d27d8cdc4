package fsm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pushquorum/expo"
)

// Status says what a command did.
type Status uint8

// The values are in the log's history and in messages between replicas: they do not change.
const (
	// Applied: the store is now as the command asked.
	Applied Status = iota
	// Rejected: the push is inconsistent with what is stored; it changed nothing but the group's
	// push_failure_time_seconds.
	Rejected
	// Reused: the request's id belongs to another request; nothing changed.
	Reused
	// Forgotten: the request is older than the memory of requests; whether it was applied cannot be told. Nothing
	// changed.
	Forgotten
	// Unreadable: the leader could not have applied the command, so it is not in the log. Never the result of an entry:
	// a leader says it of one command among others that have come to it together.
	Unreadable
	// Full: the leader has not put the command into the log, because a limit would be exceeded; nothing changed. Never
	// the result of an entry.
	Full
	// NoSpace: the leader has not put the command into the log, because the disks of too many voters are nearly full;
	// nothing changed. Never the result of an entry.
	NoSpace
)

// Result is what a command did, the same on every replica and for every retry.
type Result struct {
	Status Status
	// Reason says why the status is not Applied, in one line for the user.
	Reason string
}

var errNotEmpty = errors.New("the store has been written before, so nothing is imported")

// apply applies one command of the entry at index, which was taken by the leader at unixNano.
func (s *store) apply(index uint64, unixNano int64, c *command) Result {
	if c.op == opNoop {
		return Result{}
	}
	if len(c.id) != len(RequestID{}) {
		return Result{Status: Rejected, Reason: fmt.Sprintf("malformed command: its id has %d bytes", len(c.id))}
	}
	id := RequestID(c.id)
	if res, ok := s.requests.lookup(id, c.seen, c.fingerprint); ok {
		return res
	}
	res := s.do(unixNano, c)
	s.requests.remember(request{id: id, index: index, fingerprint: c.fingerprint, result: res})
	return res
}

func (s *store) do(unixNano int64, c *command) Result {
	var res Result
	err := c.malformed
	if err == nil {
		switch c.op {
		case opPush:
			res = s.push(unixNano, c)
		case opReject:
			s.fail(c.labels, unixNano, "")
		case opDelete:
			if g := s.group(c.labels.Key()); g != nil {
				s.deleteGroup(g)
			}
		case opWipe:
			s.wipe()
		case opImport:
			res, err = s.load(c.groups)
		case opNoop:
		}
	}
	if err != nil {
		return Result{Status: Rejected, Reason: err.Error()}
	}
	s.written = true
	return res
}

func (s *store) push(unixNano int64, c *command) Result {
	old, g, now := s.touch(c.labels, unixNano)
	g.PushTime, g.PushTouched = now, now
	g.Families = merge(g, c.replace, c.families, now)
	g.withTimes(old)

	if old == nil {
		if reason := s.checkTimes(g); reason != "" {
			return Result{Status: Rejected, Reason: reason}
		}
	}
	if reason := s.check(old, g, c.families); reason != nil {
		return s.fail(c.labels, unixNano, reason())
	}
	s.putGroup(old, g)
	return Result{}
}

// fail records a failed push, and returns its result. The group is made if need be, unless it cannot stand beside the
// others.
func (s *store) fail(labels expo.Labels, unixNano int64, reason string) Result {
	old, g, now := s.touch(labels, unixNano)
	g.FailureTime, g.FailureTouched = now, now
	g.withTimes(old)
	if old != nil || s.checkTimes(g) == "" {
		s.putGroup(old, g)
	}
	return Result{Status: Rejected, Reason: truncate(reason)}
}

// load imports groups. A group that is inconsistent with those before it is left out and named in the reason; the
// others are imported.
func (s *store) load(groups []*Group) (Result, error) {
	if s.written {
		return Result{}, errNotEmpty
	}
	var res Result
	leftOut := 0
	for _, g := range groups {
		g.withTimes(nil)
		reason := s.unfit(g)
		if reason == nil {
			s.putGroup(nil, g)
			continue
		}
		if leftOut++; len(res.Reason) <= maxReason {
			res.Reason += fmt.Sprintf("group %.200s was left out: %s. ", g.Labels(), reason())
		}
	}
	if leftOut > 1 {
		res.Reason = fmt.Sprintf("%d groups were left out: %s", leftOut, res.Reason)
	}
	res.Reason = truncate(res.Reason)
	return res, nil
}

// unfit returns nil, or what says why a group cannot be imported.
func (s *store) unfit(g *Group) (reason func() string) {
	if s.group(g.Key) != nil {
		return func() string { return "the group stands in the file twice" }
	}
	if why := s.checkTimes(g); why != "" {
		return func() string { return why }
	}
	return s.check(nil, g, pointers(g.Families))
}

// maxStepBack is how far the clock of a new leader may be behind the last one's without a group's time going back with
// it: more than clocks that are kept in step ever differ, and less than anybody's alert on a missing push waits for.
const maxStepBack = 10 * time.Second

// touch returns the stored group with these labels, nil if there is none, a copy of it, or a new group, to be changed
// and put in its place, and the time of the change: the leader's, but within a group time does not go back, though a
// new leader's clock may be a little behind the last one's. Where it is far behind, one of the two was wrong, and it is
// not known which: the clock there is now counts, because a time that was wrong would stay for as long as it takes to
// come.
func (s *store) touch(labels expo.Labels, unixNano int64) (old, g *Group, now int64) {
	key := labels.Key()
	if old = s.group(key); old == nil {
		// Both push-time families come into being with the group.
		return nil, &Group{Key: key, PushTouched: unixNano, FailureTouched: unixNano}, unixNano
	}
	changed := *old
	latest := max(old.PushTouched, old.FailureTouched)
	switch {
	case unixNano >= latest:
		return old, &changed, unixNano
	case unixNano >= latest-int64(maxStepBack):
		return old, &changed, latest
	}
	if n := len(s.setBack); n == 0 || s.setBack[n-1] != old { // a push that is refused comes here twice
		s.setBack = append(s.setBack, old)
	}
	changed.setBack(unixNano)
	return old, &changed, unixNano
}

// setBack takes everything in the group that has not happened yet to just before now: what of it came last is not
// known, but all of it came before what happens now.
func (g *Group) setBack(now int64) {
	g.PushTime, g.FailureTime = min(g.PushTime, now-1), min(g.FailureTime, now-1)
	g.PushTouched, g.FailureTouched = min(g.PushTouched, now-1), min(g.FailureTouched, now-1)
	g.Families = slices.Clone(g.Families) // those of a stored group, which does not change
	for i := range g.Families {
		g.Families[i].Time = min(g.Families[i].Time, now-1)
	}
}

func pointers(fs []Stored) []*expo.Family {
	out := make([]*expo.Family, len(fs))
	for i, f := range fs {
		out[i] = f.Family
	}
	return out
}

// maxReason is how many bytes of a reason are kept: it is remembered with the request.
const maxReason = 500

// truncate cuts a reason that is too long behind a word.
func truncate(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	reason = strings.ToValidUTF8(reason[:maxReason], "")
	if blank := strings.LastIndexByte(reason, ' '); blank > maxReason/2 {
		reason = reason[:blank]
	}
	return reason + "…"
}
