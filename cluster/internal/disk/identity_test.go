package disk

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/server"
)

// TestFormingIsPartOfTheIdentityOnlyWhileItLasts: a record without it is, to the byte, what it was before there was
// such a field.
func TestFormingIsPartOfTheIdentityOnlyWhileItLasts(t *testing.T) {
	rec := IdentityRecord{
		Version: identityVersion, ID: uuid.UUID{1}, Starts: 3, HasRaftState: true,
		Cluster: uuid.UUID{2},
	}
	const before = `{
  "version": 1,
  "id": "01000000-0000-0000-0000-000000000000",
  "starts": 3,
  "member": true,
  "cluster": "02000000-0000-0000-0000-000000000000",
  "promised": "00000000-0000-0000-0000-000000000000",
  "promised_to": "00000000-0000-0000-0000-000000000000",
  "crc32c": "72206baf"
}
`
	b, err := encodeIdentity(rec)
	if err != nil || string(b) != before {
		t.Fatalf("%s, %v; want %s", b, err, before)
	}
	rec.Forming = []raft.ServerAddress{server.Address{ID: rec.ID, Peer: "127.0.0.1:1", Name: "r 1"}.Encode()}
	if b, err = encodeIdentity(rec); err != nil {
		t.Fatal(err)
	}
	got, err := decodeIdentity(b)
	if servers, ferr := got.formingServers(); err != nil || ferr != nil || len(servers) != 1 ||
		servers[0].ID != raft.ServerID(rec.ID.String()) || servers[0].Address != rec.Forming[0] {
		t.Fatalf("%+v, %v, %v", servers, err, ferr)
	}
	if _, err := decodeIdentity([]byte(strings.Replace(string(b), "127.0.0.1:1", "127.0.0.1:2", 1))); err == nil {
		t.Error("a change of what is being formed is not noticed")
	}
}
