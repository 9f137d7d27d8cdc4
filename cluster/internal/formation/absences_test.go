package formation

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
)

func TestTimeInWhichNobodyLookedIsNoAbsence(t *testing.T) {
	idA, idB := uuid.UUID{7}, uuid.UUID{8}
	a := NewAbsences(time.Second)
	now := time.Unix(1000, 0)
	servers := []uuid.UUID{idA, idB}
	look := func(after time.Duration, there ...uuid.UUID) {
		now = now.Add(after)
		set := map[uuid.UUID]bool{}
		for _, id := range there {
			set[id] = true
		}
		a.Observe(now, slices.Values(servers), set)
	}
	look(0, idA, idB)
	look(time.Second, idA)
	look(time.Second, idA)
	if got := a.Of(idB); got != 2*time.Second || a.Of(idA) != 0 {
		t.Fatalf("missing at two looks: %s", got)
	}
	look(time.Hour, idA) // the leader was paused
	if got := a.Of(idB); got != 4*time.Second {
		t.Fatalf("an hour in which nobody looked counts as %s, want two intervals", got-2*time.Second)
	}
	look(time.Second, idA, idB)
	look(time.Second, idA)
	if got := a.Of(idB); got != time.Second {
		t.Fatalf("absent again after it was there: %s", got)
	}
}

func TestALeaderGoesOnFromWhatWasCountedJustNow(t *testing.T) {
	now := time.Unix(1000, 0)
	idA, idB := uuid.UUID{7}, uuid.UUID{8}
	counted := NewAbsences(time.Second)
	counted.Observe(now, slices.Values([]uuid.UUID{idA, idB}), map[uuid.UUID]bool{idB: true})
	for name, c := range map[string]struct {
		after time.Duration
		want  time.Duration
	}{
		"at once":              {0, time.Second},
		"after an election":    {5 * time.Second, time.Second},
		"who was back, maybe":  {maxHandover + 1, 0},
		"after a clock jumped": {-time.Hour, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			next, again := NewAbsences(time.Second), NewAbsences(time.Second)
			again.since, again.looked = maps.Clone(counted.since), counted.looked
			next.TakeOver(now, counted.Counted())
			for who, a := range map[string]*Absences{"another": next, "the same": again} {
				a.Lead(now.Add(c.after))
				if got := a.Of(idA); got != c.want {
					t.Errorf("%s has missed it for %s, want %s", who, got, c.want)
				}
				a.Observe(now.Add(c.after+time.Second), slices.Values([]uuid.UUID{idA}), nil)
				if got := a.Of(idA); got != c.want+time.Second {
					t.Errorf("%s has missed it for %s after a look, want %s", who, got, c.want+time.Second)
				}
			}
		})
	}
}
