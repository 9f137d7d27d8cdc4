package cluster

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
)

// serverAddress is what Raft's configuration says about a server beside its id and its vote, as one string:
//
//	<id>@<host:port>                          as it is dialled
//	<id>@<host:port>/<id,…>/<name>            as it is configured
//
// The id makes it unique in a configuration (a replacement often has the address of the replica it replaces), binds a
// vote to a replica and not to an address that may wander, and tells the dialer who is expected to answer. Host and port
// are where it was last seen; they are only used when gossip knows nothing. Name and replaces are here because every
// leader needs them, and gossip forgets the dead.
type serverAddress struct {
	id   uuid.UUID
	peer string // host:port
	// replaces are servers of the same name that did not answer when this one was added.
	replaces []uuid.UUID
	name     string
}

func (a serverAddress) encode() raft.ServerAddress {
	s := a.id.String() + "@" + a.peer
	if a.name == "" && len(a.replaces) == 0 {
		return raft.ServerAddress(s)
	}
	ids := make([]string, len(a.replaces))
	for i, id := range a.replaces {
		ids[i] = id.String()
	}
	return raft.ServerAddress(s + "/" + strings.Join(ids, ",") + "/" + a.name)
}

// parseServerAddress is the inverse of encode.
func parseServerAddress(s raft.ServerAddress) (a serverAddress, err error) {
	where, label, _ := strings.Cut(string(s), "/")
	id, peer, ok := strings.Cut(where, "@")
	if !ok {
		return a, fmt.Errorf("%q is not an address of the form id@host:port", s)
	}
	if a.id, err = uuid.Parse(id); err != nil {
		return a, fmt.Errorf("%q is not an address of the form id@host:port", s)
	}
	a.peer = peer
	ids, name, _ := strings.Cut(label, "/")
	a.name = name
	for _, text := range strings.FieldsFunc(ids, func(r rune) bool { return r == ',' }) {
		replaced, err := uuid.Parse(text)
		if err != nil {
			return a, fmt.Errorf("%q names what it replaces by %q, which is no id", s, text)
		}
		a.replaces = append(a.replaces, replaced)
	}
	return a, nil
}

// without gives the address with only those replaced servers that a configuration still holds.
func (a serverAddress) without(gone func(uuid.UUID) bool) serverAddress {
	a.replaces = slices.DeleteFunc(slices.Clone(a.replaces), gone)
	return a
}
