package expo

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"
	"sync"

	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protowire"

	dto "github.com/prometheus/client_model/go"
)

// linesPool holds the memory in which lines are made, and nothing else.
var linesPool sync.Pool

// plainLines returns what sampleLines gives, straight from the encoded metrics, for a family that appendPlainLines takes.
func (f *Family) plainLines() ([]byte, bool) {
	buf, ok := linesPool.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	defer linesPool.Put(buf)
	b, ok := f.appendPlainLines((*buf)[:0])
	*buf = b
	if !ok {
		return nil, false
	}
	return bytes.Clone(b), true
}

// appendPlainLines appends the sample lines if the family is a counter, gauge or untyped one and no name needs quotes: most are,
// and after a restart the first scrape makes the lines of all of them.
func (f *Family) appendPlainLines(b []byte) ([]byte, bool) {
	switch f.Type {
	case dto.MetricType_COUNTER, dto.MetricType_GAUGE, dto.MetricType_UNTYPED:
	default:
		return b, false
	}
	if !model.LegacyValidation.IsValidMetricName(f.Name) || f.labelNames() != legacyNames {
		return b, false
	}
	field := plainField(f.Type)
	err := eachField(f.Metrics, func(_ protowire.Number, metric []byte) error {
		var err error
		b, err = appendPlainLine(b, f.Name, field, metric)
		return err
	})
	return b, err == nil
}

// appendPlainLine appends the line of an encoded metric whose value is in that field.
func appendPlainLine(b []byte, name string, valueField protowire.Number, metric []byte) ([]byte, error) {
	b = append(b, name...)
	labels, found := 0, false
	var value float64
	err := eachField(metric, func(n protowire.Number, field []byte) error {
		switch n {
		case fieldLabel:
			var name, value []byte
			if err := eachField(field, func(n protowire.Number, s []byte) error {
				switch n {
				case fieldLabelName:
					name = s
				case fieldLabelValue:
					value = s
				}
				return nil
			}); err != nil {
				return err
			}
			b = append(b, "{,"[min(labels, 1)])
			labels++
			b = append(b, name...)
			b = append(b, `="`...)
			b = appendEscapedBytes(b, value)
			b = append(b, '"')
		case valueField:
			// The value is the first field; what may follow it, an exemplar say, the text format cannot show.
			number, typ, tag := protowire.ConsumeTag(field)
			if tag < 0 || number != fieldPlainValue || typ != protowire.Fixed64Type || len(field) < tag+8 {
				return ErrDamaged
			}
			value, found = math.Float64frombits(binary.LittleEndian.Uint64(field[tag:])), true
		default:
			return ErrDamaged
		}
		return nil
	})
	if err != nil {
		return b, err
	}
	if !found {
		return b, ErrDamaged
	}
	if labels > 0 {
		b = append(b, '}')
	}
	b = append(b, ' ')
	if value == 0 {
		value = 0 // expfmt writes no negative zero
	}
	b = strconv.AppendFloat(b, value, 'g', -1, 64)
	return append(b, '\n'), nil
}

// appendEscapedBytes appends a label's value as it stands between quotes.
func appendEscapedBytes(b, s []byte) []byte {
	for {
		i := bytes.IndexAny(s, "\\\n\"")
		if i < 0 {
			return append(b, s...)
		}
		b = append(b, s[:i]...)
		if s[i] == '\n' {
			b = append(b, '\\', 'n')
		} else {
			b = append(b, '\\', s[i])
		}
		s = s[i+1:]
	}
}
