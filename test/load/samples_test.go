package main

import (
	"slices"
	"testing"
	"time"
)

func TestAQuantileIsATimeThatWasMeasured(t *testing.T) {
	var all samples
	for i := range 100 {
		all = append(all, sample{took: time.Duration((i*37)%100+1) * time.Millisecond}) // 1 ms to 100 ms, in no order
	}
	for q, want := range map[float64]int64{0: 1, 0.5: 50, 0.99: 99, 0.995: 100, 1: 100} {
		if got := all.quantile(q); got.Milliseconds() != want {
			t.Errorf("quantile %g of 1 to 100 ms: want %d ms, got %s", q, want, got)
		}
	}
	if got := (samples{}).quantile(0.5); got != 0 {
		t.Errorf("median of nothing: want 0, got %s", got)
	}
}

func TestTheMedianLeavesItsValuesInOrder(t *testing.T) {
	values := []int{9, 1, 5, 7}
	if got := median(values); got != 5 {
		t.Errorf("want the lower of the two in the middle, 5, got %d", got)
	}
	if !slices.Equal(values, []int{9, 1, 5, 7}) {
		t.Errorf("the values were moved: %v", values)
	}
}

func TestAPushBelongsToASnapshotWhenTheyMeet(t *testing.T) {
	snapshot := []span{{100, 200}}
	for name, c := range map[string]struct {
		at, took time.Duration
		during   bool
	}{
		"before it":             {10, 50, false},
		"answered as it began":  {50, 50, false},
		"answered while it ran": {50, 51, true},
		"within it":             {120, 10, true},
		"all around it":         {50, 500, true},
		"sent while it ran":     {199, 50, true},
		"sent as it ended":      {200, 50, false},
	} {
		t.Run(name, func(t *testing.T) {
			during, others := samples{{c.at, c.took}}.split(snapshot)
			if len(during)+len(others) != 1 || (len(during) == 1) != c.during {
				t.Errorf("want during=%t, got %v and %v", c.during, during, others)
			}
		})
	}
}

func TestSnapshotsAreReadFromTheLog(t *testing.T) {
	log := `ts=2026-01-02T03:04:05.250Z caller=a.go:1 level=info msg="starting pushquorum"
ts=2026-01-02T03:04:06.500Z caller=b.go:2 level=info msg="took a snapshot" index=9 entries=8 seconds=0.25
`
	got, err := snapshotsIn([]byte(log))
	if err != nil || len(got) != 1 {
		t.Fatalf("want one snapshot, got %v (%v)", got, err)
	}
	end := time.Date(2026, 1, 2, 3, 4, 6, 500e6, time.UTC)
	if !got[0].to.Equal(end) || !got[0].from.Equal(end.Add(-250*time.Millisecond)) {
		t.Errorf("got %v", got[0])
	}
	if got, err := snapshotsIn([]byte(`level=info msg="took a snapshot" index=9` + "\n")); err == nil {
		t.Errorf("a line that has no time: want an error, got %v", got)
	}
}
