package expo

import (
	"math"
	"slices"
	"unsafe"

	"github.com/prometheus/common/model"
)

// Gauge returns a family of one gauge with the labels of the group that has this key: the family that is stored when
// the gauge is pushed to that group. h, whose type is GAUGE, is not copied. The family holds the key and the value
// only, and makes its metric and its ID each time they are asked for, because a store has two of these in each group.
func Gauge(h *Header, key string, value float64) *Family {
	f := &Family{Header: h, memory: unsafe.StringData(key), bits: math.Float64bits(value), size: uint32(len(key))}
	f.state.Store(isGauge)
	return f
}

// WithValue returns a Gauge with the header and the key of f, which is one, and another value.
func (f *Family) WithValue(value float64) *Family {
	return Gauge(f.Header, unsafe.String(f.memory, f.size), value)
}

// gaugeLabels appends the labels of the series of a Gauge: those of the group and an instance.
func (f *Family) gaugeLabels(labels Labels) Labels {
	labels = AppendLabels(labels, unsafe.String(f.memory, f.size))
	if i, found := labels.find(model.InstanceLabel); !found {
		labels = slices.Insert(labels, i, Label{Name: model.InstanceLabel})
	}
	return labels
}
