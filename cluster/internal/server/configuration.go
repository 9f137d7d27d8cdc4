package server

import "github.com/hashicorp/raft"

// IsConfiguration tells whether an entry's data is a configuration: Raft panics over one that is not.
func IsConfiguration(encoded []byte) (ok bool) {
	defer func() { ok = recover() == nil }()
	raft.DecodeConfiguration(encoded)
	return true
}
