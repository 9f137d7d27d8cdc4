package fsm

import (
	"fmt"
	"iter"
	"strings"
)

// Limits are what may be stored at most. 0 is no limit.
type Limits struct {
	Groups, Series, SeriesPerGroup int
	StateBytes                     int64 // see Usage.Bytes
}

// MaxGroup is the largest group that may come to be, in bytes of a snapshot. A snapshot in which one group is larger
// than maxRecord could not be written, and reading a group takes several times its size. It is many times what one push
// can bring.
const MaxGroup = 256 << 20

// updateReserve is the part of StateBytes by which pushes that add no series may exceed it: the same series with other
// values take a few bytes more or less, and a job whose metrics are stored must be able to go on.
const updateReserve = 16

// Limit says how near the store is to one of its limits.
type Limit struct {
	Name        string // as in its flag, with underscores: state_bytes
	Used, Limit int64
}

// limitPrefix begins the reason of every Full, for the sake of Result.Limit.
const limitPrefix = "--limit."

// Limit returns the name of the limit for whose sake a result is Full.
func (r Result) Limit() string {
	if flag, ok := strings.CutPrefix(r.Reason, limitPrefix); ok {
		name, _, _ := strings.Cut(flag, "=")
		return strings.ReplaceAll(name, "-", "_")
	}
	return "group_bytes"
}

// All yields the limits that are set, by name.
func (l Limits) All() iter.Seq2[string, int64] {
	return func(yield func(string, int64) bool) {
		for _, limit := range []Limit{
			{Name: "state_bytes", Limit: l.StateBytes},
			{Name: "series", Limit: int64(l.Series)},
			{Name: "groups", Limit: int64(l.Groups)},
			{Name: "series_per_group", Limit: int64(l.SeriesPerGroup)},
		} {
			if limit.Limit > 0 && !yield(limit.Name, limit.Limit) {
				return
			}
		}
	}
}

// Limits returns how near each of the limits is that are set. It looks at all groups where that must be.
func (v *View) Limits(l Limits) []Limit {
	var out []Limit
	for name, limit := range l.All() {
		var used int64
		switch name {
		case "state_bytes":
			used = v.usage.Bytes
		case "series":
			used = int64(v.usage.Series)
		case "groups":
			used = int64(v.usage.Groups)
		case "series_per_group":
			used = int64(v.Survey().LargestGroup)
		}
		out = append(out, Limit{Name: name, Used: used, Limit: limit})
	}
	return out
}

// refusal is why a group must not take another's place, or "". It is refused for what it makes grow alone: whatever is
// stored, it may be deleted, replaced by less, and pushed again.
func (a *Admission) refusal(used, growth Usage, was, is extent) string {
	l := &a.limits
	const advice = "delete groups that nobody needs, push fewer series, or raise the limit"
	switch {
	case l.Groups > 0 && growth.Groups > 0 && used.Groups+growth.Groups > l.Groups:
		return fmt.Sprintf(limitPrefix+"groups=%d is reached: %d are stored, and this push would add %d; delete "+
			"groups that nobody needs, push to one that is there, or raise the limit",
			l.Groups, used.Groups, growth.Groups)
	case l.Series > 0 && growth.Series > 0 && used.Series+growth.Series > l.Series:
		return fmt.Sprintf(limitPrefix+"series=%d is reached: %d are stored, and this push would add %d; "+advice,
			l.Series, used.Series, growth.Series)
	case l.SeriesPerGroup > 0 && is.series > was.series && is.series > l.SeriesPerGroup:
		return fmt.Sprintf(limitPrefix+"series-per-group=%d is reached: the group has %d, and with this push it would "+
			"have %d; push fewer series, to more groups, or raise the limit",
			l.SeriesPerGroup, was.series, is.series)
	case is.record > was.record && is.record > a.maxGroup:
		return fmt.Sprintf("a group may take %d bytes: it takes %d, and with this push it would take %d; push fewer "+
			"series, or to more groups", a.maxGroup, was.record, is.record)
	case l.StateBytes > 0 && growth.Bytes > 0 && used.Bytes+growth.Bytes > a.mostBytes(used, growth):
		return fmt.Sprintf(
			limitPrefix+"state-bytes=%d is reached: what is stored takes %d, and this push would add %d; "+advice,
			l.StateBytes, used.Bytes, growth.Bytes)
	}
	return ""
}

// mostBytes is what the state may take after a push. One that adds no group and no series has the reserve; where more
// is stored than the limit allows, which is smaller than it was, it has it on top of the least that has been stored
// since.
func (a *Admission) mostBytes(used, growth Usage) int64 {
	limit := a.limits.StateBytes
	if growth.Groups > 0 || growth.Series > 0 {
		return limit
	}
	reserve := limit / updateReserve
	if used.Bytes <= limit+reserve {
		a.excess = 0
		return limit + reserve
	}
	if a.excess == 0 || used.Bytes < a.excess {
		a.excess = used.Bytes
	}
	return a.excess + reserve
}

// allow tells whether all of the limits are kept, whatever the growth is of, if it is at most so much.
func (a *Admission) allow(u tally, growth Usage, record int64) bool {
	l := &a.limits
	return (l.Groups <= 0 || u.Groups+growth.Groups <= l.Groups) &&
		(l.Series <= 0 || u.Series+growth.Series <= l.Series) &&
		(l.SeriesPerGroup <= 0 || u.largest.series+growth.Series <= l.SeriesPerGroup) &&
		(l.StateBytes <= 0 || u.Bytes+growth.Bytes <= l.StateBytes) &&
		u.largest.record+record <= a.maxGroup
}
