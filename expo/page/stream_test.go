package page

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo"
	"pushquorum/expo/internal/expotest"
)

// unpacked takes the compression off.
func unpacked(tb testing.TB, encoding string, b []byte) string {
	tb.Helper()
	r := io.Reader(bytes.NewReader(b))
	switch encoding {
	case Gzip:
		z, err := gzip.NewReader(r)
		if err != nil {
			tb.Fatal(err)
		}
		r = z
	case Zstd:
		z, err := zstd.NewReader(r)
		if err != nil {
			tb.Fatal(err)
		}
		defer z.Close()
		r = z
	}
	content, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return string(content)
}

// large returns a family of so many series, of which some names need escaping if utf8 says so.
func large(tb testing.TB, name string, t dto.MetricType, series int, utf8 bool) *expo.Family {
	tb.Helper()
	r := expotest.NewRandom(tb, 7)
	mf := &dto.MetricFamily{
		Name: proto.String(name), Help: proto.String("many"), Type: t.Enum(), Unit: proto.String("seconds"),
	}
	for i := range series {
		labels := []*dto.LabelPair{{Name: proto.String("n"), Value: proto.String(fmt.Sprintf("%06d\n", i))}}
		if utf8 && i%3 == 0 {
			labels = append(labels, &dto.LabelPair{Name: proto.String("größe.n"), Value: proto.String("1")})
		}
		mf.Metric = append(mf.Metric, r.Metric(t, labels))
	}
	return mustCanonical(tb, expo.NewLabels(map[string]string{"job": "large"}), []*dto.MetricFamily{mf})[0]
}

// byExpfmt decodes and merges the families, and leaves the rest to expfmt.
func byExpfmt(tb testing.TB, f expfmt.Format, e expo.Exposition) string {
	tb.Helper()
	var b bytes.Buffer
	encoder := expfmt.NewEncoder(&b, f)
	for h, parts := range e {
		merged := &dto.MetricFamily{Name: &h.Name, Type: h.Type.Enum()}
		if h.Help != "" {
			merged.Help = &h.Help
		}
		if h.Unit != "" {
			merged.Unit = &h.Unit
		}
		for part := range parts {
			if part.Type != h.Type {
				continue // is left out
			}
			mf, err := part.Decode()
			if err != nil {
				tb.Fatal(err)
			}
			merged.Metric = append(merged.Metric, mf.Metric...)
		}
		if err := encoder.Encode(merged); err != nil {
			tb.Fatal(err)
		}
	}
	return b.String()
}

// TestAStreamIsThePage in every form, with parts of all sizes: those that are written in pieces, too.
func TestAStreamIsThePage(t *testing.T) {
	small := storeOf(t, 10)
	for _, utf8 := range []bool{false, true} {
		e := Merge(small, expositionOf(
			[]*expo.Family{
				large(t, "zz_a", dto.MetricType_COUNTER, 1500, utf8),
				large(t, "zz_b", dto.MetricType_HISTOGRAM, 700, utf8),
			},
			[]*expo.Family{
				gaugeOf("zz_a", "", expo.NewLabels(map[string]string{"job": "z"}), 1),
				large(t, "zz_c", dto.MetricType_SUMMARY, 1, utf8),
			},
			[]*expo.Family{large(t, "zz_c", dto.MetricType_SUMMARY, 1200, utf8)},
		))
		for _, kind := range []expfmt.FormatType{
			expfmt.TypeTextPlain, expfmt.TypeProtoDelim, expfmt.TypeProtoText, expfmt.TypeProtoCompact,
		} {
			for _, scheme := range everyScheme() {
				f := expfmt.NewFormat(kind).WithEscapingScheme(scheme)
				var whole bytes.Buffer
				var want *LeftOutError
				if err := Write(&whole, f, e); err != nil && !errors.As(err, &want) {
					t.Fatal(err)
				}
				if scheme == model.NoEscaping {
					if merged := byExpfmt(t, f, e); whole.String() != merged {
						t.Fatalf(
							"%s: what is written differs from expfmt's: %s", f, firstDifference(whole.String(), merged),
						)
					}
				}
				encodings := []string{Identity, Gzip, Zstd}
				if scheme != model.NoEscaping {
					encodings = encodings[:1]
				}
				for _, encoding := range encodings {
					var b bytes.Buffer
					var leftOut *LeftOutError
					if err := Stream(&b, f, encoding, nil, e); err != nil && !errors.As(err, &leftOut) {
						t.Fatal(err)
					}
					if (leftOut == nil) != (want == nil) || want != nil && want.Error() != leftOut.Error() {
						t.Errorf("%s, %s: left out %v, want %v", f, encoding, leftOut, want)
					}
					streamed := unpacked(t, encoding, b.Bytes())
					if streamed != whole.String() {
						t.Fatalf(
							"%s, %s: a stream differs from what is written: %s", f, encoding,
							firstDifference(streamed, whole.String()),
						)
					}
					page := mustPage(t, f, encoding).mustNext(t, e)
					if got := page.mustRead(t); got != streamed {
						t.Fatalf(
							"%s, %s: a page differs from the stream: %s", f, encoding, firstDifference(got, streamed),
						)
					}
				}
			}
		}
	}
}

// largestWrite remembers how much it was given at once.
type largestWrite struct{ most, total int }

func (w *largestWrite) Write(b []byte) (int, error) {
	w.most, w.total = max(w.most, len(b)), w.total+len(b)
	return len(b), nil
}

// TestALargePartIsWrittenInPieces, whatever has to be made of it.
func TestALargePartIsWrittenInPieces(t *testing.T) {
	part := large(t, "a", dto.MetricType_HISTOGRAM, 5000, false)
	pieces, series, metrics := 0, 0, []byte(nil)
	for piece := range part.Pieces() {
		if piece.MetricsSize() > 2*expo.PieceBytes {
			t.Errorf("a piece has %d bytes", piece.MetricsSize())
		}
		pieces, series, metrics = pieces+1, series+piece.Len(), append(metrics, piece.Metrics()...)
	}
	if pieces < 3 || series != part.Len() || !bytes.Equal(metrics, part.Metrics()) {
		t.Errorf(
			"%d pieces have %d series and %d bytes, of %d and %d", pieces, series, len(metrics), part.Len(),
			part.MetricsSize(),
		)
	}
	for _, f := range []expfmt.Format{
		expfmt.FmtText, expfmt.FmtProtoDelim, expfmt.FmtProtoText, expfmt.FmtProtoCompact,
	} {
		w := &largestWrite{}
		if err := Stream(w, f, Identity, nil, expositionOf([]*expo.Family{part})); err != nil {
			t.Fatal(err)
		}
		if w.most > largeBuffers.size || w.total < 2*expo.PieceBytes {
			t.Errorf("%s: %d bytes at once, of %d", f, w.most, w.total)
		}
		p := mustPage(t, f, Identity).mustNext(t, expositionOf([]*expo.Family{part}))
		for _, s := range p.segments {
			for _, packed := range append([]packed{s.packed}, s.more...) {
				if packed.size > 10*expo.PieceBytes {
					t.Errorf("%s: a piece of the page has %d bytes", f, packed.size)
				}
			}
		}
	}
}

// TestADamagedPieceEndsItsPart, and nothing else.
func TestADamagedPieceEndsItsPart(t *testing.T) {
	bad, good := large(t, "a", dto.MetricType_GAUGE, 5000, false), gaugeOf("b", "", nil, 1)
	bad.Metrics()[bad.MetricsSize()-9] = 0x0f // the tag of the last value, of a type that there is not
	for _, f := range []expfmt.Format{expfmt.FmtText, expfmt.FmtProtoText} {
		var b bytes.Buffer
		err := Stream(&b, f, Identity, nil, expositionOf([]*expo.Family{bad, good}))
		var leftOut *LeftOutError
		if !errors.As(err, &leftOut) || leftOut.Parts != 1 || !errors.Is(err, expo.ErrDamaged) {
			t.Errorf("%s: error %v", f, err)
		}
		if !strings.Contains(b.String(), "\nb{") && !strings.Contains(b.String(), `"b"`) {
			t.Errorf("%s: the other part is missing", f)
		}
	}
}

var errNoRoom = errors.New("no room")

// TestAPageThatFindsNoRoomIsGivenUp when it has grown to what there is, and says what it takes until then.
func TestAPageThatFindsNoRoomIsGivenUp(t *testing.T) {
	stores := map[string]expo.Exposition{
		"many parts":  storeOf(t, 2000),
		"a large one": expositionOf([]*expo.Family{large(t, "a", dto.MetricType_COUNTER, 20_000, false)}),
	}
	for name, e := range stores {
		for _, f := range []expfmt.Format{expfmt.FmtText, expfmt.FmtProtoDelim, expfmt.FmtProtoText} {
			var taken atomic.Int64
			_, err := mustPage(t, f, Identity).NextWithin(e, func(n int) error {
				if taken.Add(int64(n)) > 300<<10 {
					return errNoRoom
				}
				return nil
			})
			if !errors.Is(err, errNoRoom) {
				t.Errorf("%s, %s: error %v", name, f, err)
			}
			if n := taken.Load(); n > 600<<10 {
				t.Errorf("%s, %s: it took %d bytes", name, f, n)
			}
			taken.Store(0)
			p, err := mustPage(t, f, Identity).NextWithin(e, func(n int) error { taken.Add(int64(n)); return nil })
			if err != nil {
				t.Fatal(err)
			}
			held := p.Hold()
			if n := taken.Load(); n < held*9/10 || n > held || held < p.Len() || held > 2*p.Len() {
				t.Errorf("%s, %s: asked for %d bytes, and holds %d of a page of %d", name, f, n, held, p.Len())
			}
		}
	}
}

// TestPagesMadeOfOneAnotherAreCountedOnce.
func TestPagesMadeOfOneAnotherAreCountedOnce(t *testing.T) {
	parts := storeParts(t, 5000)
	p := mustPage(t, expfmt.FmtText, Identity).mustNext(t, expositionOf(parts...))
	first := p.Hold()
	same := p.mustNext(t, expositionOf(parts...))
	if n := same.Hold(); n != 0 {
		t.Errorf("the same page again takes %d bytes", n)
	}
	if n := p.Release(); n != 0 {
		t.Errorf("what another page has, too, frees %d bytes", n)
	}
	parts[100] = []*expo.Family{gaugeOf("m", "", expo.NewLabels(map[string]string{"job": "changed"}), 1)}
	next := same.mustNext(t, expositionOf(parts...))
	more := next.Hold()
	if more == 0 || more > first/10 {
		t.Errorf("a page of %d bytes, and then %d for one part that has changed", first, more)
	}
	if freed := same.Release() + next.Release(); freed != first+more {
		t.Errorf("held %d and %d bytes, freed %d", first, more, freed)
	}
	if shown := next.Shown(); shown < next.Len()/4 || shown > next.Len()*2 {
		t.Errorf("a page of %d bytes shows %d", next.Len(), shown)
	}
}

func storeParts(tb testing.TB, n int) (groups [][]*expo.Family) {
	tb.Helper()
	for i := range n {
		groups = append(
			groups,
			[]*expo.Family{gaugeOf("m", "", expo.NewLabels(map[string]string{"job": fmt.Sprintf("%05d", i)}), 1)},
		)
	}
	return groups
}
