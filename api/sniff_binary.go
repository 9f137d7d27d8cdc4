package api

import (
	"encoding/binary"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// isDelimited tells whether a body begins with a length, and a MetricFamily that is as long.
func isDelimited(b []byte) bool {
	family, n := protowire.ConsumeBytes(b)
	return n > 0 && isFamily(family)
}

// isFamily tells whether b is a MetricFamily: a name, and nothing that does not belong to one, among its first fields.
// Its metrics are not looked into.
func isFamily(b []byte) bool {
	const name, help, kind, metric, unit = 1, 2, 3, 4, 5
	const most = 1000 // fields
	named, more := false, false
	for n := 0; len(b) > 0 && n < most; n++ {
		field, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			return false
		}
		b = b[n:]
		switch {
		case field == kind && wire == protowire.VarintType:
			_, n = protowire.ConsumeVarint(b)
			more = true
		case (field == name || field == help || field == unit || field == metric) && wire == protowire.BytesType:
			var value []byte
			value, n = protowire.ConsumeBytes(b)
			if field == name {
				named = n > 0 && isText(value)
			}
			more = more || field == metric
		default:
			return false
		}
		if n < 0 {
			return false
		}
		b = b[n:]
	}
	return named && more
}

// isRemoteWrite tells whether b begins like a request of Prometheus's remote write: version 1 with the labels of a
// first series, version 2 with the strings that its series are made of. Each has the name of a metric there.
func isRemoteWrite(b []byte) bool {
	const timeseries, labels, labelName, symbols = 1, 1, 1, 4
	const wanted = "__name__"
	b = beginning(b, sniffedTextBytes)
	if series, _, ok := consumeField(b, timeseries); ok {
		for {
			label, rest, ok := consumeField(series, labels)
			if !ok {
				break
			}
			if name, _, ok := consumeField(label, labelName); !ok || !utf8.Valid(name) {
				return false
			} else if string(name) == wanted {
				return true
			}
			series = rest
		}
		return false
	}
	symbol, rest, ok := consumeField(b, symbols)
	if !ok || len(symbol) > 0 { // the first is empty
		return false
	}
	for ok {
		if symbol, rest, ok = consumeField(rest, symbols); ok && string(symbol) == wanted {
			return true
		}
	}
	return false
}

// consumeField returns the value of the field that b begins with, as far as there is something of it.
func consumeField(b []byte, number protowire.Number) (value, rest []byte, ok bool) {
	field, wire, n := protowire.ConsumeTag(b)
	if n < 0 || field != number || wire != protowire.BytesType {
		return nil, nil, false
	}
	b = b[n:]
	size, n := protowire.ConsumeVarint(b)
	if n < 0 {
		return nil, nil, false
	}
	b = b[n:]
	if size > uint64(len(b)) {
		return b, nil, true
	}
	return b[:size], b[size:], true
}

// snappyBegin decodes the beginning of snappy's block format; nil if b is none. It decodes so much and no more because
// a block becomes many times its size. (https://github.com/google/snappy/blob/main/format_description.txt)
func snappyBegin(b []byte) []byte {
	const leastRatio, mostRatio = 7.0 / 6, 64.0 // of sizes: what cannot be compressed grows by a sixth
	size, n := binary.Uvarint(b)
	from, to := float64(len(b)), float64(size)
	if n <= 0 || size == 0 || to > mostRatio*from || from > leastRatio*to+32 {
		return nil
	}
	b = b[n:]
	most := int(min(size, sniffedBytes))
	out := make([]byte, 0, most)
	for len(out) < most {
		element, rest, ok := snappyElement(b)
		if !ok || len(rest) < element.literal || element.offset > len(out) {
			return nil
		}
		b = rest[element.literal:]
		out = append(out, rest[:min(element.literal, most-len(out))]...)
		for i := 0; i < element.copied && len(out) < most; i++ {
			out = append(out, out[len(out)-element.offset])
		}
	}
	if len(out) == int(size) && len(b) > 0 {
		return nil
	}
	return out
}

func isRemoteWriteBlock(b []byte) bool { return isRemoteWrite(snappyBegin(b)) }

// isSnappyBlock tells whether b is something that could be pushed, in snappy's block format.
func isSnappyBlock(b []byte) bool {
	out := snappyBegin(b)
	return isText(out) || isDelimited(out)
}

// snappyCopy is one element of a block: so many bytes that follow, or so many that stood so far before.
type snappyCopy struct{ literal, copied, offset int }

func snappyElement(b []byte) (e snappyCopy, rest []byte, ok bool) {
	if len(b) == 0 {
		return e, nil, false
	}
	tag, b := int(b[0]), b[1:]
	number := func(bytes int) int { // of so many bytes, the lowest first
		if ok = len(b) >= bytes; !ok {
			return 0
		}
		n := 0
		for i := range bytes {
			n |= int(b[i]) << (8 * i)
		}
		b = b[bytes:]
		return n
	}
	ok = true
	switch tag & 3 {
	case 0:
		const inTag = 60
		if e.literal = tag>>2 + 1; e.literal > inTag {
			e.literal = number(e.literal-inTag) + 1
		}
	case 1:
		e.copied, e.offset = 4+tag>>2&7, tag&0xe0<<3|number(1)
	case 2:
		e.copied, e.offset = 1+tag>>2, number(2)
	case 3:
		e.copied, e.offset = 1+tag>>2, number(4)
	}
	return e, b, ok && (e.literal > 0 || e.offset > 0)
}
