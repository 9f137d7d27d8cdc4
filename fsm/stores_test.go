package fsm

import (
	"testing"

	"pushquorum/expo"
)

func TestWhichCommandsStoreSomething(t *testing.T) {
	group := expo.NewLabels(map[string]string{"job": "a"})
	request := Request{ID: NewRequestID(), Seen: 7}
	for name, c := range map[string]struct {
		command []byte
		stores  bool
	}{
		"a push":                {EncodePush(request, group, true, nil), true},
		"a failed push":         {EncodeReject(request, group), true},
		"an import":             {EncodeImport(request, nil), true},
		"a delete":              {EncodeDelete(request, group), false},
		"a wipe":                {EncodeWipe(request), false},
		"a no-op":               {EncodeNoop(), false},
		"nothing":               {nil, false},
		"something that is cut": {EncodePush(request, group, true, nil)[:20], false},
	} {
		if got := Stores(c.command); got != c.stores {
			t.Errorf("%s stores something: %t", name, got)
		}
	}
}
