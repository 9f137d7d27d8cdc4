package cluster

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// raftFileContent is a raft.db with 60 entries, written one by one, so that many stale pages lie in it.
func raftFileContent(t testing.TB, entries uint64) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), raftFile)
	bolt, err := openBoltStore(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := bolt.put(keyStable, encodeStable(map[string]string{termKey: "12345678"})); err != nil {
		t.Fatal(err)
	}
	s := newLogStore(path, bolt, func() error { return nil })
	for i := range entries {
		if err := s.StoreLog(entry(i+1, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := bolt.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// TestPointerToAStalePageIsRefused: of all damage the least visible, an old tree that is whole in itself.
func TestPointerToAStalePageIsRefused(t *testing.T) {
	const entries = 60
	content := raftFileContent(t, entries)
	stale := 0
	for at := 0; ; at++ {
		next := bytes.Index(content[at:], []byte(bucketLogs))
		if next < 0 {
			break
		}
		at += next
		for i := at + len(bucketLogs); i < min(at+len(bucketLogs)+8, len(content)); i++ {
			for mask := 1; mask < 256; mask++ {
				b := bytes.Clone(content)
				b[i] ^= byte(mask)
				_, last, _, err := verifyBolt(bytes.NewReader(b), int64(len(b)))
				if err == nil && last != entries {
					t.Fatalf("byte %d changed by %#02x: the log ends at %d", i, mask, last)
				}
				if err != nil && strings.Contains(err.Error(), "should have") {
					stale++
				}
			}
		}
	}
	if stale == 0 {
		t.Fatal("no change led to a stale page: this test shows nothing")
	}
}

// TestEitherMetaPageMustBeWhole: bbolt would take the older one without a word, and the last write with it would be gone.
func TestEitherMetaPageMustBeWhole(t *testing.T) {
	for entries := range uint64(2) {
		content := raftFileContent(t, 10+entries)
		pageSize := int(binary.NativeEndian.Uint32(content[boltHeader+8:]))
		for _, page := range []int{0, 1} {
			for i := range boltHeader + boltMetaSize {
				if i >= 10 && i < boltHeader {
					continue // count and overflow of a meta page mean nothing
				}
				b := bytes.Clone(content)
				b[page*pageSize+i] ^= 4
				if _, _, _, err := verifyBolt(bytes.NewReader(b), int64(len(b))); err == nil {
					t.Errorf("%d entries, meta page %d, byte %d changed: goes through", 10+entries, page, i)
				}
			}
		}
	}
}
