package fsm

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// One push while the clock of a leader was in 2099 must not leave push_time_seconds there: an alert on a missing job
// would never fire again. Small steps back are those from one leader's clock to the next one's, and time stands still
// over them.
func TestTimeStandsStillOverSmallStepsBackAndFollowsTheClockOverLargeOnes(t *testing.T) {
	const wrong = int64(4_070_908_800) * int64(time.Second) // in 2099
	for _, tc := range []struct {
		name string
		back time.Duration
		kept bool // the later time
	}{
		{"the same moment", 0, true},
		{"a moment earlier", time.Nanosecond, true},
		{"as far as two clocks may differ", maxStepBack, true},
		{"a little further", maxStepBack + time.Nanosecond, false},
		{"seventy years", 70 * 365 * 24 * time.Hour, false},
	} {
		for _, how := range []string{"PUT", "POST", "a failed push", "a push that is refused"} {
			t.Run(how+" "+tc.name, func(t *testing.T) {
				var logs bytes.Buffer
				m := &machine{TB: t, FSM: New(slog.New(slog.NewTextHandler(&logs, nil)))}
				m.applyAt(1, wrong, pushOf(t, "job=a", true, "kept 1\nx 1\n"))
				m.applyAt(2, wrong, EncodeReject(newRequest(), labelsOf(t, "job=a")))
				m.applyAt(3, wrong, pushOf(t, "job=a", true, "kept 1\nx 1\n"))
				m.applyAt(4, 1, pushOf(t, "job=b", true, "other 1\n"))
				at := wrong - int64(tc.back)
				logs.Reset()
				failed := false
				switch how {
				case "PUT":
					m.want(m.applyAt(5, at, pushOf(t, "job=a", true, "kept 2\nx 2\n")), Applied, "")
				case "POST":
					m.want(m.applyAt(5, at, pushOf(t, "job=a", false, "x 2\n")), Applied, "")
				case "a failed push":
					failed = true
					m.want(m.applyAt(5, at, EncodeReject(newRequest(), labelsOf(t, "job=a"))), Applied, "")
				default:
					failed = true
					m.want(m.applyAt(5, at, pushOf(t, "job=a", true, "# TYPE other counter\nother 1\n")), Rejected,
						"is pushed as counter, but stored as untyped")
				}
				want := at
				if tc.kept {
					want = wrong
				}
				g, _ := m.View().Group(labelsOf(t, "job=a").Key())
				now, other := g.PushTime, g.FailureTime
				if failed {
					now, other = other, now
				}
				if now != want {
					t.Errorf("its time is %s, want %s", time.Unix(0, now).UTC(), time.Unix(0, want).UTC())
				}
				for name, at := range map[string]int64{
					"the other time": other, "push touched": g.PushTouched, "failure touched": g.FailureTouched,
				} {
					if at > want {
						t.Errorf("%s is left behind in the future, at %s", name, time.Unix(0, at).UTC())
					}
				}
				for _, f := range g.Families {
					if f.Time > want {
						t.Errorf("family %s is left behind in the future, at %s", f.Name, time.Unix(0, f.Time).UTC())
					}
				}
				if !tc.kept && g.LastPushSuccessful() == failed {
					t.Errorf("the last push failed: %v, but the group says success %v", failed, g.LastPushSuccessful())
				}
				said := strings.Count(logs.String(), "level=WARN")
				switch {
				case tc.kept && said != 0:
					t.Errorf("a small step back is warned of:\n%s", logs.String())
				case !tc.kept && (said != 1 || !strings.Contains(logs.String(), "groups=1\n") ||
					!strings.Contains(logs.String(), `job=\"a\"`) || !strings.Contains(logs.String(), "2099-01-01")):
					t.Errorf("want one warning with the group and both times, got:\n%s", logs.String())
				}
				sameAfterASnapshot(t, m)
			})
		}
	}
}

// sameAfterASnapshot checks that what a snapshot says of the state is all of it: the sums that are kept with each
// change fit.
func sameAfterASnapshot(t *testing.T, m *machine) {
	t.Helper()
	s, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	sink := &memorySink{}
	if err := s.Persist(sink); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readSnapshot(&sink.Buffer); err != nil {
		t.Errorf("the state is not what its hash says: %v", err)
	}
}

func TestAGroupsTimeGoesBackOnceAndTheWarningsAreOneForAnEntry(t *testing.T) {
	var logs bytes.Buffer
	m := &machine{TB: t, FSM: New(slog.New(slog.NewTextHandler(&logs, nil)))}
	push := func(index uint64, at time.Duration) {
		var commands [][]byte
		for _, job := range []string{"a", "b", "c"} {
			commands = append(commands, pushOf(t, "job="+job, true, "x_"+job+" 1\n"))
		}
		m.applyAll(index, int64(at), commands...)
	}
	push(1, time.Hour)
	push(2, time.Minute)
	push(3, 2*time.Minute)
	if said := strings.Count(logs.String(), "level=WARN"); said != 1 || !strings.Contains(logs.String(), "groups=3") {
		t.Errorf("three groups went back in one entry, and forward in the next; said:\n%s", logs.String())
	}
	m.Apply(&raft.Log{Index: 4, Type: raft.LogConfiguration})
	if said := strings.Count(logs.String(), "level=WARN"); said != 1 {
		t.Errorf("it is said again:\n%s", logs.String())
	}
}
