package formation

import (
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
)

// idsT are the ids that begin with these bytes.
func idsT(first ...byte) (out []uuid.UUID) {
	for _, b := range first {
		out = append(out, uuid.UUID{b})
	}
	return out
}

func TestOnlyTheLongAbsentAreRemovableAndNeverBelowThreeVoters(t *testing.T) {
	const grace = 10
	for name, c := range map[string]struct {
		voters             int // all of them, the failed included
		absent             map[byte]time.Duration
		failed, others     []uuid.UUID
		wantVoters, wantOf []uuid.UUID
	}{
		"nobody":                      {3, nil, nil, nil, nil, nil},
		"within the grace":            {4, map[byte]time.Duration{4: 9}, idsT(4), nil, nil, nil},
		"after the grace":             {4, map[byte]time.Duration{4: 10}, idsT(4), nil, idsT(4), nil},
		"one of three":                {3, map[byte]time.Duration{3: 99}, idsT(3), nil, nil, nil},
		"one of two":                  {2, map[byte]time.Duration{2: 99}, idsT(2), nil, nil, nil},
		"two of five":                 {5, map[byte]time.Duration{4: 10, 5: 20}, idsT(4, 5), nil, idsT(4, 5), nil},
		"two of four: the first":      {4, map[byte]time.Duration{3: 10, 4: 20}, idsT(3, 4), nil, idsT(3), nil},
		"of two of four one in grace": {4, map[byte]time.Duration{3: 1, 4: 20}, idsT(3, 4), nil, idsT(4), nil},
		"who does not vote":           {3, map[byte]time.Duration{8: 10, 9: 9}, nil, idsT(8, 9), nil, idsT(8)},
		"non-voters count for no quota": {
			3,
			map[byte]time.Duration{3: 10, 8: 10, 9: 10},
			idsT(3), idsT(8, 9), nil,
			idsT(8, 9),
		},
	} {
		t.Run(name, func(t *testing.T) {
			failed, others := slices.Clone(c.failed), slices.Clone(c.others)
			voters, rest := Removable(
				failed,
				others,
				c.voters,
				func(id uuid.UUID) time.Duration { return c.absent[id[0]] },
				grace,
			)
			if !slices.Equal(voters, c.wantVoters) || !slices.Equal(rest, c.wantOf) {
				t.Errorf("removable are %v and %v, want %v and %v", voters, rest, c.wantVoters, c.wantOf)
			}
			if !slices.Equal(failed, c.failed) || !slices.Equal(others, c.others) {
				t.Errorf("what was handed in has become %v and %v", failed, others)
			}
		})
	}
}

func TestPredecessorsAreTheSilentAndOfSeveralVotersTheAbsent(t *testing.T) {
	voter := func(b byte, answered bool, absent time.Duration) Replaced {
		return Replaced{ID: uuid.UUID{b}, Voter: true, Answered: answered, Absent: absent}
	}
	other := func(b byte, answered bool) Replaced { return Replaced{ID: uuid.UUID{b}, Answered: answered} }
	for name, c := range map[string]struct {
		replaced []Replaced
		want     []uuid.UUID
	}{
		"it replaces nobody": {nil, nil},
		"a dead voter":       {[]Replaced{voter(1, false, time.Hour)}, idsT(1)},
		"a dead voter that the gossip still shows": {[]Replaced{voter(1, false, 0)}, idsT(1)},
		"one that was only away":                   {[]Replaced{voter(1, true, 0)}, nil},
		"one that answers, whatever is counted":    {[]Replaced{voter(1, true, time.Hour)}, nil},
		"of two silent voters the absent one": {
			[]Replaced{voter(1, false, 0), voter(2, false, time.Second)},
			idsT(2),
		},
		"two silent voters that gossip still":    {[]Replaced{voter(1, false, 0), voter(2, false, 0)}, nil},
		"two absent voters":                      {[]Replaced{voter(1, false, 1), voter(2, false, 1)}, idsT(1, 2)},
		"a silent voter beside one that answers": {[]Replaced{voter(1, false, 0), voter(2, true, 0)}, idsT(1)},
		"a silent one without a vote":            {[]Replaced{other(1, false)}, idsT(1)},
		"several without a vote": {
			[]Replaced{other(1, false), other(2, false), other(3, true)},
			idsT(1, 2),
		},
		"a voter and one without a vote": {[]Replaced{voter(1, false, 0), other(2, false)}, idsT(1, 2)},
		"two voters and one without a vote": {[]Replaced{
			voter(1, false, 0), voter(2, false, 0),
			other(3, false),
		}, idsT(3)},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Predecessors(c.replaced); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
