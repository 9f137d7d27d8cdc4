package page

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/common/expfmt"

	"pushquorum/expo"
)

// Page is an exposition as it goes out in one format and encoding: the bytes of Write, compressed. The page after it is
// made from it, at the cost of what has changed. A Page is immutable, and may be used by any number of goroutines.
//
//	text, protobuf   segment segment segment …
//	gzip             header, segment segment segment …, last block and sums
//	zstd             segment segment segment …
type Page struct {
	form          form
	busy          Busy
	before, after []byte
	segments      []*segment
	size          int64 // bytes as they go out
	shown         int64 // bytes of metrics
	leftOut       *LeftOutError
	caught        *PanicError
}

type form struct {
	format   expfmt.Format
	encoding string
}

// New returns an empty page. The pages that Next makes from it have its format, which must be one that Write takes, and
// its encoding, which must be one that NegotiateEncoding returns; the error says that they are not. Making and writing
// them rests while others are busy.
func New(f expfmt.Format, encoding string, busy Busy) (*Page, error) {
	if _, err := (&scrape{}).familyWriter(f); err != nil {
		return nil, err
	}
	if err := checkEncoding(encoding); err != nil {
		return nil, err
	}
	p := &Page{form: form{f, encoding}, busy: busy}
	p.close()
	return p, nil
}

// Next returns the page of e. What this page has of it already is not made again. The only error is a compressor's,
// which does not happen.
//
// The page is written from the beginning if Write leaves something out or has to look at all names to escape one,
// because that cannot be decided segment by segment, and in the formats for people.
func (p *Page) Next(e expo.Exposition) (*Page, error) { return p.NextWithin(e, nil) }

// NextWithin is Next as long as there is room for what the page does not share with this one. When there is none, it
// stops and returns room's error.
func (p *Page) NextWithin(e expo.Exposition, room Room) (*Page, error) {
	next := &Page{form: p.form, busy: p.busy}
	err := next.take(p.segments, e, room)
	if errors.As(err, &next.caught) || errors.Is(err, errIrregular) {
		// What was a panic in one of many goroutines, and is met again, is now one in the caller's.
		err = next.whole(e, room)
	}
	if err != nil {
		return nil, err
	}
	next.close()
	return next, nil
}

// take makes the segments of e, and takes those of old that are the same.
func (p *Page) take(old []*segment, e expo.Exposition, room Room) error {
	t := p.form.format.FormatType()
	if t != expfmt.TypeTextPlain && t != expfmt.TypeProtoDelim {
		return errIrregular
	}
	return p.fill(newCutter(old, p.form, p.busy).cut(e), room)
}

// fill makes the page one of these segments, and writes those that have no content.
func (p *Page) fill(segments []*segment, room Room) error {
	if p.form.format.FormatType() == expfmt.TypeProtoDelim {
		setTotals(segments)
	}
	p.segments = segments
	var fresh []*segment
	for _, s := range segments {
		if s.content == nil {
			fresh = append(fresh, s)
		}
	}
	// All are checked before the first is written: otherwise the last one might show that all were written in vain.
	scheme := p.form.format.ToEscapingScheme()
	if err := p.busy.each(fresh, func(s *segment, _ *packer) error { return s.check(scheme) }); err != nil {
		return err
	}
	return p.busy.each(fresh, func(s *segment, pk *packer) error { return s.write(pk, p.form, room) })
}

// Renew returns the page with the families of own in place of those that Gathered gave it before, without walking the
// rest. ok is false if own has other names or other headers than those families.
func (p *Page) Renew(own expo.Exposition) (next *Page, ok bool) {
	values := map[string]*expo.Family{}
	headers := map[string]expo.Header{}
	for h, parts := range own {
		for f := range parts {
			if f.MetricsSize() > 0 {
				headers[h.Name], values[h.Name] = h, f
			}
		}
	}
	segments := slices.Clone(p.segments)
	for i, s := range segments {
		if !s.gathered {
			continue
		}
		s = &segment{parts: slices.Clone(s.parts), runs: slices.Clone(s.runs), gathered: true}
		for j, f := range s.parts { // One part in each run: Gathered has each name once.
			value, found := values[f.Name]
			if !found || headers[f.Name] != s.runs[j].Header {
				return nil, false
			}
			s.parts[j], s.runs[j].metrics = value, value.MetricsSize()
			delete(values, f.Name)
		}
		segments[i] = s
	}
	if len(values) > 0 {
		return nil, false // The page has no place for them.
	}
	next = &Page{form: p.form, busy: p.busy}
	if next.fill(segments, nil) != nil {
		return nil, false
	}
	next.close()
	return next, true
}

// each calls do for each segment, on all processors, or on half of them while others are busy. Of several errors it
// returns one.
func (b Busy) each(segments []*segment, do func(*segment, *packer) error) error {
	var (
		next   atomic.Int64
		wg     sync.WaitGroup
		failed atomic.Pointer[error]
	)
	workers := min(runtime.GOMAXPROCS(0), len(segments))
	if b.now() {
		workers = max(workers/2, 1)
	}
	work := func() {
		pace := b.pace(makingRest)
		pk := takePacker()
		defer pk.giveBack()
		defer func() {
			if p := recover(); p != nil {
				err := error(Caught(p))
				failed.Store(&err)
			}
		}()
		for failed.Load() == nil {
			i := int(next.Add(1)) - 1
			if i >= len(segments) {
				return
			}
			if err := do(segments[i], pk); err != nil {
				failed.Store(&err)
			}
			pace.rest()
		}
	}
	for range workers - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// whole writes e from the beginning, in segments that no later page can take over.
func (p *Page) whole(e expo.Exposition, room Room) error {
	p.segments = nil
	pk := takePacker()
	defer pk.giveBack()
	err := Write(pieceWriter{func(piece []byte) error {
		content, err := pk.pack(piece, p.form.encoding)
		if err != nil {
			return err
		}
		s := &segment{packed: content}
		p.segments = append(p.segments, s)
		return room.take(s.memory())
	}}, p.form.format, e)
	if errors.As(err, &p.leftOut) {
		return nil
	}
	return err
}

// close makes what stands around the segments, and adds up their sizes.
func (p *Page) close() {
	var (
		sum  uint32
		size int64
	)
	for _, s := range p.segments {
		p.size += int64(len(s.content))
		size += int64(s.size)
		sum = s.addTo(sum)
		for i := range s.more {
			more := &s.more[i]
			p.size += int64(len(more.content))
			size += int64(more.size)
			sum = more.addTo(sum)
		}
		for i := range s.runs {
			p.shown += int64(s.runs[i].metrics)
		}
	}
	p.before, p.after = around(p.form.encoding, size, sum)
	p.size += int64(len(p.before) + len(p.after))
}

// Len returns the number of bytes that WriteTo writes.
func (p *Page) Len() int64 { return p.size }

// Caught returns the panic because of which the page was written from the beginning; nil if there was none.
func (p *Page) Caught() error {
	if p.caught == nil {
		return nil
	}
	return p.caught
}

// LeftOut returns what the page lacks because it could not be written; nil if it lacks nothing.
func (p *Page) LeftOut() *LeftOutError { return p.leftOut }

// WriteTo implements io.WriterTo. It makes few calls of w.
func (p *Page) WriteTo(w io.Writer) (int64, error) {
	counted := &counter{w: w, pace: p.busy.pace(movingRest)}
	b, release := buffered(counted)
	defer release()
	// What an error of w stops is said by Flush.
	_, _ = b.Write(p.before)
	for _, s := range p.segments {
		if _, err := b.Write(s.content); err != nil {
			break
		}
		for i := range s.more {
			_, _ = b.Write(s.more[i].content)
		}
	}
	_, _ = b.Write(p.after)
	if err := b.Flush(); err != nil {
		return counted.n, fmt.Errorf("writing a page: %w", err)
	}
	return counted.n, nil
}

// counter counts what its writer has taken, and rests between writes.
type counter struct {
	w    io.Writer
	n    int64
	pace pace
}

// Write implements io.Writer.
func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	c.pace.rest()
	return n, err
}
