package fsm

import (
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"pushquorum/expo"
)

// The two families that every group carries, with the names and help texts of the Pushgateway.
var (
	pushTimeHeader = &expo.Header{
		Name: expo.PushTimeName, Help: "Last Unix time when changing this group in the Pushgateway succeeded.",
		Type: dto.MetricType_GAUGE,
	}
	failureTimeHeader = &expo.Header{
		Name: expo.PushFailureTimeName, Help: "Last Unix time when changing this group in the Pushgateway failed.",
		Type: dto.MetricType_GAUGE,
	}
)

// A Group is what was pushed under one grouping key. Immutable.
type Group struct {
	Key string // Labels().Key()
	// Families are the pushed families by name, without the two push-time families.
	Families []Stored
	// PushTime and FailureTime are when a push last succeeded and failed. Unix nanoseconds, 0 = never.
	PushTime, FailureTime int64
	// PushTouched and FailureTouched are when the push_time_seconds and push_failure_time_seconds families last
	// changed, which includes their creation with the value 0. Unix nanoseconds.
	PushTouched, FailureTouched int64

	pushTime, failureTime *expo.Family // the families of PushTime and FailureTime, see withTimes

	// What the store knows of it, from putGroup on.
	shape  *shape
	sum    digest // of the group and its shares of families, kept because those are costly to hash again
	number uint32 // see store.owners
}

// Stored is a family in a group.
type Stored struct {
	*expo.Family
	Time int64 // of the push that set it, Unix nanoseconds
}

// Labels returns the labels under which the group was pushed.
func (g *Group) Labels() expo.Labels { return expo.AppendLabels(nil, g.Key) }

// LastPushSuccessful reports whether the group's last push was accepted.
func (g *Group) LastPushSuccessful() bool { return g.PushTime >= g.FailureTime }

// PushTimeFamily returns the group's push_time_seconds, in Unix seconds.
func (g *Group) PushTimeFamily() *expo.Family { return g.pushTime }

// FailureTimeFamily returns the group's push_failure_time_seconds, in Unix seconds.
func (g *Group) FailureTimeFamily() *expo.Family { return g.failureTime }

// withTimes fills in the two push-time families, from old as far as they are the same. It returns g.
func (g *Group) withTimes(old *Group) *Group {
	if old == nil {
		g.pushTime = expo.Gauge(pushTimeHeader, g.Key, float64(g.PushTime)/1e9)
		g.failureTime = expo.Gauge(failureTimeHeader, g.Key, float64(g.FailureTime)/1e9)
		return g
	}
	g.pushTime, g.failureTime = old.pushTime, old.failureTime
	if old.PushTime != g.PushTime {
		g.pushTime = old.pushTime.WithValue(float64(g.PushTime) / 1e9)
	}
	if old.FailureTime != g.FailureTime {
		g.failureTime = old.failureTime.WithValue(float64(g.FailureTime) / 1e9)
	}
	return g
}

// family returns the pushed family of that name; no group has none. It is looked for at a place first: mostly a push
// has the names of the one before.
func (g *Group) family(name string, place int) (Stored, bool) {
	if g == nil {
		return Stored{}, false
	}
	if place < len(g.Families) && g.Families[place].Name == name {
		return g.Families[place], true
	}
	i, found := slices.BinarySearchFunc(g.Families, name,
		func(f Stored, name string) int { return strings.Compare(f.Name, name) })
	if !found {
		return Stored{}, false
	}
	return g.Families[i], true
}

// digest is that of the group without the pushed families, but with their times.
func (g *Group) digest() digest {
	h := newHasher("group")
	h.strings(g.Key)
	for _, t := range [...]int64{g.PushTime, g.FailureTime, g.PushTouched, g.FailureTouched} {
		h.number(uint64(t))
	}
	for _, f := range g.Families {
		h.number(uint64(f.Time))
	}
	sum := h.digest()
	sum.add(digestOf(g.Key, g.pushTime))
	sum.add(digestOf(g.Key, g.failureTime))
	return sum
}
