package expo

import (
	"fmt"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// CheckMetrics returns how many metrics there are in the Metrics of a family of type t. An error, which wraps
// ErrDamaged, says that they could not be written: there is something else among them, or a metric cannot be read or
// has no value of that type. It does not apply Canonical's rules to the values, because those may change, and of what a
// log holds this function must say the same for ever.
func CheckMetrics(t dto.MetricType, metrics []byte) (n int, err error) {
	for len(metrics) > 0 {
		metric, rest, ok := cutField(metrics, fieldMetric)
		if !ok {
			return n, fmt.Errorf("%w: not a metric after the first %d", ErrDamaged, n)
		}
		if last, ok := metricLayout.lastField(skipLabels(metric)); !ok || last != valueField(t) {
			if err := checkMetric(t, metric); err != nil {
				return n, fmt.Errorf("%w: metric %d %w", ErrDamaged, n, err)
			}
		}
		metrics = rest
		n++
	}
	return n, nil
}

// skipLabels returns a metric from behind the labels that it begins with. It skips labels whose lengths are one byte,
// as most are, and stops at the first other one.
func skipLabels(metric []byte) []byte {
	const (
		name  = byte(fieldLabelName<<3) | byte(protowire.BytesType)
		value = byte(fieldLabelValue<<3) | byte(protowire.BytesType)
	)
	for len(metric) > 1 && metric[0] == byte(fieldLabel<<3)|byte(protowire.BytesType) {
		end := 2 + int(metric[1])
		if metric[1] >= 0x80 || end > len(metric) {
			break // the length is longer than a byte, or not true
		}
		label := metric[2:end]
		if len(label) < 4 || label[0] != name {
			break
		}
		at := 2 + int(label[1])
		if at+2 > len(label) || label[at] != value || at+2+int(label[at+1]) != len(label) {
			break
		}
		metric = metric[end:]
	}
	return metric
}

// checkMetric decodes a metric that is not of the usual layout.
func checkMetric(t dto.MetricType, metric []byte) error {
	var m dto.Metric
	if err := proto.Unmarshal(metric, &m); err != nil {
		return fmt.Errorf("cannot be decoded: %s", oneLine(err.Error()))
	}
	if !hasValue(&m, t) {
		return fmt.Errorf("has no %s value", TypeWord(t))
	}
	return nil
}

// hasValue tells whether m has a value of type t.
func hasValue(m *dto.Metric, t dto.MetricType) bool {
	switch t {
	case dto.MetricType_COUNTER:
		return m.Counter != nil
	case dto.MetricType_GAUGE:
		return m.Gauge != nil
	case dto.MetricType_UNTYPED:
		return m.Untyped != nil
	case dto.MetricType_SUMMARY:
		return m.Summary != nil
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		return m.Histogram != nil
	}
	return false
}

// valueField returns the field of a Metric that holds a value of type t.
func valueField(t dto.MetricType) protowire.Number {
	switch t {
	case dto.MetricType_SUMMARY:
		return fieldSummary
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		return fieldHistogram
	default:
		return plainField(t)
	}
}

// layout says which fields an encoded message may have: by the number of a field, which is below 16, a leaf, or the
// layout of the message that the field holds. Comparing a metric with a layout allocates nothing; each replica does it
// for each metric of each push.
type layout [16]*layout

// The leaves.
var (
	varint  = new(layout)
	fixed64 = new(layout)
	text    = new(layout)
)

// metricLayout is the layout of all that Canonical makes but native histograms with exemplars of their own.
var metricLayout = func() *layout {
	label := &layout{1: text, 2: text}
	created := &layout{1: varint, 2: varint}
	exemplar := &layout{1: label, 2: fixed64, 3: created}
	span := &layout{1: varint, 2: varint}
	return &layout{
		fieldLabel:   label,
		fieldGauge:   {1: fixed64},
		fieldCounter: {1: fixed64, 2: exemplar, 3: created},
		fieldSummary: {1: varint, 2: fixed64, 3: {1: fixed64, 2: fixed64}, 4: created},
		fieldUntyped: {1: fixed64},
		fieldHistogram: {
			1: varint, 2: fixed64, 4: fixed64, 15: created,
			3: {1: varint, 2: fixed64, 3: exemplar, 4: fixed64},
			5: varint, 6: fixed64, 7: varint, 8: fixed64,
			9: span, 10: varint, 11: fixed64,
			12: span, 13: varint, 14: fixed64,
		},
	}
}()

// lastField returns the number of the last field of a message, 0 if it has none, and whether it is of that layout.
func (f *layout) lastField(message []byte) (last protowire.Number, ok bool) {
	for len(message) > 0 {
		tag := message[0]
		if tag >= 0x80 {
			return 0, false // the tag is longer
		}
		last = protowire.Number(tag >> 3)
		field := f[last]
		message = message[1:]
		switch protowire.Type(tag & 7) {
		case protowire.VarintType:
			_, n := protowire.ConsumeVarint(message)
			if n < 0 || field != varint {
				return 0, false
			}
			message = message[n:]
		case protowire.Fixed64Type:
			if len(message) < 8 || field != fixed64 {
				return 0, false
			}
			message = message[8:]
		case protowire.BytesType:
			content, n := protowire.ConsumeBytes(message)
			if n < 0 || field == nil || field == varint || field == fixed64 {
				return 0, false
			}
			if field != text {
				if _, ok := field.lastField(content); !ok {
					return 0, false
				}
			}
			message = message[n:]
		default:
			return 0, false
		}
	}
	return last, true
}
