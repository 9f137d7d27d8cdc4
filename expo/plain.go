package expo

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protowire"
)

// Plain does in one pass what Parse and Canonical do for a text body, if the body is of the plainest kind: counters,
// gauges and untyped samples, written as client libraries and scripts write them. For anything else it returns nil, be
// it a histogram, an escape, an unusual blank or a mistake: Parse and Canonical then decide, and say what is wrong with
// a body. The families that Plain returns are those that Parse and Canonical would return, to the byte. They are made
// of pieces of the body, which must not change until Release.
//
// It is there because parsing is most of what a push costs: see DESIGN.md for how much this saves.
func Plain(body []byte, group Labels) *PlainPush {
	// The pieces of a valid text are valid, because it is cut at ASCII bytes only.
	if !utf8.Valid(body) {
		return nil
	}
	p, ok := plainPool.Get().(*PlainPush)
	if !ok {
		p = &PlainPush{}
	}
	p.group = append(p.group, group...)
	at, found := group.find(model.InstanceLabel)
	if p.hasInstance = found; !found {
		p.group = slices.Insert(p.group, at, Label{Name: model.InstanceLabel})
	}
	n := countPlain(body, group, math.MaxInt64)
	if n.composed > 0 {
		p.Release()
		return nil
	}
	p.reserve(&n)
	// Not a copy: nobody may change the body meanwhile, and nobody is left who has a piece of it after Release.
	if !p.read(unsafe.String(unsafe.SliceData(body), len(body))) || !p.encode() {
		p.Release()
		return nil
	}
	return p
}

// A PlainPush is what Plain has made of a body.
type PlainPush struct {
	plainParser
	out []*Family
}

// Families returns the families, sorted by name, until Release.
func (p *PlainPush) Families() []*Family { return p.out }

// Release gives the memory of the families to the next push. Nothing may be kept of them but what has been copied.
func (p *PlainPush) Release() {
	if cap(p.labels) > maxPooledLabels || cap(p.heads) > maxPooledLabels ||
		cap(p.memory) > maxPooledBytes || cap(p.scratch) > maxPooledBytes {
		return
	}
	p.reset()
	clear(p.out)
	p.out = p.out[:0]
	plainPool.Put(p)
}

// plainPool holds the memory of pushes and nothing else. What a huge body took is not kept.
var plainPool sync.Pool

const (
	maxPooledLabels = 1 << 14 // of all samples of a body; as many families
	maxPooledBytes  = 1 << 20
)

// plainParser is one body being read. Its strings are pieces of the body.
type plainParser struct {
	group       Labels // of each series: the push's and, if it has none, an empty instance
	hasInstance bool   // the push's

	heads   []plainHead
	samples []plainSample
	labels  []Label // of all samples, one after the other
	own     []Label // of a sample, before the group's come in

	order    []int // of a family's samples
	scratch  []byte
	families []Family
	memory   []byte // of all families, one after the other
}

// plainHead is a family, whose samples come one after the other.
type plainHead struct {
	Header

	hasHelp, hasType bool
	from, to         int // in samples
}

type plainSample struct {
	from, to int // in labels: merged with the group's, sorted
	value    float64
}

// reset lets go of the body.
func (p *plainParser) reset() {
	clear(p.heads)
	clear(p.labels)
	clear(p.own[:cap(p.own)])
	clear(p.group)
	clear(p.families)
	*p = plainParser{
		group: p.group[:0], own: p.own[:0], heads: p.heads[:0], samples: p.samples[:0], labels: p.labels[:0],
		order: p.order[:0], scratch: p.scratch[:0], families: p.families[:0], memory: p.memory[:0],
	}
}

// reserve makes room for a large body: slices that grow would take several times as much.
func (p *plainParser) reserve(n *textCount) {
	if !n.exact {
		return
	}
	p.samples = withRoom(p.samples, int(n.samples))
	p.labels = withRoom(p.labels, int(n.plainLabels(p.group)))
	p.order = withRoom(p.order, int(n.samples))
	p.memory = withRoom(p.memory, int(n.encoded(p.group))+int(n.samples)*len(SeriesID{}))
}

// withRoom is an empty slice with room for n. Unlike slices.Grow it never makes more than that.
func withRoom[T any](s []T, n int) []T {
	if cap(s) >= n {
		return s[:0]
	}
	return make([]T, 0, n)
}

func (p *plainParser) read(text string) bool {
	size, added := 0, p.group.textSize()
	for len(text) > 0 {
		line, rest, _ := strings.Cut(text, "\n") // the last line may have no newline
		text = rest
		switch {
		case line == "":
		case line[0] == '#':
			if !p.comment(line) {
				return false
			}
		case !p.sample(line):
			return false
		}
		if size += len(line) + added; size > maxText {
			return false
		}
	}
	return true
}

// comment reads a plain HELP or TYPE line. It returns false for any other comment: the body is then the parser's.
func (p *plainParser) comment(line string) bool {
	if text, ok := strings.CutPrefix(line, "# HELP "); ok {
		name, help, _ := strings.Cut(text, " ")
		if help == "" || help[0] == ' ' || help[0] == '\t' || strings.IndexByte(help, '\\') >= 0 {
			return false
		}
		h := p.head(name)
		if h == nil || h.hasHelp {
			return false
		}
		h.Help, h.hasHelp = help, true
		return true
	}
	if text, ok := strings.CutPrefix(line, "# TYPE "); ok {
		name, typ, _ := strings.Cut(text, " ")
		h := p.head(name)
		if h == nil || h.hasType {
			return false
		}
		h.hasType = true
		switch typ {
		case "counter":
			h.Type = dto.MetricType_COUNTER
		case "gauge":
			h.Type = dto.MetricType_GAUGE
		case "untyped":
			h.Type = dto.MetricType_UNTYPED
		default:
			return false
		}
		return true
	}
	return false
}

// head returns the family of that name: the last one, if it has the name, otherwise a new one. It returns nil for a
// name that is not plain. A family that comes a second time is found when all are sorted.
func (p *plainParser) head(name string) *plainHead {
	if n := len(p.heads); n > 0 && p.heads[n-1].Name == name {
		return &p.heads[n-1]
	}
	if !isPlainName(name, true) || name == PushTimeName || name == PushFailureTimeName {
		return nil
	}
	p.heads = append(
		p.heads,
		plainHead{Header: Header{Name: name, Type: dto.MetricType_UNTYPED}, from: len(p.samples), to: len(p.samples)},
	)
	return &p.heads[len(p.heads)-1]
}

// sample reads a line such as `name{label="value"} 1`.
func (p *plainParser) sample(line string) bool {
	end := strings.IndexByte(line, ' ')
	if brace := strings.IndexByte(line, '{'); brace >= 0 && brace < end {
		end = brace
	}
	if end < 0 {
		return false
	}
	h := p.head(line[:end])
	if h == nil {
		return false
	}
	h.hasType = true // From here on a TYPE comes too late.
	from := len(p.labels)
	rest := line[end:]
	if rest[0] == '{' {
		var ok bool
		if rest, ok = p.ownLabels(rest[1:]); !ok {
			return false
		}
	}
	if !p.addGroup(from) {
		return false
	}
	if len(rest) < 2 || rest[0] != ' ' {
		return false
	}
	value, ok := plainFloat(rest[1:])
	if !ok {
		return false
	}
	p.samples = append(p.samples, plainSample{from: from, to: len(p.labels), value: value})
	h.to = len(p.samples)
	return true
}

// maxPlainLabels is far above what is usual, and far below what MaxLabels or the parser's time would set.
const maxPlainLabels = 32

// ownLabels appends the labels between the braces and returns what comes after them.
func (p *plainParser) ownLabels(s string) (rest string, ok bool) {
	for n := 0; n < maxPlainLabels; n++ {
		name, value, found := strings.Cut(s, `="`)
		if !found || !isPlainName(name, false) || strings.HasPrefix(name, model.ReservedLabelPrefix) {
			return "", false
		}
		end := strings.IndexByte(value, '"')
		if end < 0 || strings.IndexByte(value[:end], '\\') >= 0 {
			return "", false
		}
		p.labels = append(p.labels, Label{Name: name, Value: value[:end]})
		s = value[end+1:]
		switch {
		case strings.HasPrefix(s, "}"):
			return s[1:], true
		case strings.HasPrefix(s, ","):
			if s = s[1:]; strings.HasPrefix(s, "}") {
				return s[1:], true
			}
		default:
			return "", false
		}
	}
	return "", false
}

// addGroup merges the labels from there on with the group's, in order. Of two labels of one name the group's counts,
// but not the empty instance that is added to a group without one.
func (p *plainParser) addGroup(from int) bool {
	own := p.labels[from:]
	if !slices.IsSortedFunc(own, compareLabelNames) {
		slices.SortFunc(own, compareLabelNames)
	}
	p.own = append(p.own[:0], own...)
	p.labels = p.labels[:from]
	group := p.group
	for i, l := range p.own {
		if i > 0 && p.own[i-1].Name == l.Name {
			return false
		}
		for len(group) > 0 && group[0].Name < l.Name {
			p.labels = append(p.labels, group[0])
			group = group[1:]
		}
		if len(group) > 0 && group[0].Name == l.Name {
			if p.hasInstance || l.Name != model.InstanceLabel {
				l = group[0]
			}
			group = group[1:]
		}
		p.labels = append(p.labels, l)
	}
	p.labels = append(p.labels, group...)
	return len(p.labels)-from <= MaxLabels
}

func compareLabelNames(a, b Label) int { return strings.Compare(a.Name, b.Name) }

// encode makes the families of what was read, in canonical order.
func (p *PlainPush) encode() bool {
	slices.SortFunc(p.heads, func(a, b plainHead) int { return strings.Compare(a.Name, b.Name) })
	p.families = slices.Grow(p.families, len(p.heads)) // they do not move any more
	for i := range p.heads {
		h := &p.heads[i]
		if i > 0 && p.heads[i-1].Name == h.Name {
			return false
		}
		if h.from == h.to {
			continue // The parser drops a family without samples, too.
		}
		f := p.family(h)
		if f == nil {
			return false
		}
		p.out = append(p.out, f)
	}
	return true
}

func (p *plainParser) family(h *plainHead) *Family {
	p.order = p.order[:0]
	for i := h.from; i < h.to; i++ {
		p.order = append(p.order, i)
	}
	byLabels := func(a, b int) int { return p.compare(p.samples[a], p.samples[b]) }
	if !slices.IsSortedFunc(p.order, byLabels) {
		slices.SortFunc(p.order, byLabels)
	}
	from := len(p.memory)
	for i, at := range p.order {
		s := p.samples[at]
		if i > 0 && p.compare(p.samples[p.order[i-1]], s) == 0 {
			return nil
		}
		labels := p.labels[s.from:s.to]
		p.memory = appendPlain(p.memory, h.Type, labels, s.value)
	}
	for _, at := range p.order {
		s := p.samples[at]
		p.scratch = appendSeries(p.scratch[:0], h.Name, p.labels[s.from:s.to])
		id := hashSeries(p.scratch)
		p.memory = append(p.memory, id[:]...)
	}
	p.families = p.families[:len(p.families)+1]
	f := &p.families[len(p.families)-1]
	f.Set(&h.Header, p.memory[from:], len(p.order))
	return f
}

func (p *plainParser) compare(a, b plainSample) int {
	return slices.CompareFunc(p.labels[a.from:a.to], p.labels[b.from:b.to], func(x, y Label) int {
		return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.Value, y.Value))
	})
}

// appendSeries appends what the ID of a series is hashed from.
func appendSeries(b []byte, name string, labels []Label) []byte {
	b = append(append(b, name...), separator)
	for _, l := range labels {
		b = append(append(b, l.Name...), separator)
		b = append(append(b, l.Value...), separator)
	}
	return b
}

// appendPlain appends the `metric` field of one sample of a plain type, as Go's protobuf library encodes it.
func appendPlain(b []byte, t dto.MetricType, labels []Label, value float64) []byte {
	b = appendLength(b, fieldMetric, plainSize(labels))
	for _, l := range labels {
		b = appendLength(b, fieldLabel, labelSize(l))
		b = append(appendLength(b, fieldLabelName, len(l.Name)), l.Name...)
		b = append(appendLength(b, fieldLabelValue, len(l.Value)), l.Value...)
	}
	b = appendLength(b, plainField(t), valueSize-2)
	b = protowire.AppendTag(b, fieldPlainValue, protowire.Fixed64Type)
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(value))
}

const valueSize = 1 + 1 + 1 + 8 // tag and length of the message, tag and eight bytes of its value

// plainSize is the size of what appendPlain appends, without its own tag and length.
func plainSize(labels []Label) int {
	size := valueSize
	for _, l := range labels {
		size += 1 + protowire.SizeBytes(labelSize(l))
	}
	return size
}

// appendLength begins a field of n bytes. The fields here have small numbers and are mostly short: a byte each for tag
// and length.
func appendLength(b []byte, field protowire.Number, n int) []byte {
	b = append(b, byte(protowire.EncodeTag(field, protowire.BytesType)))
	if n < 1<<7 {
		return append(b, byte(n))
	}
	return protowire.AppendVarint(b, uint64(n))
}

func labelSize(l Label) int {
	return 2 + protowire.SizeBytes(len(l.Name)) + protowire.SizeBytes(len(l.Value))
}

// The fields of the messages inside a metric.
const (
	fieldLabel      protowire.Number = 1 // Metric
	fieldGauge      protowire.Number = 2
	fieldCounter    protowire.Number = 3
	fieldSummary    protowire.Number = 4
	fieldUntyped    protowire.Number = 5
	fieldHistogram  protowire.Number = 7
	fieldLabelName  protowire.Number = 1 // LabelPair
	fieldLabelValue protowire.Number = 2
	fieldPlainValue protowire.Number = 1 // Gauge, Counter and Untyped alike
)

// plainField returns the field of a Metric that holds the value of a plain type.
func plainField(t dto.MetricType) protowire.Number {
	switch t {
	case dto.MetricType_GAUGE:
		return fieldGauge
	case dto.MetricType_COUNTER:
		return fieldCounter
	default:
		return fieldUntyped
	}
}

// plainFloat reads what expfmt and strconv both take for a number. Both take more: hexadecimal digits, for example.
func plainFloat(s string) (float64, bool) {
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9', c == '.', c == '-', c == '+', c == 'e', c == 'E':
		default:
			return plainSpecial(s)
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

func plainSpecial(s string) (float64, bool) {
	switch s {
	case "NaN":
		return math.NaN(), true
	case "+Inf":
		return math.Inf(1), true
	case "-Inf":
		return math.Inf(-1), true
	}
	return 0, false
}

// isPlainName tells whether s matches [a-zA-Z_][a-zA-Z0-9_]*, with colons if they are allowed.
func isPlainName[T string | []byte](s T, colons bool) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '_', c == ':' && colons:
		case '0' <= c && c <= '9' && i > 0:
		default:
			return false
		}
	}
	return len(s) > 0
}
