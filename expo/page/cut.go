package page

import (
	"slices"

	"pushquorum/expo"
)

// cutter cuts an exposition into segments, in one walk, and finds those that the page before has already. Where it cuts
// depends on the exposition alone. What has not changed costs a comparison of pointers: the parts are not looked at.
//
// The segment that is being collected is in one of two states, which DESIGN.md draws: as long as it is the same as an
// old one, it repeats that; from the first difference on, its parts and runs are collected.
type cutter struct {
	target int // bytes of metrics, see segmentTarget
	old    []*segment
	starts map[*expo.Family]int // by the first part of an old segment, the segment's index in old

	segments []*segment
	pace     pace

	header expo.Header // of the name that is being walked
	begun  bool        // whether there have been parts of it

	// oldIndex is of the old segment with which the segment is compared.
	oldIndex int
	// mayShareLines says that the two began with the same part, or with two versions of one part: then lines of the old
	// one may be copied.
	mayShareLines bool

	// Repeating: reuse are the parts of old[oldIndex], of which the segment has the first nParts, in the first nRuns
	// runs.
	reuse         []*expo.Family // nil when not repeating
	nParts, nRuns int

	// Collecting.
	parts []*expo.Family
	runs  []run
	bytes int // of the metrics
}

func newCutter(old []*segment, f form, busy Busy) *cutter {
	c := &cutter{
		target: segmentTarget(f.encoding), old: old, pace: busy.pace(makingRest),
		starts: make(map[*expo.Family]int, len(old)), segments: make([]*segment, 0, len(old)+len(old)/8),
	}
	for i, s := range old {
		if len(s.parts) > 0 {
			c.starts[s.parts[0]] = i
		}
	}
	return c
}

// cut returns the segments of e. Those without content are to be checked and written.
func (c *cutter) cut(e expo.Exposition) []*segment {
	for h, parts := range e {
		c.header, c.begun = h, false
		for f := range parts {
			if c.begun && c.nParts < len(c.reuse) && c.reuse[c.nParts] == f { // Mostly it is.
				c.nParts++
				continue
			}
			c.add(f)
		}
	}
	c.end(true)
	return c.segments
}

// add adds a part to the segment or begins the next one with it. An empty part is left out.
func (c *cutter) add(f *expo.Family) {
	switch {
	case c.nParts < len(c.reuse):
		if c.reuse[c.nParts] == f && (c.begun || c.header == c.old[c.oldIndex].runs[c.nRuns].Header) {
			c.nParts++
			if !c.begun {
				c.begun = true
				c.nRuns++
			}
			return
		}
	case c.reuse != nil && c.nextOldBeginsWith(f):
		c.next(f) // Between these two parts the page before was cut, so this one is.
		return
	}
	if f.MetricsSize() == 0 {
		return
	}
	last := c.last()
	if last == nil || last.IsGathered() != f.IsGathered() || beginsSegment(f, c.target) || c.full() {
		c.next(f)
		return
	}
	c.differ()
	c.append(f)
}

// nextOldBeginsWith tells whether the old segment after old[oldIndex] begins with the part.
func (c *cutter) nextOldBeginsWith(f *expo.Family) bool {
	i := c.oldIndex + 1
	return i < len(c.old) && len(c.old[i].parts) > 0 && c.old[i].parts[0] == f
}

// last returns the last part of the segment, nil if there is none.
func (c *cutter) last() *expo.Family {
	parts := c.parts
	if c.reuse != nil {
		parts = c.reuse[:c.nParts]
	}
	if len(parts) == 0 {
		return nil
	}
	return parts[len(parts)-1]
}

// full tells whether the segment has as many bytes as it may.
func (c *cutter) full() bool {
	bytes := c.bytes
	if c.reuse != nil {
		if c.nParts < len(c.reuse) {
			return false // The old segment was not full here, because it has more parts.
		}
		bytes = metricsOf(c.reuse)
	}
	return bytes >= segmentLimit*c.target
}

func metricsOf(parts []*expo.Family) int {
	n := 0
	for _, f := range parts {
		n += f.MetricsSize()
	}
	return n
}

// differ goes from repeating to collecting: the segment is not the old one.
func (c *cutter) differ() {
	if c.reuse == nil {
		return
	}
	c.parts = append(c.parts[:0], c.reuse[:c.nParts]...)
	c.runs = append(c.runs[:0], c.old[c.oldIndex].runs[:c.nRuns]...)
	c.bytes = metricsOf(c.parts)
	if last := len(c.runs) - 1; last >= 0 {
		c.runs[last].metrics = metricsOf(c.parts[c.runs[last].first:]) // In the old segment, the run had more parts.
	}
	c.reuse = nil
}

// append adds a part to a segment that is being collected.
func (c *cutter) append(f *expo.Family) {
	if !c.begun || len(c.runs) == 0 {
		if len(c.runs) > 0 {
			c.runs[len(c.runs)-1].ends = true
		}
		c.runs = append(c.runs, run{Header: c.header, first: len(c.parts), starts: !c.begun})
	}
	c.begun = true
	c.parts = append(c.parts, f)
	c.bytes += f.MetricsSize()
	c.runs[len(c.runs)-1].metrics += f.MetricsSize()
}

// next ends the segment and begins one with the part: repeating, if an old segment begins with it, too.
func (c *cutter) next(f *expo.Family) {
	c.end(!c.begun)
	c.parts, c.runs, c.bytes, c.reuse = c.parts[:0], c.runs[:0], 0, nil
	if i, ok := c.starts[f]; ok {
		c.oldIndex, c.mayShareLines = i, true
		r := run{Header: c.header, starts: !c.begun}
		if old := c.old[i]; old.runs[0].continues(&r) {
			c.reuse, c.nParts, c.nRuns, c.begun = old.parts, 1, 1, true
			return
		}
	} else if c.mayShareLines = c.follows(f); c.mayShareLines {
		c.oldIndex++
	}
	c.append(f)
}

// follows tells whether the old segment after old[oldIndex] began with another version of the part, the same series.
func (c *cutter) follows(f *expo.Family) bool {
	if c.oldIndex+1 >= len(c.old) || len(c.old[c.oldIndex+1].parts) == 0 {
		return false
	}
	old, series := c.old[c.oldIndex+1].parts[0].Series(), f.Series()
	return len(old) > 0 && len(series) > 0 && old[0] == series[0]
}

// end ends the segment. nameEnds says whether the name that is being walked ends with it.
func (c *cutter) end(nameEnds bool) {
	if c.reuse != nil && c.nParts == len(c.reuse) && c.old[c.oldIndex].runs[c.nRuns-1].ends == nameEnds {
		c.segments = append(c.segments, c.old[c.oldIndex])
		return
	}
	c.differ()
	if len(c.parts) == 0 {
		return
	}
	c.runs[len(c.runs)-1].ends = nameEnds
	s := &segment{parts: slices.Clone(c.parts), runs: slices.Clone(c.runs), gathered: c.parts[0].IsGathered()}
	if c.mayShareLines {
		s.before = c.old[c.oldIndex]
	}
	c.segments = append(c.segments, s)
	c.pace.rest()
}

// setTotals sets total in each run that starts a name. A segment that has been packed with another total is replaced.
func setTotals(segments []*segment) {
	total := 0
	for i, s := range slices.Backward(segments) {
		for j := len(s.runs) - 1; j >= 0; j-- {
			total += s.runs[j].metrics
			if !s.runs[j].starts {
				continue
			}
			if s.runs[j].total != total {
				if s.content != nil {
					s = &segment{parts: s.parts, runs: slices.Clone(s.runs), gathered: s.gathered}
					segments[i] = s
				}
				s.runs[j].total = total
			}
			total = 0
		}
	}
}
