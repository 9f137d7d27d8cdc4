package expo

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// ErrDamaged is what an error wraps when the Metrics of a Family are not what
// Canonical makes.
var ErrDamaged = errors.New("the stored form of the metric family is damaged")

// The fields of an io.prometheus.client.MetricFamily.
const (
	fieldName   protowire.Number = 1
	fieldHelp   protowire.Number = 2
	fieldType   protowire.Number = 3
	fieldMetric protowire.Number = 4
	fieldUnit   protowire.Number = 5
)

// Family is one metric family of one group in canonical form: what a push stores, the
// log carries and a scrape writes. It must not be changed or copied once it is in use;
// any number of goroutines may then read it.
type Family struct {
	// Header is shared by families that say the same, and never changes.
	*Header

	// Metrics holds the encoded metrics: field 4 of a MetricFamily, tag and length
	// included, once per metric, sorted by labels. The Metrics of several families of
	// the same name, one after the other, are the metrics of the merged family.
	Metrics []byte

	// Series holds the ID of each metric, in the same order. None means that the
	// family is empty now, which a POST can do to a family that had metrics.
	Series []SeriesID

	names    atomic.Uint32 // a nameKind, unknownNames until asked for
	gathered bool          // another one at each scrape, see Gathered
}

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
	return &Family{Header: f.Header, Metrics: bytes.Clone(f.Metrics), Series: slices.Clone(f.Series), gathered: f.gathered}
}

// Decode returns the family as a new protobuf message. An error wraps ErrDamaged.
func (f *Family) Decode() (*dto.MetricFamily, error) {
	mf := &dto.MetricFamily{}
	if err := proto.Unmarshal(f.Metrics, mf); err != nil {
		return nil, fmt.Errorf("decoding family %s: %w: %s", quote(f.Name), ErrDamaged, oneLine(err.Error()))
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
