package page

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo"
)

// chunk is how many bytes Write collects before it calls the writer.
const chunk = 64 << 10

// chunkPool holds the buffers of Write: memory only, no state.
var chunkPool sync.Pool

// LeftOutError says that parts of an Exposition could not be written and were left out;
// everything else was written. It can be logged, but the scrape is good.
type LeftOutError struct {
	Parts int   // how many were left out
	First error // why the first one was
}

// Error implements error.
func (e *LeftOutError) Error() string {
	return fmt.Sprintf(
		"%d parts of metric families were left out of the exposition, the first because: %v", e.Parts, e.First,
	)
}

// Unwrap returns why the first part was left out.
func (e *LeftOutError) Unwrap() error { return e.First }

// Write writes all families of e to w in the format f: text, or protobuf delimited, text or
// compact, with any escaping of names. A name without series is not written.
//
// A part that is damaged, or is of another type than its name's header, is left out: then
// the error is a LeftOutError, after everything else was written. Any other error is
// the writer's, or says that the format is not one of these; then nothing more was written.
//
// It keeps nothing for the next scrape, as a Page does.
func Write(w io.Writer, f expfmt.Format, e expo.Exposition) error {
	b, ok := chunkPool.Get().(*bufio.Writer)
	if ok {
		b.Reset(w)
	} else {
		b = bufio.NewWriterSize(w, chunk)
	}
	defer func() {
		b.Reset(nil) // Lets go of w.
		chunkPool.Put(b)
	}()
	s := &scrape{w: b, scheme: f.ToEscapingScheme()}
	write, err := s.familyWriter(f)
	if err != nil {
		return err
	}
	names := nameEscaper{scheme: s.scheme, all: e}
	for h, parts := range e {
		name, ok := names.name(h)
		if !ok {
			continue
		}
		if err := write(h, name, parts); err != nil {
			return err
		}
	}
	if err := b.Flush(); err != nil {
		return err
	}
	if s.leftOut.Parts > 0 {
		return &s.leftOut
	}
	return nil
}

// scrape is one call of Write.
type scrape struct {
	w       *bufio.Writer
	scheme  model.EscapingScheme
	scratch []byte
	lines   []byte // of one piece
	leftOut LeftOutError
}

// familyWriter returns the function that writes one family with the given name, which is
// that of the header or an escaped form of it.
func (s *scrape) familyWriter(
	f expfmt.Format,
) (func(h expo.Header, name string, parts iter.Seq[*expo.Family]) error, error) {
	switch f.FormatType() {
	case expfmt.TypeTextPlain:
		return s.writeText, nil
	case expfmt.TypeProtoDelim:
		return s.writeDelimited, nil
	case expfmt.TypeProtoText, expfmt.TypeProtoCompact:
		o := prototext.MarshalOptions{Multiline: f.FormatType() == expfmt.TypeProtoText}
		return func(h expo.Header, name string, parts iter.Seq[*expo.Family]) error {
			return s.writeForPeople(o, h, name, parts)
		}, nil
	default:
		return nil, fmt.Errorf(
			"cannot write the format %s: use the text format or one of the protobuf formats", expo.Quote(string(f)),
		)
	}
}

// skip counts a part that is left out.
func (s *scrape) skip(err error) {
	if s.leftOut.Parts++; s.leftOut.First == nil {
		s.leftOut.First = err
	}
}

// fits tells whether f can stand under the header h, and counts it as left out if not.
func (s *scrape) fits(h expo.Header, f *expo.Family) bool {
	if f.MetricsSize() == 0 {
		return false
	}
	if f.Type != h.Type {
		s.skip(fmt.Errorf("metric family %s has the type %s and a part of the type %s",
			expo.Quote(h.Name), expo.TypeWord(h.Type), expo.TypeWord(f.Type)))
		return false
	}
	if f.LabelNames() == expo.DamagedNames {
		s.skip(fmt.Errorf("metric family %s: %w", expo.Quote(h.Name), expo.ErrDamaged))
		return false
	}
	return true
}

// asStored tells whether the encoded forms of f can be written as they are.
func (s *scrape) asStored(f *expo.Family, name string) bool {
	return s.scheme == model.NoEscaping || f.Name == name && f.LabelNames() == expo.LegacyNames
}

// escaped returns f decoded, with the given name and with escaped label names. There is
// one labelEscaper for all parts of a name.
func (s *scrape) escaped(f *expo.Family, name string, labels *labelEscaper) (*dto.MetricFamily, error) {
	mf, err := f.Decode()
	if err != nil {
		return nil, err
	}
	*mf.Name = name
	if s.scheme != model.NoEscaping && f.LabelNames() != expo.LegacyNames {
		labels.escape(mf)
	}
	return mf, nil
}

func (s *scrape) labelEscaper(h expo.Header, parts iter.Seq[*expo.Family]) *labelEscaper {
	return &labelEscaper{scheme: s.scheme, name: h.Name, parts: parts}
}

// writeText writes the header once, before the first part that has lines.
func (s *scrape) writeText(h expo.Header, name string, parts iter.Seq[*expo.Family]) error {
	var labels *labelEscaper
	begun := false
	write := func(piece *expo.Family) (bad, failed error) {
		var lines []byte
		if s.asStored(piece, name) {
			lines, bad = piece.AppendLines(s.lines[:0])
			s.lines = lines
		} else {
			if labels == nil {
				labels = s.labelEscaper(h, parts)
			}
			var mf *dto.MetricFamily
			if mf, bad = s.escaped(piece, name, labels); bad == nil {
				lines, bad = expo.SampleLines(mf)
			}
		}
		if bad != nil || len(lines) == 0 {
			return bad, nil
		}
		if !begun {
			begun = true
			s.scratch = expo.AppendHeader(s.scratch[:0], expo.Header{Name: name, Help: h.Help, Type: h.Type})
			if _, err := s.w.Write(s.scratch); err != nil {
				return nil, err
			}
		}
		_, err := s.w.Write(lines)
		return nil, err
	}
	return s.eachPiece(h, parts, write)
}

// eachPiece calls write for the parts that fit under the header, and for large ones piece by piece. bad says why a
// piece cannot be written: its part is left out from there on. failed is the writer's error, which ends the scrape.
func (s *scrape) eachPiece(
	h expo.Header, parts iter.Seq[*expo.Family], write func(piece *expo.Family) (bad, failed error),
) error {
	for f := range parts {
		if !s.fits(h, f) {
			continue
		}
		write := write
		if f.MetricsSize() > expo.PieceBytes {
			write = inPieces(write)
		}
		bad, failed := write(f)
		if failed != nil {
			return failed
		}
		if bad != nil {
			s.skip(bad)
		}
	}
	return nil
}

// inPieces returns a function that calls write for each piece of a part, until one is bad.
func inPieces(write func(*expo.Family) (bad, failed error)) func(*expo.Family) (bad, failed error) {
	return func(f *expo.Family) (bad, failed error) {
		for piece := range f.Pieces() {
			if bad, failed = write(piece); bad != nil || failed != nil {
				break
			}
		}
		return bad, failed
	}
}

// writeDelimited writes one MetricFamily message after its length. The metrics of the parts are copied as they are
// stored; they are walked twice, because the length comes first.
func (s *scrape) writeDelimited(h expo.Header, name string, parts iter.Seq[*expo.Family]) error {
	size, before := 0, s.leftOut
	for f := range parts {
		if !s.fits(h, f) {
			continue
		}
		if !s.asStored(f, name) {
			s.leftOut = before // The parts are walked again, and counted once.
			return s.writeEscaped(h, name, parts)
		}
		size += f.MetricsSize()
	}
	if size == 0 {
		return nil
	}
	if err := s.writeMessageStart(h, name, size); err != nil {
		return err
	}
	for f := range parts {
		if f.Type != h.Type || f.LabelNames() == expo.DamagedNames {
			continue // Counted above.
		}
		if _, err := s.w.Write(f.MetricsIn(s.scratch[:0])); err != nil {
			return err
		}
	}
	return s.writeUnit(h)
}

// writeEscaped is writeDelimited for a family with names that are escaped. It is encoded twice, once for its length and
// once to be written, because all of it at once may be more than there is room for.
func (s *scrape) writeEscaped(h expo.Header, name string, parts iter.Seq[*expo.Family]) error {
	size, before := 0, s.leftOut
	err := s.eachEncoded(h, name, parts, func(metrics []byte) error { size += len(metrics); return nil })
	if err != nil || size == 0 {
		return err
	}
	s.leftOut = before // What is left out is met again.
	if err := s.writeMessageStart(h, name, size); err != nil {
		return err
	}
	err = s.eachEncoded(h, name, parts, func(metrics []byte) error {
		_, err := s.w.Write(metrics)
		return err
	})
	if err != nil {
		return err
	}
	return s.writeUnit(h)
}

// eachEncoded encodes the metrics of a family whose names are escaped, piece by piece, each time alike.
func (s *scrape) eachEncoded(
	h expo.Header, name string, parts iter.Seq[*expo.Family], use func(metrics []byte) error,
) error {
	labels := s.labelEscaper(h, parts)
	return s.eachPiece(h, parts, func(piece *expo.Family) (bad, failed error) {
		if s.asStored(piece, name) {
			return nil, use(piece.Metrics())
		}
		mf, err := s.escaped(piece, name, labels)
		if err != nil {
			return err, nil
		}
		s.lines, err = expo.AppendMetricsOf(s.lines[:0], mf)
		if err != nil {
			return err, nil
		}
		return nil, use(s.lines)
	})
}

// writeMessageStart writes what expo.AppendMessageStart appends, under the name.
func (s *scrape) writeMessageStart(h expo.Header, name string, metrics int) error {
	h.Name = name
	s.scratch = expo.AppendMessageStart(s.scratch[:0], h, metrics)
	_, err := s.w.Write(s.scratch)
	return err
}

// writeUnit writes what expo.AppendMessageEnd appends.
func (s *scrape) writeUnit(h expo.Header) error {
	s.scratch = expo.AppendMessageEnd(s.scratch[:0], h)
	_, err := s.w.Write(s.scratch)
	return err
}

// writeForPeople writes what expfmt's encoder makes of the whole family in protobuf's text format. There the fields of
// a message stand one after the other, so that they can be written one after the other.
func (s *scrape) writeForPeople(
	o prototext.MarshalOptions, h expo.Header, name string, parts iter.Seq[*expo.Family],
) error {
	between := fieldSeparator(o)
	labels := s.labelEscaper(h, parts)
	begun := false
	err := s.eachPiece(h, parts, func(piece *expo.Family) (bad, failed error) {
		mf, err := s.escaped(piece, name, labels)
		if err != nil {
			return err, nil
		}
		if len(mf.Metric) == 0 {
			return nil, nil
		}
		metrics := o.Format(&dto.MetricFamily{Metric: mf.Metric})
		if !begun {
			begun = true
			head := &dto.MetricFamily{Name: &name, Type: h.Type.Enum()}
			if h.Help != "" {
				head.Help = &h.Help
			}
			if _, err := s.w.WriteString(o.Format(head)); err != nil {
				return nil, err
			}
		}
		_, _ = s.w.WriteString(between) // an error is met again
		_, err = s.w.WriteString(metrics)
		return nil, err
	})
	if err != nil || !begun {
		return err
	}
	if h.Unit != "" {
		_, _ = s.w.WriteString(between + o.Format(&dto.MetricFamily{Unit: &h.Unit}))
	}
	return s.w.WriteByte('\n')
}

// fieldSeparator is what stands between the fields of a message. Protobuf's text format is made to differ from one
// binary to another, but not from one call to the next.
func fieldSeparator(o prototext.MarshalOptions) string {
	both := o.Format(&dto.MetricFamily{Name: proto.String(""), Help: proto.String("")})
	name := o.Format(&dto.MetricFamily{Name: proto.String("")})
	help := o.Format(&dto.MetricFamily{Help: proto.String("")})
	return strings.TrimSuffix(strings.TrimPrefix(both, name), help)
}
