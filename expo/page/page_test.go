package page

import (
	"bytes"
	"cmp"
	stdgzip "compress/gzip"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo"
	"pushquorum/expo/internal/expotest"
)

func mustPage(tb testing.TB, f expfmt.Format, encoding string) *Page {
	tb.Helper()
	p, err := New(f, encoding, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func (p *Page) mustNext(tb testing.TB, e expo.Exposition) *Page {
	tb.Helper()
	next, err := p.Next(e)
	if err != nil {
		tb.Fatalf("making a page: %v", err)
	}
	return next
}

func (p *Page) bytes(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	n, err := p.WriteTo(&b)
	if err != nil || n != p.Len() || n != int64(b.Len()) {
		tb.Errorf("%d bytes written, %d came, %d were promised: %v", n, b.Len(), p.Len(), err)
	}
	return b.Bytes()
}

// mustRead takes the page and its encoding off. It may be called by any goroutine.
func (p *Page) mustRead(tb testing.TB) string {
	tb.Helper()
	r := io.Reader(bytes.NewReader(p.bytes(tb)))
	var err error
	switch p.form.encoding {
	case Gzip:
		r, err = stdgzip.NewReader(r) // checks the CRC and the size
	case Zstd:
		var d *zstd.Decoder
		if d, err = zstd.NewReader(r); err == nil {
			defer d.Close()
			r = d
		}
	}
	var b []byte
	if err == nil {
		b, err = io.ReadAll(r)
	}
	if err != nil {
		tb.Errorf("reading a page of %d bytes as %s: %v", p.Len(), p.form.encoding, err)
	}
	return string(b)
}

// stored is a store that is changed at random, in ways that a real one is, and in some in which it never should be.
type stored struct {
	expotest.Random
	names   []string
	types   map[string]dto.MetricType
	headers map[string]expo.Header             // what the page says of a name where it is not what its first part does
	parts   map[string]map[string]*expo.Family // by name and instance
}

func newStored(r expotest.Random) *stored {
	s := &stored{Random: r}
	for i := range 12 {
		s.names = append(s.names, fmt.Sprintf("m_%02d", i))
	}
	s.wipe()
	return s
}

func (s *stored) wipe() {
	s.types, s.headers = map[string]dto.MetricType{}, map[string]expo.Header{}
	s.parts = map[string]map[string]*expo.Family{}
	for i, name := range s.names {
		s.types[name], s.parts[name] = dto.MetricType(i%6), map[string]*expo.Family{}
	}
}

// family makes about 2 kB.
func (s *stored) family(tb testing.TB, name, instance, label string, t dto.MetricType) *expo.Family {
	tb.Helper()
	mf := &dto.MetricFamily{
		Name: proto.String(name), Type: t.Enum(), Help: proto.String(expotest.Pick(s.Random, "", "help", "other")),
		Unit: proto.String(expotest.Pick(s.Random, "", "s")),
	}
	for i := range 1 + s.IntN(3) {
		mf.Metric = append(mf.Metric, s.Metric(t, []*dto.LabelPair{
			{Name: proto.String("n"), Value: proto.String(fmt.Sprint(i))},
			{Name: proto.String(label), Value: proto.String(strings.Repeat("x", s.IntN(2000)))},
		}))
	}
	return mustCanonical(tb, expo.Labels{{Name: "instance", Value: instance}}, []*dto.MetricFamily{mf})[0]
}

// change does one thing, and says what.
func (s *stored) change(tb testing.TB) string {
	tb.Helper()
	name, instance := expotest.Pick(s.Random, s.names...), fmt.Sprintf("i%02d", s.IntN(20))
	switch n := s.IntN(100); {
	case n < 1:
		s.wipe()
		return "wipe"
	case n < 3:
		clear(s.parts[name])
		return "no " + name
	case n < 15:
		for _, name := range s.names {
			delete(s.parts[name], instance)
		}
		return "no " + instance
	case n < 25:
		s.headers[name] = expo.Header{
			Name: name, Help: expotest.Pick(s.Random, "", "a", "b"), Unit: expotest.Pick(s.Random, "", "s", "m"),
			Type: s.types[name],
		}
		return "another header for " + name
	case n < 33:
		s.parts[name][instance] = s.family(tb, name, instance, "filler", (s.types[name]+1)%6)
		return "another type in " + name
	case n < 34:
		s.parts[name][instance] = expo.NewFamily(
			&expo.Header{Name: name, Type: s.types[name]}, []byte{4<<3 | 2, 3, 0xff}, []expo.SeriesID{{1}},
		)
		return "damage in " + name
	case n < 36:
		s.parts[name][instance] = &expo.Family{Header: &expo.Header{Name: name, Type: s.types[name]}}
		return "nothing in " + name
	case n < 37:
		s.parts[name][instance] = s.family(tb, name, instance, "fil.ler", s.types[name])
		return "a UTF-8 label in " + name
	case n < 38:
		name = "m.dotted"
		s.types[name] = dto.MetricType_GAUGE
		s.parts[name] = map[string]*expo.Family{instance: s.family(tb, name, instance, "filler", dto.MetricType_GAUGE)}
		return name
	case n < 55: // one that makes good what is bad
		for name, parts := range s.parts {
			for instance, f := range parts {
				if f.Type != s.types[name] || f.LabelNames() != expo.LegacyNames {
					delete(parts, instance)
				}
			}
		}
		delete(s.parts, "m.dotted")
		return "mended"
	default:
		pushed := ""
		for _, name := range s.names[s.IntN(len(s.names)):] {
			if s.IntN(2) == 0 {
				s.parts[name][instance] = s.family(tb, name, instance, "filler", s.types[name])
				pushed += " " + name
			}
		}
		return "push to " + instance + pushed
	}
}

func (s *stored) exposition() expo.Exposition {
	type entry struct {
		h     expo.Header
		parts []*expo.Family
	}
	var all []entry // a copy: pages must not depend on what becomes of the store
	for _, name := range slices.Sorted(maps.Keys(s.parts)) {
		var parts []*expo.Family
		for _, instance := range slices.Sorted(maps.Keys(s.parts[name])) {
			parts = append(parts, s.parts[name][instance])
		}
		if len(parts) == 0 {
			continue
		}
		h, ok := s.headers[name]
		if !ok {
			h = *parts[0].Header
			h.Type = s.types[name]
		}
		all = append(all, entry{h, parts})
	}
	return func(yield func(expo.Header, iter.Seq[*expo.Family]) bool) {
		for _, e := range all {
			if !yield(e.h, slices.Values(e.parts)) {
				return
			}
		}
	}
}

// own returns what a program says of itself: before, among and behind the others, and under a name that others have.
func (s *stored) own() expo.Exposition {
	var mfs []*dto.MetricFamily
	for _, name := range []string{"a", "m_04", "m_05_own", "m_07_own", "z"} {
		if s.IntN(10) > 0 {
			mfs = append(mfs, &dto.MetricFamily{
				Name: proto.String(name), Help: proto.String("own"), Type: dto.MetricType_HISTOGRAM.Enum(),
				Metric: []*dto.Metric{s.Metric(dto.MetricType_HISTOGRAM, nil)},
			})
		}
	}
	return Gathered(mfs)
}

// TestAPageIsWhatIsWritten changes a store at random, and holds each page against what Write says, and against a page
// that was not made of the one before: what was there before must not show, not even in where a page is cut.
func TestAPageIsWhatIsWritten(t *testing.T) {
	type pages struct {
		format expfmt.Format
		before []*Page
	}
	in := func(f expfmt.Format, scheme model.EscapingScheme, encodings ...string) *pages {
		ps := &pages{format: f.WithEscapingScheme(scheme)}
		for _, encoding := range encodings {
			ps.before = append(ps.before, mustPage(t, ps.format, encoding))
		}
		return ps
	}
	always := []*pages{
		in(expfmt.FmtText, model.NoEscaping, Identity, Gzip), in(expfmt.FmtProtoDelim, model.NoEscaping, Identity),
	}
	inTurn := []*pages{
		in(expfmt.FmtText, model.NoEscaping, Zstd), in(expfmt.FmtText, model.UnderscoreEscaping, Gzip),
		in(expfmt.FmtProtoDelim, model.UnderscoreEscaping, Gzip), in(expfmt.FmtProtoText, model.NoEscaping, Identity),
	}
	taken, cut := 0, 0
	s := newStored(expotest.NewRandom(t, 1))
	for step := range 120 {
		did := s.change(t)
		e := s.exposition()
		if step/10%3 == 0 {
			e = Merge(s.own(), e)
		}
		for _, ps := range append(always, inTurn[step%len(inTurn)]) {
			var want bytes.Buffer
			var leftOut *LeftOutError
			if err := Write(&want, ps.format, e); err != nil && !errors.As(err, &leftOut) {
				t.Fatal(err)
			}
			for i, before := range ps.before {
				where := fmt.Sprintf("step %d (%s), %s, %s", step, did, ps.format, before.form.encoding)
				p := before.mustNext(t, e)
				ps.before[i] = p
				if got := p.mustRead(t); got != want.String() {
					t.Fatalf(
						"%s: the page differs from what is written: %s", where, firstDifference(got, want.String()),
					)
				}
				if got := p.LeftOut(); (got == nil) != (leftOut == nil) || got != nil &&
					got.Error() != leftOut.Error() {
					t.Fatalf("%s: left out: got %v, want %v", where, got, leftOut)
				}
				if fresh := mustPage(t, ps.format, before.form.encoding); step%4 == 3 && !bytes.Equal(
					p.bytes(t), fresh.mustNext(t, e).bytes(t),
				) {
					t.Fatalf("%s: a page made of the one before is cut or compressed unlike a new one", where)
				}
				for _, segment := range p.segments {
					if len(segment.parts) > 0 {
						cut++
					}
					if slices.Contains(before.segments, segment) {
						taken++
					}
				}
			}
		}
	}
	if taken < cut/3 {
		t.Errorf("%d of %d segments were taken over: this tests too little", taken, cut)
	}
}

// TestAPushCostsAPageFewSegments: those in which the pushed parts stand, and none elsewhere; those of a group that
// comes or goes, too.
func TestAPushCostsAPageFewSegments(t *testing.T) {
	const groups = 1000
	e, other := storeOf(t, groups), storeOf(t, groups)
	without := func(instance string) expo.Exposition {
		return func(yield func(expo.Header, iter.Seq[*expo.Family]) bool) {
			for h, parts := range e {
				if !yield(h, func(yield func(*expo.Family) bool) {
					for f := range parts {
						if !bytes.Contains(f.Metrics(), []byte(instance)) && !yield(f) {
							return
						}
					}
				}) {
					return
				}
			}
		}
	}
	for _, f := range []expfmt.Format{expfmt.FmtText, expfmt.FmtProtoDelim} {
		first := mustPage(t, f, Identity).mustNext(t, e)
		if n := len(first.segments); n < 40 {
			t.Fatalf("%s: %d segments are too few to tell", f, n)
		}
		for change, row := range map[string]struct {
			e expo.Exposition
			// for each name: the one that has changed, one more where a boundary has gone, the first one in protobuf
			most int
		}{
			"nothing":       {e, 0},
			"a push":        {mixed(e, other, map[string]bool{"host-00777": true}), 4},
			"a group less":  {without("host-00555"), 12},
			"the first one": {without("host-00000"), 12},
			"the last one":  {without("host-00999"), 12},
		} {
			p := first.mustNext(t, row.e)
			fresh := 0
			for _, s := range p.segments {
				if !slices.Contains(first.segments, s) {
					fresh++
				}
			}
			if fresh > row.most {
				t.Errorf(
					"%s, %s: %d of %d segments are new, want at most %d", f, change, fresh, len(p.segments), row.most,
				)
			}
		}
	}
}

// TestLinesOfUnchangedPartsAreNotMadeAgain: they are taken from the segment before, and so is what does not belong
// there.
func TestLinesOfUnchangedPartsAreNotMadeAgain(t *testing.T) {
	e, other := storeOf(t, 300), storeOf(t, 300)
	first := mustPage(t, expfmt.FmtText, Identity).mustNext(t, e)
	for _, s := range first.segments {
		for i := range s.content {
			s.content[i] = '\n'
		}
	}
	next := first.mustNext(t, mixed(e, other, map[string]bool{"host-00111": true}))
	// Each family has five lines, and there may be a header before them.
	lines := 0
	for line := range strings.Lines(next.mustRead(t)) {
		if line != "\n" && !strings.HasPrefix(line, "#") {
			lines++
		}
	}
	if lines != 4*5 {
		t.Errorf("%d lines were made anew after a push of 20", lines)
	}
}

// TestAPageOfManyNamesIsCutAsWell: a segment may have many names.
func TestAPageOfManyNamesIsCutAsWell(t *testing.T) {
	var families []*expo.Family
	for i := range 5000 {
		families = append(
			families, gaugeOf(fmt.Sprintf("name_%05d", i), "help", expo.Labels{{Name: "job", Value: "x"}}, float64(i)),
		)
	}
	e := expositionOf(families)
	p := mustPage(t, expfmt.FmtText, Identity).mustNext(t, e)
	if n := len(p.segments); n < 5 || n > 100 {
		t.Errorf("%d bytes are cut into %d segments", p.Len(), n)
	}
	if got, want := p.mustRead(t), written(t, expfmt.FmtText, e); got != want {
		t.Errorf("the page differs: %s", firstDifference(got, want))
	}
}

// TestASegmentEndsWhenItIsLargeEnough, even if no part was born to begin one.
func TestASegmentEndsWhenItIsLargeEnough(t *testing.T) {
	var groups [][]*expo.Family
	for i := 0; len(groups) < 3000; i++ {
		f := gaugeOf("m", "", expo.NewLabels(map[string]string{"job": fmt.Sprint(i)}), 1)
		if !beginsSegment(f, segmentTarget(Identity)) {
			groups = append(groups, []*expo.Family{f})
		}
	}
	e := expositionOf(groups...)
	p := mustPage(t, expfmt.FmtText, Identity).mustNext(t, e)
	limit := segmentLimit * segmentTarget(Identity)
	for i, s := range p.segments {
		if n := metricsOf(s.parts); n > limit+100 || n < limit && i < len(p.segments)-1 {
			t.Errorf("segment %d of %d has %d bytes of metrics, want %d", i, len(p.segments), n, limit)
		}
	}
	// A segment that has not changed ends where it did, though the part behind it is another one. And one part less
	// moves the boundaries, as it must: where a page is cut depends on what is on it alone.
	pushed := slices.Clone(groups)
	first := len(p.segments[0].parts)
	pushed[first] = []*expo.Family{groups[first][0].Clone()}
	for _, groups := range [][][]*expo.Family{pushed, groups[1:]} {
		e := expositionOf(groups...)
		next, fresh := p.mustNext(t, e), mustPage(t, expfmt.FmtText, Identity).mustNext(t, e)
		if got, want := next.mustRead(t), written(t, expfmt.FmtText, e); got != want {
			t.Errorf("the page differs: %s", firstDifference(got, want))
		}
		if !slices.EqualFunc(
			next.segments, fresh.segments, func(a, b *segment) bool { return slices.Equal(a.parts, b.parts) },
		) {
			t.Errorf("%d segments are cut otherwise than the %d of a new page", len(next.segments), len(fresh.segments))
		}
	}
}

func TestAnUnchangedPageAllocatesTheSameForManyPartsAsForFew(t *testing.T) {
	for _, encoding := range []string{Identity, Gzip} {
		var each []float64
		for _, groups := range []int{10, 1000} {
			e := storeOf(t, groups)
			p := mustPage(t, expfmt.FmtText, encoding).mustNext(t, e)
			each = append(each, testing.AllocsPerRun(5, func() {
				if _, err := p.mustNext(t, e).WriteTo(io.Discard); err != nil {
					t.Fatal(err)
				}
			}))
		}
		if few, many := each[0], each[1]; many > few+10 {
			t.Errorf("%s: %v allocations for 10 groups, %v for 1000", encoding, few, many)
		}
	}
}

func TestAPageIsWrittenInFewLargeChunks(t *testing.T) {
	p := mustPage(t, expfmt.FmtText, Identity).mustNext(t, storeOf(t, 2000))
	w := &countingWriter{}
	if _, err := p.WriteTo(w); err != nil {
		t.Fatal(err)
	}
	if w.calls > w.bytes/largeBuffers.size+1 {
		t.Errorf("%d bytes in %d writes", w.bytes, w.calls)
	}
	// More scrapes at a time than that have less memory each, and even more have none. All get the same.
	want := p.bytes(t)
	for _, sized := range []*buffers{largeBuffers, smallBuffers} {
		for range cap(sized.taken) {
			sized.taken <- struct{}{}
		}
		less, all := &countingWriter{}, &bytes.Buffer{}
		if _, err := p.WriteTo(io.MultiWriter(less, all)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(all.Bytes(), want) {
			t.Errorf(
				"without buffers of %d bytes, the %d bytes are others than the %d bytes with them", sized.size,
				all.Len(), len(want),
			)
		}
		if n := less.bytes / smallBuffers.size; sized == largeBuffers && (less.calls < n || less.calls > n+1) {
			t.Errorf("with small buffers, %d bytes in %d writes", less.bytes, less.calls)
		}
	}
	for _, sized := range []*buffers{largeBuffers, smallBuffers} {
		for range cap(sized.taken) {
			<-sized.taken
		}
	}
	if !bytes.Equal(p.bytes(t), want) || len(largeBuffers.taken)+len(smallBuffers.taken) != 0 {
		t.Errorf(
			"%d and %d buffers are not given back, or the page is another one", len(largeBuffers.taken),
			len(smallBuffers.taken),
		)
	}
	if n, err := p.WriteTo(&failingWriter{}); err == nil {
		t.Errorf("%d bytes are written to a writer that fails, without an error", n)
	}
}

// A page that would be right but for a fault of the making is written another way, and says what was at fault: or
// nobody would know.
func TestAPanicWhileAPageIsMadeIsKept(t *testing.T) {
	first, second, third := gaugeOf("a", "", nil, 1), gaugeOf("b", "", nil, 2), gaugeOf("c", "", nil, 3)
	page := mustPage(t, expfmt.FmtText, Identity).mustNext(
		t, expositionOf([]*expo.Family{first}, []*expo.Family{second}, []*expo.Family{third}),
	)
	if err := page.Caught(); err != nil {
		t.Errorf("a page that was made without a fault says %v", err)
	}
	page.segments[0].lines = page.segments[0].lines[:2] // the fault: the third's are not where they are said to be
	changed := expositionOf([]*expo.Family{first}, []*expo.Family{gaugeOf("b", "", nil, 4)}, []*expo.Family{third})
	next := page.mustNext(t, changed)
	if got, want := next.mustRead(t), written(t, expfmt.FmtText, changed); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	var caught *PanicError
	if !errors.As(next.Caught(), &caught) || !strings.Contains(caught.Error(), "index out of range") ||
		!strings.HasPrefix(caught.Place, "segment.go:") {
		t.Errorf("the page keeps %v", next.Caught())
	}
}

func TestAPanicSaysWhereItWas(t *testing.T) {
	boom := func() { panic("boom") }
	var got *PanicError
	func() {
		defer func() { got = Caught(recover()) }()
		boom()
	}()
	if got.Value != "boom" || strings.Count(got.Place, "page_test.go:") < 3 {
		t.Errorf("got %v", got)
	}
}

func TestPagesInUnknownFormsAreRefused(t *testing.T) {
	_, err := New(expfmt.FmtText, "br", nil)
	expotest.ExpectError(t, "br", err, `unknown encoding "br"`)
	_, err = New(expfmt.FmtOpenMetrics_1_0_0, Identity, nil)
	expotest.ExpectError(t, "OpenMetrics", err, "cannot write the format")
}

// crc32 of two texts from those of each is what hash/crc32 says of both.
func TestCRCsAreCombined(t *testing.T) {
	r := expotest.NewRandom(t, 5)
	text := make([]byte, 300_000)
	for i := range text {
		text[i] = byte(r.Uint32())
	}
	lengths := []int{0, 1, 2, 3, 255, 256, 65535, 65536, len(text)}
	for range 50 {
		lengths = append(lengths, r.IntN(len(text)))
	}
	for _, n := range lengths {
		m := cmp.Or(r.IntN(n+1), n)
		sum := crcMultiply(crcOf(text[:m]), crcShift(n-m)) ^ crcOf(text[m:n])
		if want := crcOf(text[:n]); sum != want {
			t.Errorf("%d and %d bytes: got %08x, want %08x", m, n-m, sum, want)
		}
	}
}

func crcOf(b []byte) uint32 { return crc32.ChecksumIEEE(b) }
