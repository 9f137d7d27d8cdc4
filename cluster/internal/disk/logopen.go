package disk

import (
	"errors"

	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/durable"
	"pushquorum/cluster/internal/server"
)

// open reads every entry, follows the chain and compares it with what raft.tail says; covered is the index of the
// newest snapshot, 0 when there is none. It gives the latest configuration in the log. A log that is longer than
// raft.tail says is whole: a crash came between an append and the record, or took the record's last changes with it.
func (s *logStore) open(record tail, covered uint64) (*raft.Configuration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first, last, err := s.ends()
	if err != nil {
		return nil, durable.DamagedLog(s.fileOf(record.Last), "the log cannot be read: %w", err)
	}
	if err := record.missing(first, last); err != nil {
		end := record.Last
		if first > record.First {
			end = record.First
		}
		return nil, durable.DamagedLog(s.fileOf(end), "%w", err)
	}
	chain, configuration, err := s.checkEntries(first, last, record, covered)
	if err != nil {
		return nil, err
	}
	s.publish(tail{First: first, Last: last, Chain: chain})
	return configuration, nil
}

// checkEntries reads entries first to last, first 0 meaning none, and gives the checksum of the last one.
func (s *logStore) checkEntries(first, last uint64, record tail, covered uint64) (chain uint32,
	configuration *raft.Configuration, err error,
) {
	var term uint64
	for index := first; index != 0 && index <= last; index++ {
		var l raft.Log
		prev, own, err := s.read(index, &l)
		if errors.Is(err, raft.ErrLogNotFound) {
			return 0, nil, durable.DamagedLog(s.fileOf(index), "entry %d is missing", index)
		}
		if err != nil {
			return 0, nil, err
		}
		if index != first && prev != chain {
			return 0, nil, durable.DamagedLog(s.fileOf(index), "entry %d does not follow entry %d", index, index-1)
		}
		if index == record.Last && own != record.Chain {
			return 0, nil, durable.DamagedLog(s.fileOf(index), "entry %d is not the one the log ended with", index)
		}
		if l.Term < term {
			return 0, nil, durable.DamagedLog(s.fileOf(index), "entry %d is of term %d, the one before of %d", index,
				l.Term, term)
		}
		chain, term = own, l.Term
		s.latest.add(index, uint64(len(l.Data)))
		if index > covered {
			s.growth.add(index, uint64(len(l.Data)))
			if l.Type == raft.LogConfiguration {
				if !server.IsConfiguration(l.Data) {
					return 0, nil, durable.DamagedLog(s.fileOf(index), "entry %d is no configuration", index)
				}
				c := raft.DecodeConfiguration(l.Data)
				configuration = &c
			}
		}
	}
	return chain, configuration, nil
}
