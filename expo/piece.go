package expo

import (
	"fmt"
	"iter"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// PieceBytes is how many bytes of metrics are decoded, written or compressed at a time. There is no bound on the series
// of a family, and decoded it takes many times its size.
const PieceBytes = 64 << 10

// Pieces yields the metrics of a family, in order, as families of about PieceBytes each. A metric that is larger is a
// piece of its own.
func (f *Family) Pieces() iter.Seq[*Family] {
	return func(yield func(*Family) bool) {
		state := f.state.Load() &^ isGauge
		for rest, series := f.Metrics(), f.Series(); len(rest) > 0; {
			size, n := 0, 0
			for ; size < len(rest) && size < PieceBytes; n++ {
				_, after, ok := cutField(rest[size:], fieldMetric)
				if !ok {
					after = nil // Not as Canonical makes it: who decodes it will say so.
				}
				size = len(rest) - len(after)
			}
			n = min(n, len(series))
			piece := NewFamily(f.Header, rest[:size], series[:n])
			piece.state.Store(state)
			if !yield(piece) {
				return
			}
			rest, series = rest[size:], series[n:]
		}
	}
}

// EncodedMetric is one metric as it is stored.
type EncodedMetric []byte

// Encoded yields the metrics one at a time, because all of them decoded may be many times larger than the family. An
// error, which wraps ErrDamaged, is the last that it yields.
func (f *Family) Encoded() iter.Seq2[EncodedMetric, error] {
	return func(yield func(EncodedMetric, error) bool) {
		for rest := f.Metrics(); len(rest) > 0; {
			encoded, after, ok := cutField(rest, fieldMetric)
			if !ok {
				yield(nil, fmt.Errorf("decoding family %s: %w", Quote(f.Name), ErrDamaged))
				return
			}
			if !yield(encoded, nil) {
				return
			}
			rest = after
		}
	}
}

// Decode returns the metric as a new protobuf message. An error wraps ErrDamaged.
func (m EncodedMetric) Decode() (*dto.Metric, error) {
	decoded := &dto.Metric{}
	if err := proto.Unmarshal(m, decoded); err != nil {
		return nil, fmt.Errorf("decoding a metric: %w: %s", ErrDamaged, oneLine(err.Error()))
	}
	return decoded, nil
}
