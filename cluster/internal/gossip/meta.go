package gossip

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/hashicorp/memberlist"
)

// Meta is what a replica tells about itself in gossip. The names are short because memberlist allows 512 bytes.
type Meta struct {
	ID           uuid.UUID `json:"i"`
	Name         string    `json:"n"`
	Peer         string    `json:"p"` // host:port of the peer port
	Starts       uint64    `json:"s"`
	HasRaftState bool      `json:"m"` // it has, or had, Raft state
	Cluster      uuid.UUID `json:"c"` // zero: bound to none
	Expect       int       `json:"e"`
	Version      string    `json:"v"`

	Seen int `json:"-"` // how many members had come into this replica's gossip by then; not told to others
}

// EncodeMeta shortens what is only for people until it fits.
func EncodeMeta(m Meta) ([]byte, error) {
	for {
		b, err := json.Marshal(m)
		if err != nil {
			return nil, fmt.Errorf("encoding the gossip about this replica: %w", err)
		}
		switch {
		case len(b) <= memberlist.MetaMaxSize:
			return b, nil
		case m.Version != "":
			m.Version = m.Version[:len(m.Version)/2]
		case m.Name != "":
			m.Name = m.Name[:len(m.Name)/2]
		default:
			return nil, fmt.Errorf("the gossip about this replica has %d bytes, more than %d", len(b),
				memberlist.MetaMaxSize)
		}
	}
}

// DecodeMeta is the inverse of [EncodeMeta]. A replica without an id is none.
func DecodeMeta(b []byte) (Meta, error) {
	var m Meta
	if err := json.Unmarshal(b, &m); err != nil {
		return m, err
	}
	if m.ID == uuid.Nil {
		return m, errors.New("no id")
	}
	return m, nil
}
