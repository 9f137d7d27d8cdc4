package expo

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"sync/atomic"
	"unsafe"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// ErrDamaged is what an error wraps when the Metrics of a Family are not what
// Canonical makes.
var ErrDamaged = errors.New("the stored form of the metric family is damaged")

// Family is one metric family of one group in canonical form: what a push stores, the
// log carries and a scrape writes. It must not be changed or copied once it is in use;
// any number of goroutines may then read it.
//
// There are more of them than of anything else, so it is small: 32 bytes and one piece of
// memory.
type Family struct {
	// Header is shared by families that say the same, and never changes.
	*Header

	memory *byte         // the metrics, and after them the IDs; of a Gauge, the group's key
	bits   uint64        // how many series; of a Gauge, its value
	size   uint32        // bytes of the metrics; of a Gauge, of the key
	state  atomic.Uint32 // a NameKind, unknownNames until asked for, and the flags below
}

const (
	namesMask uint32 = 1<<2 - 1
	// isGathered: each scrape has another one, see GatheredFamily.
	isGathered uint32 = 1 << 2
	// isGauge: its metric is made of a group's key and a value, see Gauge.
	isGauge uint32 = 1 << 3
)

// NewFamily returns a family with these metrics, which it copies, and their IDs.
func NewFamily(h *Header, metrics []byte, series []SeriesID) *Family {
	memory := make([]byte, 0, len(metrics)+len(series)*len(SeriesID{}))
	memory = append(memory, metrics...)
	for i := range series {
		memory = append(memory, series[i][:]...)
	}
	f := new(Family)
	f.Set(h, memory, len(series))
	return f
}

// Set makes f, which is not in use yet, a family with the metrics and, after them, IDs of so many series that stand in
// memory, which is not copied.
func (f *Family) Set(h *Header, memory []byte, series int) {
	size := len(memory) - series*len(SeriesID{})
	if size < 0 || uint64(size) > math.MaxUint32 {
		panic(fmt.Sprintf("expo: a family of %d series in %d bytes", series, len(memory)))
	}
	f.Header, f.memory, f.bits, f.size = h, unsafe.SliceData(memory), uint64(series), uint32(size)
	f.state.Store(0)
}

// Metrics returns the encoded metrics: field 4 of a MetricFamily, tag and length
// included, once per metric, sorted by labels. The Metrics of several families of
// the same name, one after the other, are the metrics of the merged family.
//
// They are not to be changed. Those of a Gauge are made each time.
func (f *Family) Metrics() []byte { return f.MetricsIn(nil) }

// MetricsIn is Metrics, where what has to be made is appended to scratch, which is empty.
func (f *Family) MetricsIn(scratch []byte) []byte {
	if f.is(isGauge) {
		var few [8]Label // of most groups
		return appendPlain(scratch, dto.MetricType_GAUGE, f.gaugeLabels(few[:0]), math.Float64frombits(f.bits))
	}
	return unsafe.Slice(f.memory, f.size)
}

// AppendMetrics appends Metrics to b.
func (f *Family) AppendMetrics(b []byte) []byte {
	var scratch [256]byte
	return append(b, f.MetricsIn(scratch[:0])...)
}

// MetricsSize returns how many bytes Metrics has.
func (f *Family) MetricsSize() int {
	if f.is(isGauge) {
		var few [8]Label
		size := plainSize(f.gaugeLabels(few[:0]))
		return 1 + protowire.SizeBytes(size)
	}
	return int(f.size)
}

// Series returns the ID of each metric, in the same order. None means that the
// family is empty now, which a POST can do to a family that had metrics.
//
// They are not to be changed. That of a Gauge is made each time.
func (f *Family) Series() []SeriesID {
	switch {
	case f.is(isGauge):
		var (
			few     [8]Label
			scratch [256]byte
		)
		return []SeriesID{hashSeries(appendSeries(scratch[:0], f.Name, f.gaugeLabels(few[:0])))}
	case f.bits == 0:
		return nil
	}
	return unsafe.Slice((*SeriesID)(unsafe.Add(unsafe.Pointer(f.memory), f.size)), f.bits)
}

// Len returns how many series the family has.
func (f *Family) Len() int {
	if f.is(isGauge) {
		return 1
	}
	return int(f.bits)
}

func (f *Family) is(flag uint32) bool { return f.state.Load()&flag != 0 }

// Header is what a scrape says about a name once, whatever number of groups have it.
type Header struct {
	Name, Help, Unit string
	Type             dto.MetricType
}

// Exposition yields families in order of name, each name once with its parts, one per
// group, in order. It and the parts can be walked more than once, with the same result.
type Exposition iter.Seq2[Header, iter.Seq[*Family]]

// Clone returns the same family in memory of its own. The header is shared.
func (f *Family) Clone() *Family {
	clone := NewFamily(f.Header, f.Metrics(), f.Series())
	clone.state.Store(f.state.Load() &^ isGauge)
	return clone
}

// Decode returns the family as a new protobuf message. An error wraps ErrDamaged.
func (f *Family) Decode() (*dto.MetricFamily, error) {
	mf := &dto.MetricFamily{}
	if err := proto.Unmarshal(f.Metrics(), mf); err != nil {
		return nil, fmt.Errorf("decoding family %s: %w: %s", Quote(f.Name), ErrDamaged, oneLine(err.Error()))
	}
	setHeader(mf, *f.Header)
	return mf, nil
}

// setHeader puts h into mf. An empty help or unit is left out, because the text format
// has no way to tell an empty help from none.
func setHeader(mf *dto.MetricFamily, h Header) {
	mf.Name, mf.Type, mf.Help, mf.Unit = proto.String(h.Name), h.Type.Enum(), nil, nil
	if h.Help != "" {
		mf.Help = proto.String(h.Help)
	}
	if h.Unit != "" {
		mf.Unit = proto.String(h.Unit)
	}
}

// appendMetric appends the encoded field of one metric.
func appendMetric(b []byte, m *dto.Metric) ([]byte, error) {
	o := proto.MarshalOptions{Deterministic: true}
	b = protowire.AppendTag(b, fieldMetric, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(o.Size(m)))
	o.UseCachedSize = true
	return o.MarshalAppend(b, m)
}

// AppendMetricsOf appends the encoded metrics of mf, in their order. An error is one line; then nothing was appended.
func AppendMetricsOf(b []byte, mf *dto.MetricFamily) ([]byte, error) {
	start := len(b)
	for _, m := range mf.Metric {
		var err error
		if b, err = appendMetric(b, m); err != nil {
			return b[:start], errors.New(oneLine(err.Error()))
		}
	}
	return b, nil
}
