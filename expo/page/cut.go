package page

import (
	"slices"

	"pushquorum/expo"
)

// cutter cuts an exposition into segments, in one walk, and finds those that the page before has already. Where it cuts depends
// on the exposition alone. Whatever is as it was costs a comparison of pointers: the parts are not looked at.
type cutter struct {
	target int // bytes of metrics, see segmentTarget
	old    []*segment
	starts map[*expo.Family]int // where in old there is a segment that begins with the part

	segments []*segment
	pace     pace

	header expo.Header // of the name that is being walked
	begun  bool        // whether there have been parts of it

	// The segment that is being collected is, as far as is known, the same as old[at], of which it has so many parts and runs …
	at            int
	same          []*expo.Family // the parts of old[at]; nil if there is none, or no longer
	nParts, nRuns int
	// … or is another one.
	parts []*expo.Family
	runs  []run
	bytes int  // of the metrics
	near  bool // old[at] has parts of it, or may have
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
			if c.begun && c.nParts < len(c.same) && c.same[c.nParts] == f { // Mostly it is.
				c.nParts++
				continue
			}
			c.add(f)
		}
	}
	c.end(true)
	return c.segments
}

// add adds a part, unless it is empty.
func (c *cutter) add(f *expo.Family) {
	switch {
	case c.nParts < len(c.same):
		if c.same[c.nParts] == f && (c.begun || c.header == c.old[c.at].runs[c.nRuns].Header) {
			c.nParts++
			if !c.begun {
				c.begun = true
				c.nRuns++
			}
			return
		}
	case c.same != nil && c.at+1 < len(c.old) && len(c.old[c.at+1].parts) > 0 && c.old[c.at+1].parts[0] == f:
		c.next(f) // What made it begin a segment is as it was.
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

// last returns the last part of the segment, nil if there is none.
func (c *cutter) last() *expo.Family {
	parts := c.parts
	if c.same != nil {
		parts = c.same[:c.nParts]
	}
	if len(parts) == 0 {
		return nil
	}
	return parts[len(parts)-1]
}

// full tells whether the segment has as many bytes as it may.
func (c *cutter) full() bool {
	bytes := c.bytes
	if c.same != nil {
		if c.nParts < len(c.same) {
			return false // it was not, since more came
		}
		bytes = metricsOf(c.same)
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

// differ says that the segment is not the old one.
func (c *cutter) differ() {
	if c.same == nil {
		return
	}
	c.parts = append(c.parts[:0], c.same[:c.nParts]...)
	c.runs = append(c.runs[:0], c.old[c.at].runs[:c.nRuns]...)
	c.bytes = metricsOf(c.parts)
	if last := len(c.runs) - 1; last >= 0 {
		c.runs[last].metrics = metricsOf(c.parts[c.runs[last].first:]) // it had more
	}
	c.same = nil
}

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

// next ends the segment and begins one with the part.
func (c *cutter) next(f *expo.Family) {
	c.end(!c.begun)
	c.parts, c.runs, c.bytes, c.same = c.parts[:0], c.runs[:0], 0, nil
	if at, ok := c.starts[f]; ok {
		c.at, c.near = at, true
		r := run{Header: c.header, starts: !c.begun}
		if old := c.old[at]; old.runs[0].continues(&r) {
			c.same, c.nParts, c.nRuns, c.begun = old.parts, 1, 1, true
			return
		}
	} else if c.near = c.follows(f); c.near {
		c.at++
	}
	c.append(f)
}

// follows tells whether the old segment after the one that was met last began with what the part has replaced.
func (c *cutter) follows(f *expo.Family) bool {
	if c.at+1 >= len(c.old) || len(c.old[c.at+1].parts) == 0 {
		return false
	}
	old, series := c.old[c.at+1].parts[0].Series(), f.Series()
	return len(old) > 0 && len(series) > 0 && old[0] == series[0]
}

// end ends the segment, with which the last name ends, too, or not.
func (c *cutter) end(name bool) {
	if c.same != nil && c.nParts == len(c.same) && c.old[c.at].runs[c.nRuns-1].ends == name {
		c.segments = append(c.segments, c.old[c.at])
		return
	}
	c.differ()
	if len(c.parts) == 0 {
		return
	}
	c.runs[len(c.runs)-1].ends = name
	s := &segment{parts: slices.Clone(c.parts), runs: slices.Clone(c.runs), gathered: c.parts[0].IsGathered()}
	if c.near {
		s.before = c.old[c.at]
	}
	c.segments = append(c.segments, s)
	c.pace.rest()
}

// setTotals says in each run that starts a name how many bytes of metrics the whole of it has. Segments are replaced where that
// is new.
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
