package formation

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
)

// ErrTooFew is wrapped when fewer new replicas are seen than are expected.
var ErrTooFew = errors.New("are here")

// Candidate is what a living replica says about itself.
type Candidate struct {
	ID           uuid.UUID
	Name         string
	HasRaftState bool
	Expect       int // how many new replicas it expects to form a cluster with
}

// Founders decides who would form a new cluster, as far as one replica can see: the expect smallest ids, when so many
// replicas without state expect the same number and nobody has state. The first of them coordinates.
func Founders(alive []Candidate, expect int) ([]uuid.UUID, error) {
	var fresh []uuid.UUID
	for _, c := range alive {
		if c.HasRaftState {
			return nil, fmt.Errorf("%s has state: waiting to be added by its leader", c.Name)
		}
		if c.Expect == expect {
			fresh = append(fresh, c.ID)
		}
	}
	if len(fresh) < expect {
		return nil, fmt.Errorf("%d of %d new replicas with --cluster.bootstrap-expect=%d %w",
			len(fresh), expect, expect, ErrTooFew)
	}
	slices.SortFunc(fresh, func(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) })
	return fresh[:expect], nil
}
