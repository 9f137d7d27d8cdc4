package expo

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// NameKind says whether the names in a family look the same under every escaping scheme.
type NameKind uint32

const (
	unknownNames NameKind = iota
	// LegacyNames are all legacy-valid: no escaping changes them.
	LegacyNames
	// UTF8Names are label names of which escaping changes one at least.
	UTF8Names
	// DamagedNames are those of metrics that cannot be read.
	DamagedNames
)

// LabelNames returns the kind of the family's label names, which is found out once.
func (f *Family) LabelNames() NameKind {
	if k := NameKind(f.state.Load() & namesMask); k != unknownNames {
		return k
	}
	var scratch [256]byte
	k := scanLabelNames(f.MetricsIn(scratch[:0]))
	f.state.Or(uint32(k))
	return k
}

// scanLabelNames reads the label names out of encoded metrics without decoding the rest.
func scanLabelNames(metrics []byte) NameKind {
	kind := LegacyNames
	for rest := metrics; len(rest) > 0; {
		metric, after, ok := cutField(rest, fieldMetric)
		for ok {
			var name []byte
			if name, _, metric, ok = cutLabel(metric); ok && !isPlainName(name, false) {
				kind = UTF8Names
			}
		}
		// As Canonical makes it, the value alone is left.
		if number, _, n := protowire.ConsumeField(metric); n < 0 || n < len(metric) || number == fieldLabel {
			return scanAnyLabelNames(metrics)
		}
		rest = after
	}
	return kind
}

// scanAnyLabelNames is scanLabelNames for whatever Canonical has not made.
func scanAnyLabelNames(metrics []byte) NameKind {
	kind := LegacyNames
	err := eachField(metrics, func(n protowire.Number, metric []byte) error {
		if n != fieldMetric {
			return ErrDamaged
		}
		return eachField(metric, func(n protowire.Number, label []byte) error {
			if n != fieldLabel {
				return nil
			}
			return eachField(label, func(n protowire.Number, name []byte) error {
				if n == fieldLabelName && !isPlainName(name, false) {
					kind = UTF8Names
				}
				return nil
			})
		})
	})
	if err != nil {
		return DamagedNames
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
