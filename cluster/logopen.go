package cluster

import "github.com/hashicorp/raft"

// open reads the tail record and every entry; first and last (0: none) are the keys that were found in the file. It gives
// the latest configuration in the log. covered is the index of the newest snapshot, 0 when there is none.
func (s *logStore) open(first, last, covered uint64) (*raft.Configuration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.file.get(keyTail)
	if err != nil {
		return nil, damaged(s.path, "the tail record cannot be read: %w", err)
	}
	var t tail
	if b != nil || last != 0 {
		if t, err = decodeTail(b); err != nil {
			return nil, damaged(s.path, "%w", err)
		}
	}
	if first != t.First || last != t.Last {
		return nil, damaged(s.path, "the log has entries %d to %d, should have %d to %d", first, last, t.First, t.Last)
	}
	s.publish(t)
	configuration, err := s.checkEntries(covered)
	if err != nil {
		return nil, err
	}
	if last != 0 && last < covered {
		// A snapshot came from the leader and the crash came before the log it replaces was dropped: Raft goes on after
		// the snapshot, which would leave a gap.
		return nil, s.rewrite(tail{}, 0, nil)
	}
	return configuration, nil
}

// checkEntries reads the whole log and follows its chain.
func (s *logStore) checkEntries(covered uint64) (*raft.Configuration, error) {
	var configuration *raft.Configuration
	var chain uint32
	var term uint64
	for index := s.tail.First; index != 0 && index <= s.tail.Last; index++ {
		var l raft.Log
		prev, own, err := s.read(index, &l)
		if err != nil {
			return nil, damaged(s.path, "entry %d: %w", index, err)
		}
		if index != s.tail.First && prev != chain {
			return nil, damaged(s.path, "entry %d does not follow entry %d", index, index-1)
		}
		if l.Term < term {
			return nil, damaged(s.path, "entry %d is of term %d, the one before of %d", index, l.Term, term)
		}
		chain, term = own, l.Term
		if index > covered {
			s.bytes.Add(uint64(len(l.Data)))
			if l.Type == raft.LogConfiguration {
				c := raft.DecodeConfiguration(l.Data)
				configuration = &c
			}
		}
	}
	if chain != s.tail.Chain {
		return nil, damaged(s.path, "entry %d is not the one the log ended with", s.tail.Last)
	}
	return configuration, nil
}
