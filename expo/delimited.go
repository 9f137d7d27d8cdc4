package expo

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// The fields of an io.prometheus.client.MetricFamily.
const (
	fieldName   protowire.Number = 1
	fieldHelp   protowire.Number = 2
	fieldType   protowire.Number = 3
	fieldMetric protowire.Number = 4
	fieldUnit   protowire.Number = 5
)

// AppendMessageStart appends the length of a MetricFamily message with so many bytes of metrics, and the fields before
// them. The fields are in the order of their numbers, as Go's protobuf library writes them. Family.AppendMetrics and
// AppendMessageEnd append the rest.
func AppendMessageStart(b []byte, h Header, metrics int) []byte {
	size := protowire.SizeTag(fieldName) + protowire.SizeBytes(len(h.Name)) +
		protowire.SizeTag(fieldType) + protowire.SizeVarint(uint64(h.Type)) + metrics
	if h.Help != "" {
		size += protowire.SizeTag(fieldHelp) + protowire.SizeBytes(len(h.Help))
	}
	if h.Unit != "" {
		size += protowire.SizeTag(fieldUnit) + protowire.SizeBytes(len(h.Unit))
	}
	b = protowire.AppendVarint(b, uint64(size))
	b = protowire.AppendTag(b, fieldName, protowire.BytesType)
	b = protowire.AppendString(b, h.Name)
	if h.Help != "" {
		b = protowire.AppendTag(b, fieldHelp, protowire.BytesType)
		b = protowire.AppendString(b, h.Help)
	}
	b = protowire.AppendTag(b, fieldType, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(h.Type)) // Never negative: Canonical sees to it.
}

// AppendMessageEnd appends the one field after the metrics, the unit, if there is one.
func AppendMessageEnd(b []byte, h Header) []byte {
	if h.Unit == "" {
		return b
	}
	b = protowire.AppendTag(b, fieldUnit, protowire.BytesType)
	return protowire.AppendString(b, h.Unit)
}
