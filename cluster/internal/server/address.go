package server

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

// Address is what Raft's configuration says about a server beside its id and its vote, as one string:
//
//	<id>@<host:port>                          as it is dialled
//	<id>@<host:port>/<id,…>/<name>            as it is configured: with whom it replaces, and its name
//
// The id makes it unique in a configuration (a replacement often has the address of the replica it replaces), binds a
// vote to a replica and not to an address that may wander, and tells the dialer who is expected to answer. Host and
// port are where it was last seen; they are only used when gossip knows nothing. Name and replaces are here because
// every leader needs them, and gossip forgets the dead.
type Address struct {
	ID   uuid.UUID
	Peer string // host:port, "" when it is not known
	// Replaces are servers of the same name that did not answer when this one was added.
	Replaces []uuid.UUID
	Name     string
}

// ServerID is what Raft calls the replica.
func (a Address) ServerID() raft.ServerID { return raft.ServerID(a.ID.String()) }

// Encode gives the string that [ParseAddress] reads.
func (a Address) Encode() raft.ServerAddress {
	s := a.ID.String() + "@" + a.Peer
	if a.Name == "" && len(a.Replaces) == 0 {
		return raft.ServerAddress(s)
	}
	ids := make([]string, len(a.Replaces))
	for i, id := range a.Replaces {
		ids[i] = id.String()
	}
	return raft.ServerAddress(s + "/" + strings.Join(ids, ",") + "/" + a.Name)
}

// ParseAddress is the inverse of [Address.Encode]. The error quotes what it could not read.
func ParseAddress(s raft.ServerAddress) (a Address, err error) {
	where, label, _ := strings.Cut(string(s), "/")
	id, peer, ok := strings.Cut(where, "@")
	if !ok {
		return a, fmt.Errorf("%q is not an address of the form id@host:port", s)
	}
	if a.ID, err = uuid.Parse(id); err != nil {
		return a, fmt.Errorf("%q is not an address of the form id@host:port", s)
	}
	a.Peer = peer
	ids, name, _ := strings.Cut(label, "/")
	a.Name = name
	for _, text := range strings.FieldsFunc(ids, func(r rune) bool { return r == ',' }) {
		replaced, err := uuid.Parse(text)
		if err != nil {
			return a, fmt.Errorf("%q names what it replaces by %q, which is no id", s, text)
		}
		a.Replaces = append(a.Replaces, replaced)
	}
	return a, nil
}

// Without gives the address with only those replaced servers that a configuration still holds.
func (a Address) Without(gone func(uuid.UUID) bool) Address {
	a.Replaces = slices.DeleteFunc(slices.Clone(a.Replaces), gone)
	return a
}
