package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"sync"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"pushquorum/cluster/internal/durable"
)

// valueStore is the store below: raft-boltdb's. Get gives [raftboltdb.ErrKeyNotFound] for a missing key, which Raft
// recognizes by its text.
type valueStore interface {
	Set(key, value []byte) error
	Get(key []byte) ([]byte, error)
}

// termKey is Raft's own name for the current term.
const termKey = "CurrentTerm"

// stableStore keeps Raft's term and vote. All of it is one value, so that a key can neither vanish nor go back in time
// alone: a forgotten vote is a second vote.
type stableStore struct {
	path    string
	inner   valueStore
	onState func() error
	hooks   Hooks

	mu     sync.Mutex
	values map[string]string
}

// openStableStore reads the stored values; a store that has never been written is empty.
func openStableStore(path string, inner valueStore, onState func() error) (*stableStore, error) {
	s := &stableStore{path: path, inner: inner, onState: onState, values: map[string]string{}}
	b, err := inner.Get([]byte(keyStable))
	if errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return s, nil
	}
	if err != nil {
		return nil, durable.Damaged(path, "term and vote cannot be read: %w", err)
	}
	if s.values, err = decodeStable(b); err != nil {
		return nil, durable.Damaged(path, "term and vote are damaged: %w", err)
	}
	return s, nil
}

// hasState tells whether a term has ever been entered.
func (s *stableStore) hasState() bool {
	v, err := s.GetUint64([]byte(termKey))
	return err == nil && v > 0
}

// Set implements raft.StableStore.
func (s *stableStore) Set(key, val []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// else it is durable, by a call that may have failed after that
	if old, ok := s.values[string(key)]; !ok || old != string(val) {
		next := maps.Clone(s.values)
		next[string(key)] = string(val)
		if err := s.write(encodeStable(next)); err != nil {
			return fmt.Errorf("writing %s: %w", s.path, err)
		}
		s.values = next
	}
	if string(key) == termKey && isZero(val) {
		return nil // Raft writes term 0 when it starts for the first time: that is no state yet
	}
	return s.onState()
}

func (s *stableStore) write(content []byte) error {
	if s.hooks.Stable != nil {
		if err := s.hooks.Stable(); err != nil {
			return err
		}
	}
	return s.inner.Set([]byte(keyStable), content)
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// Get implements raft.StableStore.
func (s *stableStore) Get(key []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.values[string(key)]
	if !ok {
		return nil, raftboltdb.ErrKeyNotFound
	}
	return []byte(v), nil
}

// SetUint64 implements raft.StableStore.
func (s *stableStore) SetUint64(key []byte, val uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, val))
}

// GetUint64 implements raft.StableStore.
func (s *stableStore) GetUint64(key []byte) (uint64, error) {
	v, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, durable.Damaged(s.path, "%s has %d bytes instead of 8", key, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

// encodeStable writes key and value pairs in order, each with its length in front, and a CRC-32C after all.
func encodeStable(values map[string]string) []byte {
	var b []byte
	for _, k := range slices.Sorted(maps.Keys(values)) {
		for _, part := range []string{k, values[k]} {
			b = binary.AppendUvarint(b, uint64(len(part)))
			b = append(b, part...)
		}
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, durable.Castagnoli()))
}

func decodeStable(b []byte) (map[string]string, error) {
	if len(b) < 4 {
		return nil, errors.New("too short")
	}
	body := b[:len(b)-4]
	if binary.BigEndian.Uint32(b[len(b)-4:]) != crc32.Checksum(body, durable.Castagnoli()) {
		return nil, errors.New("checksum mismatch")
	}
	values := map[string]string{}
	for len(body) > 0 {
		var parts [2]string
		for i := range parts {
			n, used := binary.Uvarint(body)
			if used <= 0 || n > uint64(len(body)-used) {
				return nil, errors.New("a length does not fit")
			}
			parts[i], body = string(body[used:used+int(n)]), body[used+int(n):]
		}
		values[parts[0]] = parts[1]
	}
	return values, nil
}
