package page

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"sync/atomic"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"pushquorum/expo"
)

// segmentTarget returns how many bytes of metrics a segment has on average. With smaller segments less is made anew
// after a push, but each has a cost of its own, and a small one compresses badly.
func segmentTarget(encoding string) int {
	if encoding == Identity {
		return 4 << 10
	}
	return 8 << 10
}

// segmentLimit times segmentTarget is where a segment ends, wherever the next boundary is. Without a limit a change
// would cost more, because it hits a large segment more often than a small one.
const segmentLimit = 2

// segment is a piece of a page. The next page takes it over if it has the same parts, which are immutable, and says the
// same once of their names. A segment is immutable once it has been packed.
type segment struct {
	packed
	more     []packed       // what follows, of a part that is too large for one piece
	parts    []*expo.Family // none of them without metrics
	runs     []run
	gathered bool   // all parts are, otherwise none
	lines    []span // of each part, in content, in a text page that is not compressed

	before *segment // where lines may be found, until the segment is written; nil for nowhere

	holders atomic.Int32 // of pages with this segment, see Page.Hold
}

// span is a piece of a content: from a byte, to before another.
type span struct{ from, to uint32 }

// run is what a segment has of one name.
type run struct {
	expo.Header
	first   int  // where in the segment's parts it begins
	starts  bool // there is nothing of the name before it: the header stands in this segment
	ends    bool // there is nothing of the name after it
	metrics int  // bytes of the parts' metrics
	total   int  // bytes of those of the whole name, in a protobuf page, where it starts
}

// continues tells whether r, at the beginning of a segment, says the same as other, which begins with the same part.
func (r *run) continues(other *run) bool {
	if r.starts != other.starts {
		return false
	}
	// the help stands elsewhere
	return r.Header == other.Header || !r.starts && r.Type == other.Type && r.Unit == other.Unit
}

// beginsSegment tells whether a segment begins before the part. That depends on the part alone, so that what is added
// or taken away elsewhere moves no boundary. The chance grows with the part's bytes: there is one boundary in target
// bytes on average.
func beginsSegment(f *expo.Family, target int) bool {
	if f.Len() == 0 {
		return false
	}
	chance := uint64(f.MetricsSize()) * math.MaxUint32 / uint64(target)
	return uint64(binary.BigEndian.Uint32(f.Series()[0][:])) < chance // the ID is a hash
}

// errIrregular says that a page cannot be made segment by segment: something has to be left out, or the name of
// something depends on what stands elsewhere.
var errIrregular = errors.New("the page has to be written as a whole")

// check returns errIrregular if the segment has something that Write leaves out or renames.
func (s *segment) check(scheme model.EscapingScheme) error {
	for i := range s.runs {
		r := &s.runs[i]
		if scheme != model.NoEscaping && !model.LegacyValidation.IsValidMetricName(r.Name) {
			return errIrregular
		}
		for _, f := range s.partsOf(i) {
			names := f.LabelNames()
			if f.Type != r.Type || names == expo.DamagedNames ||
				names != expo.LegacyNames && scheme != model.NoEscaping {
				return errIrregular
			}
		}
	}
	return nil
}

func (s *segment) partsOf(i int) []*expo.Family {
	if i+1 < len(s.runs) {
		return s.parts[s.runs[i].first:s.runs[i+1].first]
	}
	return s.parts[s.runs[i].first:]
}

// write makes the segment's content.
func (s *segment) write(p *packer, f form, room Room) error {
	text := f.format.FormatType() == expfmt.TypeTextPlain
	if len(s.parts) == 1 && s.parts[0].MetricsSize() > expo.PieceBytes {
		return s.writeLarge(p, f, room)
	}
	p.raw, p.lines = p.raw[:0], p.lines[:0]
	var err error
	if text {
		err = s.writeText(p)
	} else {
		p.raw = s.appendDelimited(p.raw)
	}
	s.before = nil
	if err != nil {
		return err
	}
	if text && f.encoding == Identity {
		s.lines = slices.Clone(p.lines)
	}
	if s.packed, err = p.pack(p.raw, f.encoding); err != nil {
		return err
	}
	return room.take(s.memory())
}

// writeLarge makes the content of a segment of one large part, piece by piece, so that there is never more than one
// piece in memory that is not packed. A large part begins a segment, and fills it.
func (s *segment) writeLarge(p *packer, f form, room Room) error {
	s.before = nil
	text, r := f.format.FormatType() == expfmt.TypeTextPlain, &s.runs[0]
	p.raw = p.raw[:0]
	if r.starts && text {
		p.raw = expo.AppendHeader(p.raw, r.Header)
	} else if r.starts {
		p.raw = expo.AppendMessageStart(p.raw, r.Header, r.total)
	}
	s.packed, s.more = packed{}, nil
	flush := func() error {
		content, err := p.pack(p.raw, f.encoding)
		if err != nil {
			return err
		}
		p.raw = p.raw[:0]
		if s.content == nil {
			s.packed = content
		} else {
			s.more = append(s.more, content)
		}
		return room.take(len(content.content))
	}
	for piece := range s.parts[0].Pieces() {
		if from := len(p.raw); text {
			var err error
			if p.raw, err = piece.AppendLines(p.raw); err != nil || len(p.raw) == from {
				return errIrregular
			}
		} else {
			p.raw = piece.AppendMetrics(p.raw)
		}
		if err := flush(); err != nil {
			return err
		}
	}
	if !text && r.ends && r.Unit != "" {
		p.raw = expo.AppendMessageEnd(p.raw, r.Header)
		return flush()
	}
	return nil
}

// writeText collects the lines. Those of parts that have not changed are copied from the segment before, because they
// are costly to make.
func (s *segment) writeText(p *packer) error {
	b, next := p.raw, 0
	for i := range s.runs {
		if r := &s.runs[i]; r.starts {
			b = expo.AppendHeader(b, r.Header)
		}
		for _, f := range s.partsOf(i) {
			from := len(b)
			if old := s.before.find(f, next); old >= 0 {
				at := s.before.lines[old]
				b = append(b, s.before.content[at.from:at.to]...)
				next = old + 1
			} else {
				var err error
				if b, err = f.AppendLines(b); err != nil || len(b) == from {
					return errIrregular
				}
			}
			p.lines = append(p.lines, span{uint32(from), uint32(len(b))})
		}
	}
	p.raw = b
	return nil
}

// find returns the index of f among the parts from the i-th on, -1 if it is not there or its lines are not known.
func (s *segment) find(f *expo.Family, i int) int {
	if s == nil || i >= len(s.lines) {
		return -1
	}
	at := slices.Index(s.parts[i:], f)
	if at < 0 {
		return -1
	}
	return i + at
}

func (s *segment) appendDelimited(b []byte) []byte {
	for i := range s.runs {
		r := &s.runs[i]
		if r.starts {
			b = expo.AppendMessageStart(b, r.Header, r.total)
		}
		for _, f := range s.partsOf(i) {
			b = f.AppendMetrics(b)
		}
		if r.ends {
			b = expo.AppendMessageEnd(b, r.Header)
		}
	}
	return b
}
