package raftnet

import (
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"

	"pushquorum/cluster/internal/server"
)

// AddressBook answers Raft's question where a server is: what gossip knows, else what the configuration says.
type AddressBook struct {
	Self       uuid.UUID
	Advertise  string                         // host:port of Self
	Gossiped   func(uuid.UUID) (string, bool) // host:port
	Configured func(uuid.UUID) (raft.ServerAddress, bool)
}

// ServerAddr implements raft.ServerAddressProvider.
func (b *AddressBook) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	u, err := uuid.Parse(string(id))
	if err != nil {
		return "", fmt.Errorf("server id %q: %w", id, err)
	}
	if u == b.Self {
		return server.Address{ID: u, Peer: b.Advertise}.Encode(), nil
	}
	if hostPort, ok := b.Gossiped(u); ok {
		return server.Address{ID: u, Peer: hostPort}.Encode(), nil
	}
	if a, ok := b.Configured(u); ok {
		return a, nil
	}
	return "", errors.New("not known")
}
