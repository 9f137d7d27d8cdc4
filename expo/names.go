package expo

import (
	"fmt"

	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/encoding/protowire"
)

// nameKind says whether the names in a family look the same under every escaping scheme.
type nameKind uint32

const (
	unknownNames nameKind = iota
	legacyNames           // all label names are legacy-valid: no escaping changes them
	utf8Names             // some label name is changed by escaping
	damaged               // the metrics cannot be read
)

// labelNames returns the kind of the family's label names, which is found out once.
func (f *Family) labelNames() nameKind {
	if k := nameKind(f.names.Load()); k != unknownNames {
		return k
	}
	k := scanLabelNames(f.Metrics)
	f.names.Store(uint32(k))
	return k
}

// scanLabelNames reads the label names out of encoded metrics without decoding the rest.
func scanLabelNames(metrics []byte) nameKind {
	kind := legacyNames
	err := eachField(metrics, func(n protowire.Number, metric []byte) error {
		if n != fieldMetric {
			return ErrDamaged
		}
		return eachField(metric, func(n protowire.Number, label []byte) error {
			if n != 1 { // Metric.label
				return nil
			}
			return eachField(label, func(n protowire.Number, name []byte) error {
				if n == 1 && !model.LegacyValidation.IsValidLabelName(string(name)) { // LabelPair.name
					kind = utf8Names
				}
				return nil
			})
		})
	})
	if err != nil {
		return damaged
	}
	return kind
}

// eachField calls visit for each length-delimited field of a message and skips the others.
func eachField(message []byte, visit func(protowire.Number, []byte) error) error {
	for len(message) > 0 {
		number, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return fmt.Errorf("%w: %w", ErrDamaged, protowire.ParseError(n))
		}
		message = message[n:]
		if typ == protowire.BytesType {
			value, n := protowire.ConsumeBytes(message)
			if n < 0 {
				return fmt.Errorf("%w: %w", ErrDamaged, protowire.ParseError(n))
			}
			if err := visit(number, value); err != nil {
				return err
			}
			message = message[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(number, typ, message); n < 0 {
			return fmt.Errorf("%w: %w", ErrDamaged, protowire.ParseError(n))
		}
		message = message[n:]
	}
	return nil
}
