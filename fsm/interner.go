package fsm

import (
	"github.com/cespare/xxhash/v2"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"

	"pushquorum/expo"
)

// interner gives the same string for the same bytes, and the same header for the same texts, mostly, because what is
// said of metrics stands in every push and in every group. It remembers few and short ones; which ones does not show.
type interner struct {
	texts   [internedTexts]string
	headers [internedTexts]*expo.Header
}

const (
	internedTexts = 1 << 10
	maxInterned   = 512 // bytes
)

// text is field.text for a string that comes again and again.
func (in *interner) text(f field) (string, error) {
	if len(f.bytes) > maxInterned {
		return f.text()
	}
	slot := &in.texts[xxhash.Sum64(f.bytes)%internedTexts]
	if f.kind == protowire.BytesType && *slot == string(f.bytes) {
		return *slot, nil
	}
	s, err := f.text()
	if err == nil {
		*slot = s
	}
	return s, err
}

// header returns the header with those texts.
func (in *interner) header(name, help, unit field, t dto.MetricType) (*expo.Header, error) {
	slot := &in.headers[xxhash.Sum64(name.bytes)%internedTexts]
	if h := *slot; h != nil && h.Type == t && name.is(h.Name) && help.is(h.Help) && unit.is(h.Unit) {
		return h, nil
	}
	h := &expo.Header{Type: t}
	for _, text := range [...]struct {
		from field
		to   *string
	}{{name, &h.Name}, {help, &h.Help}, {unit, &h.Unit}} {
		if text.from.number == 0 {
			continue // it is not there
		}
		var err error
		if *text.to, err = text.from.text(); err != nil {
			return nil, err
		}
	}
	if len(h.Name)+len(h.Help)+len(h.Unit) <= maxInterned {
		*slot = h
	}
	return h, nil
}
