package formation

import (
	"slices"
	"time"

	"github.com/google/uuid"
)

// MinVoters is the number below which dead voters are not removed. Two voters bear no loss, as three with a dead one
// do, but the third, when it comes back, would have to be added first, and that takes both of the two.
const MinVoters = 3

// Removable gives those of the failed servers that have been missing for the grace. Of voters, of whom there are so
// many in all, it gives no more than leave [MinVoters]; the order decides who goes first.
func Removable(
	failedVoters, failedOthers []uuid.UUID,
	voters int,
	absent func(uuid.UUID) time.Duration,
	grace time.Duration,
) (outVoters, outOthers []uuid.UUID) {
	within := func(id uuid.UUID) bool { return absent(id) < grace }
	outVoters = slices.DeleteFunc(slices.Clone(failedVoters), within)
	outOthers = slices.DeleteFunc(slices.Clone(failedOthers), within)
	return outVoters[:min(max(0, voters-MinVoters), len(outVoters))], outOthers
}

// Replaced is a member in whose place a newcomer was added, because it has the same name and did not answer then.
type Replaced struct {
	ID       uuid.UUID
	Voter    bool
	Answered bool          // the last time it was asked
	Absent   time.Duration // how long neither gossip nor an answer has told of it, 0: it is there
}

// Predecessors gives those who lose their place when the newcomer gets its vote: who does not answer. Gossip may hold a
// dead one for alive for a while, so its word counts only where several of them vote: a newcomer takes the place of
// one, and the others of its name may be paused.
func Predecessors(replaced []Replaced) (out []uuid.UUID) {
	silent := slices.DeleteFunc(slices.Clone(replaced), func(r Replaced) bool { return r.Answered })
	voters := 0
	for _, r := range silent {
		if r.Voter {
			voters++
		}
	}
	for _, r := range silent {
		if voters <= 1 || !r.Voter || r.Absent > 0 {
			out = append(out, r.ID)
		}
	}
	return out
}
