package server

import (
	"reflect"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

func TestServerAddressesKeepWhatTheySay(t *testing.T) {
	for _, a := range []Address{
		{ID: uuid.UUID{1}, Peer: "10.0.0.1:9095"},
		{ID: uuid.UUID{1}, Peer: "[fe80::1%eth0]:9095", Name: "pod-0"},
		{ID: uuid.UUID{1}, Peer: "h:1", Name: "a/b@c,d", Replaces: []uuid.UUID{{2}, {3}}},
		{ID: uuid.UUID{1}},
	} {
		got, err := ParseAddress(a.Encode())
		if err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("%+v becomes %q becomes %+v, %v", a, a.Encode(), got, err)
		}
	}
	for _, bad := range []raft.ServerAddress{"", "10.0.0.1:9095", "x@h:1", Address{ID: uuid.UUID{1}}.Encode() +
		"/x/name"} {
		if _, err := ParseAddress(bad); err == nil {
			t.Errorf("%q is taken for an address", bad)
		}
	}
	kept := Address{Replaces: []uuid.UUID{{2}, {3}}}.Without(func(id uuid.UUID) bool { return id == uuid.UUID{2} })
	if !slices.Equal(kept.Replaces, []uuid.UUID{{3}}) {
		t.Errorf("kept %v", kept.Replaces)
	}
}
