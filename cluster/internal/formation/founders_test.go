package formation

import (
	"slices"
	"testing"

	"github.com/google/uuid"
)

func TestFoundersAreTheSameForAllWhoSeeTheSame(t *testing.T) {
	seen := func(b byte, expect int, state bool) Candidate {
		return Candidate{ID: uuid.UUID{b}, Name: string('a' + rune(b)), Expect: expect, HasRaftState: state}
	}
	for name, c := range map[string]struct {
		alive []Candidate
		want  []uuid.UUID
	}{
		"three of three": {
			[]Candidate{seen(3, 3, false), seen(1, 3, false), seen(2, 3, false)},
			[]uuid.UUID{{1}, {2}, {3}},
		},
		"the smallest three of four": {[]Candidate{
			seen(4, 3, false), seen(3, 3, false), seen(1, 3, false),
			seen(2, 3, false),
		}, []uuid.UUID{{1}, {2}, {3}}},
		"two of three":               {[]Candidate{seen(1, 3, false), seen(2, 3, false)}, nil},
		"one expects something else": {[]Candidate{seen(1, 3, false), seen(2, 3, false), seen(3, 1, false)}, nil},
		"one has state": {[]Candidate{
			seen(1, 3, false), seen(2, 3, false), seen(3, 3, false),
			seen(4, 3, true),
		}, nil},
		"one with state expects other": {[]Candidate{
			seen(1, 3, false), seen(2, 3, false), seen(3, 3, false),
			seen(4, 1, true),
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Founders(c.alive, 3)
			if !slices.Equal(got, c.want) || (err == nil) != (c.want != nil) {
				t.Fatalf("got %v, %v; want %v", got, err, c.want)
			}
		})
	}
}
