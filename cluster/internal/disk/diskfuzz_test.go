package disk

import (
	"bytes"
	"encoding/json"
	"maps"
	"testing"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/server"
)

// FuzzIdentity: what is accepted has a right checksum, and is written as it was read.
func FuzzIdentity(f *testing.F) {
	b, err := encodeIdentity(IdentityRecord{
		Version: identityVersion, ID: uuid.UUID{1}, Starts: 3, HasRaftState: true,
		Cluster: uuid.UUID{2},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	forming := IdentityRecord{Version: identityVersion, ID: uuid.UUID{1}, Starts: 1, Cluster: uuid.UUID{2}}
	forming.Forming = []raft.ServerAddress{server.Address{ID: uuid.UUID{1}, Peer: "127.0.0.1:1", Name: "a b"}.Encode()}
	if b, err = encodeIdentity(forming); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("{}"))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeIdentity(b)
		if err != nil {
			return
		}
		again, err := encodeIdentity(r)
		if err != nil {
			t.Fatal(err)
		}
		r2, err := decodeIdentity(again)
		if err != nil {
			t.Fatalf("%+v becomes %+v, %v", r, r2, err)
		}
		if twice, err := encodeIdentity(r2); err != nil || !bytes.Equal(twice, again) {
			t.Fatalf("%+v becomes %+v, %v", r, r2, err)
		}
	})
}

// FuzzStableValues: term and vote survive, damage does not.
func FuzzStableValues(f *testing.F) {
	f.Add(encodeStable(map[string]string{termKey: "\x00\x00\x00\x00\x00\x00\x00\x07", "LastVoteCand": "x"}))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		values, err := decodeStable(b)
		if err != nil {
			return
		}
		if again, err := decodeStable(encodeStable(values)); err != nil || !maps.Equal(again, values) {
			t.Fatalf("%q becomes %q, %v", values, again, err)
		}
	})
}

// FuzzSnapshotMeta: meta.json never makes the check stumble.
func FuzzSnapshotMeta(f *testing.F) {
	b, err := json.Marshal(
		snapshotMetaRecord{SnapshotMeta: raft.SnapshotMeta{Version: 1, ID: "1-2-3", Index: 2, Term: 1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decodeSnapshotMeta(b); err == nil && m.Index == 0 {
			t.Fatal("accepted without an index")
		}
	})
}

// FuzzTail: a record is taken only in the form in which it is written, and never one bit away from it.
func FuzzTail(f *testing.F) {
	f.Add(encodeTail(tail{}), uint16(100))
	f.Add(encodeTail(tail{First: 3, Last: 9, Chain: 7}), uint16(190))
	f.Add([]byte(nil), uint16(0))
	for bit := range uint16(8 * tailSize) {
		f.Add(encodeTail(tail{First: 5, Last: 1 << 40, Chain: 1 << 31}), bit)
	}
	f.Fuzz(func(t *testing.T, b []byte, bit uint16) {
		says, err := decodeTail(b)
		if err != nil {
			return
		}
		if !bytes.Equal(encodeTail(says), b) {
			t.Fatalf("%x was taken for %+v", b, says)
		}
		b = bytes.Clone(b)
		b[int(bit)/8%tailSize] ^= 1 << (bit % 8)
		if says, err := decodeTail(b); err == nil {
			t.Fatalf("bit %d changed: %+v", bit, says)
		}
	})
}

// FuzzRaftFile: any change to raft.db is refused or harmless to the walk; it never panics and never ends in a loop.
func FuzzRaftFile(f *testing.F) {
	content, record := raftFileContent(f, 60)
	f.Add(uint32(0), byte(0), uint32(len(content)))
	f.Add(uint32(2048+10), byte(1), uint32(len(content)))
	f.Add(uint32(5000), byte(0xff), uint32(4096))
	f.Fuzz(func(t *testing.T, at uint32, mask byte, size uint32) {
		b := bytes.Clone(content[:min(int(size), len(content))])
		if int(at) < len(b) {
			b[at] ^= mask
		}
		c, err := verifyBolt(bytes.NewReader(b), int64(len(b)), record)
		if err == nil && (c.first != 1 || c.last != 60 || !c.hasStable) {
			t.Fatalf("byte %d changed by %#02x, %d bytes: %+v instead of entries 1 to 60", at, mask, size, c)
		}
	})
}
