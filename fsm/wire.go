package fsm

import (
	"fmt"
	"unicode/utf8"
	"unsafe"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"

	"pushquorum/expo"
)

// Commands, groups and requests in the protobuf of fsmpb/command.proto, written from and read into what the store is
// made of, without messages in between: nearly every entry of the log is a push, and this is most of what it costs
// beside its storage. The tests hold it against the generated code.

// The fields of the messages. All numbers are below 16, so a tag is one byte.
const (
	fieldID          protowire.Number = 1 // Command
	fieldSeen        protowire.Number = 2
	fieldFingerprint protowire.Number = 3

	fieldGroup    protowire.Number = 1 // Push, Reject, Delete
	fieldReplace  protowire.Number = 2 // Push
	fieldFamilies protowire.Number = 3 // Push
	fieldGroups   protowire.Number = 1 // Import

	fieldLabels         protowire.Number = 1 // Group
	fieldStored         protowire.Number = 2
	fieldPushTime       protowire.Number = 3
	fieldFailureTime    protowire.Number = 4
	fieldPushTouched    protowire.Number = 5
	fieldFailureTouched protowire.Number = 6

	fieldLabelName  protowire.Number = 1 // Label
	fieldLabelValue protowire.Number = 2

	fieldName       protowire.Number = 1 // Family
	fieldHelp       protowire.Number = 2
	fieldUnit       protowire.Number = 3
	fieldType       protowire.Number = 4
	fieldMetrics    protowire.Number = 5
	fieldSeries     protowire.Number = 6
	fieldStoredTime protowire.Number = 7
)

const (
	tagSize   = 1
	fixedSize = 8
	idSize    = len(RequestID{})
)

// malformedError is the error of a command that can be read and that no version of this program writes. It is rejected,
// the same on all replicas.
type malformedError struct{ reason string }

// Error implements error.
func (e *malformedError) Error() string { return "malformed command: " + e.reason }

func malformed(format string, args ...any) error {
	return &malformedError{fmt.Sprintf(format, args...)}
}

// field is one field of a message. Only the value of its kind is set.
type field struct {
	number protowire.Number
	kind   protowire.Type
	bits   uint64 // of a varint or fixed number
	bytes  []byte // a part of the message
}

// eachField calls f for every field of an encoded message, until one is an error.
func eachField(b []byte, f func(field) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return undecodable(n)
		}
		b = b[n:]
		at := field{number: number, kind: kind}
		switch kind {
		case protowire.VarintType:
			at.bits, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			at.bits, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			at.bytes, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return undecodable(n)
		}
		b = b[n:]
		if err := f(at); err != nil {
			return err
		}
	}
	return nil
}

func undecodable(n int) error { return fmt.Errorf("cannot be decoded: %w", protowire.ParseError(n)) }

// text returns a string field.
func (f field) text() (string, error) {
	if f.kind != protowire.BytesType || !utf8.Valid(f.bytes) {
		return "", fmt.Errorf("cannot be decoded: field %d is not a text", f.number)
	}
	return string(f.bytes), nil
}

// is tells whether the field is that text, which is a valid one, or is not there where there is none.
func (f field) is(text string) bool {
	return (f.kind == protowire.BytesType || f.number == 0) && string(f.bytes) == text
}

// sizeBytes is the size of a field of n bytes; one without any is left out.
func sizeBytes(n int) int {
	if n == 0 {
		return 0
	}
	return tagSize + protowire.SizeBytes(n)
}

// appendText appends a string. What is stored has been validated by expo; what has not must not reach the log, where it
// would halt every replica.
func appendText(b []byte, number protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	if !utf8.ValidString(s) {
		panic(fmt.Sprintf("fsm: encoding %.100q, which is not UTF-8", s))
	}
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), s)
}

func appendVarint(b []byte, number protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), v)
}

func appendFixed(b []byte, number protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendFixed64(protowire.AppendTag(b, number, protowire.Fixed64Type), v)
}

// appendLength begins a message inside a message.
func appendLength(b []byte, number protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.BytesType), uint64(size))
}

func sizeOfLabel(l expo.Label) int { return sizeBytes(len(l.Name)) + sizeBytes(len(l.Value)) }

func sizeOfLabels(ls expo.Labels) int {
	n := 0
	for _, l := range ls {
		n += tagSize + protowire.SizeBytes(sizeOfLabel(l))
	}
	return n
}

func appendLabels(b []byte, number protowire.Number, ls expo.Labels) []byte {
	for _, l := range ls {
		b = appendLength(b, number, sizeOfLabel(l))
		b = appendText(b, fieldLabelName, l.Name)
		b = appendText(b, fieldLabelValue, l.Value)
	}
	return b
}

// decodeLabels reads the labels that stand in b as fields of that number. It refuses what no version of this program
// writes: an empty, unsorted or repeating label set.
func decodeLabels(b []byte, number protowire.Number, in *interner) (expo.Labels, error) {
	labels := make(expo.Labels, 0, countFields(b, number))
	err := eachField(b, func(f field) error {
		if f.number != number {
			return nil
		}
		l, err := decodeLabel(f.bytes, in)
		labels = append(labels, l)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(labels) == 0 {
		return nil, malformed("a group without labels")
	}
	for i := range labels[1:] {
		if labels[i+1].Name <= labels[i].Name {
			return nil, malformed("label %q is out of order", labels[i+1].Name)
		}
	}
	return labels, nil
}

func decodeLabel(b []byte, in *interner) (l expo.Label, err error) {
	err = eachField(b, func(f field) (err error) {
		switch f.number {
		case fieldLabelName:
			l.Name, err = in.text(f)
		case fieldLabelValue:
			l.Value, err = f.text()
		}
		return err
	})
	return l, err
}

func sizeOfFamily(f *expo.Family, unixNano int64) int {
	n := sizeBytes(len(f.Name)) + sizeBytes(len(f.Help)) + sizeBytes(len(f.Unit)) + sizeBytes(f.MetricsSize()) +
		sizeBytes(idSize*f.Len())
	if f.Type != 0 {
		n += tagSize + protowire.SizeVarint(uint64(f.Type))
	}
	if unixNano != 0 {
		n += tagSize + fixedSize
	}
	return n
}

// appendFamily appends a Family; unixNano is 0 in a command.
func appendFamily(b []byte, number protowire.Number, f *expo.Family, unixNano int64) []byte {
	b = appendLength(b, number, sizeOfFamily(f, unixNano))
	b = appendText(b, fieldName, f.Name)
	b = appendText(b, fieldHelp, f.Help)
	b = appendText(b, fieldUnit, f.Unit)
	b = appendVarint(b, fieldType, uint64(f.Type))
	if metrics := f.Metrics(); len(metrics) > 0 {
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldMetrics, protowire.BytesType), metrics)
	}
	if series := f.Series(); len(series) > 0 {
		b = protowire.AppendBytes(protowire.AppendTag(b, fieldSeries, protowire.BytesType), bytesOf(series))
	}
	return appendFixed(b, fieldStoredTime, uint64(unixNano))
}

// countFields returns how many fields of that number b has, as far as it can be read.
func countFields(b []byte, number protowire.Number) int {
	n := 0
	_ = eachField(b, func(f field) error {
		if f.number == number {
			n++
		}
		return nil
	})
	return n
}

// decodeFamilies reads the families that stand in b as fields of that number, sorted by name, and their times. They are
// allocated together, in one piece for the families and one for their metrics and series, because a group mostly lives
// and dies as a whole, and every object costs the garbage collector a look. The memory of b is not kept.
func decodeFamilies(
	b []byte, number protowire.Number, in *interner,
) (families []expo.Family, times []int64, err error) {
	n := countFields(b, number)
	if n == 0 {
		return nil, nil, nil
	}
	families, times = make([]expo.Family, n), make([]int64, 0, n)
	var few [8]encodedFamily // of most pushes
	encoded := few[:0]
	before, size := "", 0
	err = eachField(b, func(f field) error {
		if f.number != number {
			return nil
		}
		e, err := decodeFamily(f.bytes, in)
		if err != nil {
			return err
		}
		encoded, times = append(encoded, e), append(times, e.unixNano)
		size += len(e.metrics) + len(e.series)
		err, before = checkOrder(before, e.header.Name), e.header.Name
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	memory := make([]byte, 0, size)
	for i, e := range encoded {
		from := len(memory)
		memory = append(append(memory, e.metrics...), e.series...)
		families[i].Set(e.header, memory[from:], len(e.series)/idSize)
	}
	return families, times, nil
}

// bytesOf returns the IDs as bytes, in the same memory.
func bytesOf(series []expo.SeriesID) []byte {
	if len(series) == 0 {
		return nil
	}
	return unsafe.Slice(&series[0][0], idSize*len(series))
}

// encodedFamily is a family whose metrics and series are parts of the message.
type encodedFamily struct {
	header          *expo.Header
	metrics, series []byte
	unixNano        int64
}

// decodeFamily reads a family. It refuses one whose parts do not belong together, or that could not be written later.
func decodeFamily(b []byte, in *interner) (out encodedFamily, err error) {
	var name, help, unit field
	var kind dto.MetricType
	err = eachField(b, func(f field) error {
		switch f.number {
		case fieldName:
			name = f
		case fieldHelp:
			help = f
		case fieldUnit:
			unit = f
		case fieldType:
			kind = dto.MetricType(f.bits)
		case fieldMetrics:
			out.metrics = f.bytes
		case fieldSeries:
			out.series = f.bytes
		case fieldStoredTime:
			out.unixNano = int64(f.bits)
		}
		return nil
	})
	if err == nil {
		out.header, err = in.header(name, help, unit, kind)
	}
	if err != nil {
		return out, err
	}
	h := out.header
	if _, ok := dto.MetricType_name[int32(h.Type)]; !ok || h.Name == "" || len(out.series)%idSize != 0 {
		return out, malformed("family %.100q has type %d and %d bytes of series", h.Name, h.Type, len(out.series))
	}
	if h.Name == expo.PushTimeName || h.Name == expo.PushFailureTimeName {
		return out, malformed("%s is not pushed", h.Name)
	}
	n, err := expo.CheckMetrics(h.Type, out.metrics)
	if err != nil {
		return out, malformed("family %.100q: %v", h.Name, err)
	}
	if n != len(out.series)/idSize {
		return out, malformed("family %.100q has %d metrics and %d series", h.Name, n, len(out.series)/idSize)
	}
	return out, nil
}

// checkOrder refuses families that are not sorted by name, each name once.
func checkOrder(before, name string) error {
	if name <= before {
		return malformed("family %.100q is out of order", name)
	}
	return nil
}

func sizeOfGroup(g *Group, labels expo.Labels) int {
	n := sizeOfLabels(labels)
	for _, f := range g.Families {
		n += tagSize + protowire.SizeBytes(sizeOfFamily(f.Family, f.Time))
	}
	for _, t := range [...]int64{g.PushTime, g.FailureTime, g.PushTouched, g.FailureTouched} {
		if t != 0 {
			n += tagSize + fixedSize
		}
	}
	return n
}

// appendGroup appends a Group.
func appendGroup(b []byte, number protowire.Number, g *Group) []byte {
	var few [8]expo.Label // of most groups
	labels := expo.AppendLabels(few[:0], g.Key)
	b = appendLength(b, number, sizeOfGroup(g, labels))
	b = appendLabels(b, fieldLabels, labels)
	for _, f := range g.Families {
		b = appendFamily(b, fieldStored, f.Family, f.Time)
	}
	b = appendFixed(b, fieldPushTime, uint64(g.PushTime))
	b = appendFixed(b, fieldFailureTime, uint64(g.FailureTime))
	b = appendFixed(b, fieldPushTouched, uint64(g.PushTouched))
	return appendFixed(b, fieldFailureTouched, uint64(g.FailureTouched))
}

func decodeGroup(b []byte, in *interner) (*Group, error) {
	labels, err := decodeLabels(b, fieldLabels, in)
	if err != nil {
		return nil, err
	}
	families, times, err := decodeFamilies(b, fieldStored, in)
	if err != nil {
		return nil, err
	}
	g := &Group{Key: labels.Key()}
	if len(families) > 0 {
		g.Families = make([]Stored, 0, len(families))
	}
	for i := range families {
		g.Families = append(g.Families, Stored{Family: &families[i], Time: times[i]})
	}
	err = eachField(b, func(f field) error {
		switch f.number {
		case fieldPushTime:
			g.PushTime = int64(f.bits)
		case fieldFailureTime:
			g.FailureTime = int64(f.bits)
		case fieldPushTouched:
			g.PushTouched = int64(f.bits)
		case fieldFailureTouched:
			g.FailureTouched = int64(f.bits)
		}
		return nil
	})
	return g, err
}
