package expo

import (
	"unsafe"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// wireMessage is what one message of a type takes, in bytes, and its fields by number.
type wireMessage struct {
	size   int64
	fields [17]*wireMessage
}

// The fields that are no messages.
var (
	wireNumber = &wireMessage{size: 8}
	wireText   = &wireMessage{size: 16 + 16} // and a copy of it
	// wireVarints and wireFloats are repeated numbers, one by one or packed; a copy of them is looked at.
	wireVarints = &wireMessage{size: 2 * pointer}
	wireFloats  = &wireMessage{size: 2 * pointer}
)

// wireFamily is the layout of a MetricFamily in memory, with what Canonical makes of each part.
var wireFamily = func() *wireMessage {
	// A message has a place in a slice or in its parent.
	of := func(size uintptr, fields map[protowire.Number]*wireMessage) *wireMessage {
		m := &wireMessage{size: int64(size) + int64(size)/8 + 8}
		for number, field := range fields { // any order: each has a place of its own
			m.fields[number] = field
		}
		return m
	}
	repeated := func(m *wireMessage, more int64) *wireMessage {
		m.size += pointer + more
		return m
	}
	label := repeated(
		of(unsafe.Sizeof(dto.LabelPair{}), map[protowire.Number]*wireMessage{1: wireText, 2: wireText}), 2*8+labelAgain,
	)
	when := of(unsafe.Sizeof(timestamppb.Timestamp{}), nil)
	exemplar := of(unsafe.Sizeof(dto.Exemplar{}), map[protowire.Number]*wireMessage{1: label, 2: wireNumber, 3: when})
	exemplars := repeated(
		of(unsafe.Sizeof(dto.Exemplar{}), map[protowire.Number]*wireMessage{1: label, 2: wireNumber, 3: when}), 0,
	)
	span := repeated(
		of(unsafe.Sizeof(dto.BucketSpan{}), map[protowire.Number]*wireMessage{1: wireNumber, 2: wireNumber}), 8,
	)
	quantile := repeated(
		of(unsafe.Sizeof(dto.Quantile{}), map[protowire.Number]*wireMessage{1: wireNumber, 2: wireNumber}), keySize,
	)
	bucket := repeated(of(unsafe.Sizeof(dto.Bucket{}), map[protowire.Number]*wireMessage{
		1: wireNumber, 2: wireNumber, 3: exemplar, 4: wireNumber,
	}), keySize)
	metric := repeated(of(unsafe.Sizeof(dto.Metric{}), map[protowire.Number]*wireMessage{
		fieldLabel: label,
		fieldGauge: of(unsafe.Sizeof(dto.Gauge{}), map[protowire.Number]*wireMessage{1: wireNumber}),
		fieldCounter: of(
			unsafe.Sizeof(dto.Counter{}), map[protowire.Number]*wireMessage{1: wireNumber, 2: exemplar, 3: when},
		),
		fieldSummary: of(unsafe.Sizeof(dto.Summary{}), map[protowire.Number]*wireMessage{
			1: wireNumber, 2: wireNumber, 3: quantile, 4: when,
		}),
		fieldUntyped: of(unsafe.Sizeof(dto.Untyped{}), map[protowire.Number]*wireMessage{1: wireNumber}),
		6:            wireNumber,
		fieldHistogram: of(unsafe.Sizeof(dto.Histogram{}), map[protowire.Number]*wireMessage{
			1: wireNumber, 2: wireNumber, 3: bucket, 4: wireNumber, 15: when,
			5: wireNumber, 6: wireNumber, 7: wireNumber, 8: wireNumber,
			9: span, 10: wireVarints, 11: wireFloats,
			12: span, 13: wireVarints, 14: wireFloats, 16: exemplars,
		}),
	}), metricAgain)
	return repeated(of(unsafe.Sizeof(dto.MetricFamily{}), map[protowire.Number]*wireMessage{
		fieldName: wireText, fieldHelp: wireText, fieldType: wireNumber, fieldMetric: metric, fieldUnit: wireText,
	}), familyAgain)
}()

// What Canonical allocates on top.
const (
	metricAgain = 290 // the metric as stored, its place, its labels with an empty instance, its SeriesID
	labelAgain  = 90  // a pair without a name or a value, which is made anew
	familyAgain = 700 // its header, its entries in maps
	keySize     = 80  // of a map of the bounds, or quantiles, that are not in order
)

// wireCount adds up what messages take.
type wireCount struct {
	total, most int64
	perMetric   int64 // of the group's labels
	metric      *wireMessage
	packed      int64 // numbers of this metric so far
}

func estimateProtobuf(body []byte, group Labels, most int64) int64 {
	// The body itself is copied, and encoded again, twice.
	c := &wireCount{
		total: fixed + int64(len(group))*perLabel + (2+perEncoded)*int64(len(body)), most: most,
		metric:    wireFamily.fields[fieldMetric],
		perMetric: int64(8*(len(group)+1)) + perEncoded*(group.encoded()+8),
	}
	for len(body) > 0 && c.total <= c.most {
		message, n := protowire.ConsumeBytes(body)
		if n < 0 {
			break // Parse gets no further, either.
		}
		c.total += wireFamily.size
		c.add(message, wireFamily)
		body = body[n:]
	}
	return c.total
}

// add adds the fields of a message, as far as it can be read: Parse gets no further, either.
func (c *wireCount) add(message []byte, m *wireMessage) {
	for len(message) > 0 && c.total <= c.most {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return
		}
		message = message[n:]
		var field *wireMessage
		if int(number) < len(m.fields) {
			field = m.fields[number]
		}
		if kind != protowire.BytesType || field == nil {
			if n = protowire.ConsumeFieldValue(number, kind, message); n < 0 {
				return
			}
			message = message[n:]
			if field != nil {
				c.total += field.size
			}
			continue
		}
		content, n := protowire.ConsumeBytes(message)
		if n < 0 {
			return
		}
		message = message[n:]
		switch field {
		case wireNumber:
		case wireText:
			c.total += field.size + int64(len(content))
		case wireVarints:
			c.addPacked(countVarints(content))
		case wireFloats:
			c.addPacked(int64(len(content)) / 8)
		default:
			c.total += field.size
			if field == c.metric {
				c.total += c.perMetric
				c.packed = 0
			}
			c.add(content, field)
		}
	}
}

// addPacked adds a piece of packed numbers. For each piece the parser makes room for exactly one more and copies all
// there is, so that pieces take the square of their number.
func (c *wireCount) addPacked(numbers int64) {
	c.packed += numbers
	c.total += pointer + 9*c.packed + 2*8*numbers
}

func countVarints(content []byte) (n int64) {
	for _, b := range content {
		if b < 0x80 {
			n++
		}
	}
	return n
}
