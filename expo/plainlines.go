package expo

import (
	"encoding/binary"
	"math"
	"strconv"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protowire"
)

// appendPlainLines appends what SampleLines returns, straight from the encoded metrics. It returns false if the family
// is not a counter, gauge or untyped one, or some name needs quotes; what it has appended then is to be ignored.
func (f *Family) appendPlainLines(b []byte) ([]byte, bool) {
	switch f.Type {
	case dto.MetricType_COUNTER, dto.MetricType_GAUGE, dto.MetricType_UNTYPED:
	default:
		return b, false
	}
	if !model.LegacyValidation.IsValidMetricName(f.Name) || f.LabelNames() != LegacyNames {
		return b, false
	}
	// What is not as Canonical makes it is left to the protobuf library.
	var scratch [256]byte
	for rest := f.MetricsIn(scratch[:0]); len(rest) > 0; {
		var (
			metric []byte
			ok     bool
		)
		if metric, rest, ok = cutField(rest, fieldMetric); !ok {
			return b, false
		}
		if b, ok = appendPlainLine(b, f.Name, plainField(f.Type), metric); !ok {
			return b, false
		}
	}
	return b, true
}

// appendPlainLine appends the line of an encoded metric whose value is in that field.
func appendPlainLine(b []byte, name string, valueField protowire.Number, metric []byte) ([]byte, bool) {
	b = append(b, name...)
	before := byte('{')
	for {
		name, value, rest, ok := cutLabel(metric)
		if !ok {
			break // plainly not a label, or something to stumble over below
		}
		metric = rest
		b = append(b, before)
		b = append(b, name...)
		b = append(b, '=', '"')
		b = appendEscapedBytes(b, value)
		b = append(b, '"')
		before = ','
	}
	if before == ',' {
		b = append(b, '}')
	}
	b = append(b, ' ')
	// The value is the first field of its message; what may follow it, an exemplar say, the text format cannot show.
	field, rest, ok := cutField(metric, valueField)
	if !ok || len(rest) > 0 || len(field) < 9 || field[0] != byte(fieldPlainValue<<3)|byte(protowire.Fixed64Type) {
		return b, false
	}
	value := math.Float64frombits(binary.LittleEndian.Uint64(field[1:]))
	if value == 0 {
		value = 0 // expfmt writes no negative zero
	}
	b = strconv.AppendFloat(b, value, 'g', -1, 64)
	return append(b, '\n'), true
}

// cutLabel cuts off the first field of an encoded metric, if it is a label as Canonical makes it.
func cutLabel(metric []byte) (name, value, rest []byte, ok bool) {
	label, rest, ok := cutField(metric, fieldLabel)
	if !ok {
		return nil, nil, metric, false
	}
	if name, label, ok = cutField(label, fieldLabelName); !ok {
		return nil, nil, metric, false
	}
	if value, label, ok = cutField(label, fieldLabelValue); !ok || len(label) > 0 {
		return nil, nil, metric, false
	}
	return name, value, rest, true
}

// cutField cuts off the first field of a message, if it is a length-delimited one of that number, which is below 16.
func cutField(message []byte, number protowire.Number) (content, rest []byte, ok bool) {
	if len(message) < 2 || message[0] != byte(number<<3)|byte(protowire.BytesType) {
		return nil, message, false
	}
	size, n := uint64(message[1]), 1
	if size >= 0x80 {
		if size, n = protowire.ConsumeVarint(message[1:]); n < 0 {
			return nil, message, false
		}
	}
	message = message[1+n:]
	if size > uint64(len(message)) {
		return nil, message, false
	}
	return message[:size], message[size:], true
}

// appendEscapedBytes appends a label's value as it stands between quotes.
func appendEscapedBytes(b, s []byte) []byte {
	done := 0
	for i, c := range s {
		switch c {
		case '\\', '"':
			b = append(append(b, s[done:i]...), '\\', c)
		case '\n':
			b = append(append(b, s[done:i]...), '\\', 'n')
		default:
			continue
		}
		done = i + 1
	}
	return append(b, s[done:]...)
}
