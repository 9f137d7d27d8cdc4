package expo

import (
	"math"
	"slices"
	"unsafe"

	"github.com/prometheus/common/model"
)

// Gauge returns a family with one gauge that has the labels of the group with that key, as a push of it to that group would be
// stored. It takes the header, whose type is GAUGE. It keeps the key and the value and makes what follows from them where it
// is asked for: a store has two of these in each group.
func Gauge(h *Header, key string, value float64) *Family {
	f := &Family{Header: h, memory: unsafe.StringData(key), bits: math.Float64bits(value), size: uint32(len(key))}
	f.state.Store(isGauge)
	return f
}

// WithValue returns what Gauge has returned with another value.
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
