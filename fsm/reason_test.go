package fsm

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pushquorum/expo"
)

// The groups that hold names are found by a look at one group of each shape; all groups are looked at here.
func TestTheHoldersOfNamesAreFound(t *testing.T) {
	for seed := range uint64(20) {
		s := &steps{TB: t, Rand: rand.New(rand.NewPCG(seed, 3))}
		m := newMachine(t)
		for step := range 100 {
			m.apply(s.next(m.Applied()))
			names := []string{[]string{"x", "y", "h", "s_count"}[s.IntN(4)], []string{"s", "h_sum", "none"}[s.IntN(3)]}
			but := labelsOf(t, stepGroups[s.IntN(len(stepGroups))]).Key()
			var want []string
			for g := range m.View().Groups() {
				holds := slices.ContainsFunc(g.Families, func(f Stored) bool { return slices.Contains(names, f.Name) })
				if holds && g.Key != but {
					want = append(want, g.Key)
				}
			}
			keys, n := m.store.holders(names, but)
			if n != len(want) || !slices.Equal(keys, want[:min(len(want), holdersListed)]) {
				t.Fatalf("seed %d, step %d: %v is held by %q, %d in all; want the first of %q", seed, step, names, keys,
					n, want)
			}
		}
	}
}

func TestHoldersAreNotLookedForAmongTooManyShapes(t *testing.T) {
	m := newMachine(t)
	for i := range shapesSearched - 1 { // with the empty group of the refused push, as many as are searched
		m.want(m.put(fmt.Sprintf("job=a%03d", i), fmt.Sprintf("x 1\nonly_%d 1\n", i)), Applied, "")
	}
	const wrong = "# TYPE x gauge\nx 1\n"
	m.want(m.put("job=b", wrong), Rejected,
		"held by /metrics/job/a000, /metrics/job/a001, /metrics/job/a002 and 252 more: push")
	m.want(m.put("job=b", wrong), Rejected,
		"held by /metrics/job/a000, /metrics/job/a001, /metrics/job/a002 and 252 more: push")
	m.want(m.put("job=c", "one_more 1\n"), Applied, "")
	m.want(m.put("job=b", wrong), Rejected, `"x" is pushed as gauge, but stored as untyped; too many kinds of groups `+
		`are stored to say which hold it, GET /api/v1/metrics shows them: push what`)
}

// No version writes a grouping key without a name, and its key comes after all others. It must not hold up Apply, which
// has the lock.
func TestTheHoldersAreFoundWhereALabelHasNoName(t *testing.T) {
	m := newMachine(t)
	families := familiesOf(t, labelsOf(t, "job=a"), "x 1\n")
	m.want(m.apply(EncodePush(newRequest(), expo.Labels{{Value: "v"}}, true, families)), Applied, "")
	m.want(m.put("job=b", "y 1\n"), Applied, "") // a shape after it
	ended := make(chan struct{})
	go func() {
		m.store.holders([]string{"z"}, "") // of nobody, so that a search without an end takes no memory
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Fatal("the search for the holders of a name does not end")
	}
	keys, n := m.store.holders([]string{"x", "y"}, "")
	if want := []string{labelsOf(t, "job=b").Key(), "\xffv\xff"}; !slices.Equal(keys, want) || n != len(want) {
		t.Errorf("held by %q, %d in all; want %q", keys, n, want)
	}
	m.want(m.put("job=c", "# TYPE x gauge\nx 1\n"), Rejected, "held by ")
}

func TestAReasonIsCutBehindAWord(t *testing.T) {
	for _, row := range []struct{ reason, want string }{
		{"short", "short"},
		{strings.Repeat("x", maxReason), strings.Repeat("x", maxReason)},
		{strings.Repeat("word ", 200), strings.TrimSuffix(strings.Repeat("word ", maxReason/5), " ") + "…"},
		{strings.Repeat("x", 2*maxReason), strings.Repeat("x", maxReason) + "…"},
		{strings.Repeat("x", maxReason-1) + "ü", strings.Repeat("x", maxReason-1) + "…"},
	} {
		if got := truncate(row.reason); got != row.want {
			t.Errorf("%.50q… of %d bytes: want %q, got %q", row.reason, len(row.reason), row.want, got)
		}
	}
}

// Two versions may word a refusal differently. They must not look as if their states had diverged, nor refuse each
// other's snapshots; what was decided is another matter.
func TestReplicasAgreeOnWhatWasDecidedAndNotOnItsWords(t *testing.T) {
	refused := func(change func(*Result)) *machine {
		m := newMachine(t)
		r := Request{ID: RequestIDFromKey("the same")}
		res := Result{Status: Rejected, Reason: "because"}
		change(&res)
		m.store.requests.remember(request{id: r.ID, index: m.index, result: res})
		m.view = nil
		return m
	}
	plain := refused(func(*Result) {}).View().Hash()
	other := refused(func(r *Result) { r.Reason = "in other words" })
	if other.View().Hash() != plain {
		t.Error("the words of a refusal are in the state hash")
	}
	if refused(func(r *Result) { r.Status = Applied }).View().Hash() == plain {
		t.Error("what became of a request is not in the state hash")
	}
	restored := other.throughSnapshot()
	if res, _ := restored.store.requests.lookup(RequestIDFromKey("the same"), 0, 0); res.Reason != "in other words" {
		t.Errorf("the snapshot lost the reason: %+v", res)
	}
}

// The snapshot was written by a build that worded refusals differently, and had the words in the state hash. Who is
// upgraded must start from it, and what is written now be taken by such a build, in which the upgrade may be undone.
func TestASnapshotWithTheWordsOfAnotherBuildIsRead(t *testing.T) {
	file, err := os.ReadFile("testdata/refused.snapshot")
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t)
	if err := m.Restore(io.NopCloser(bytes.NewReader(file))); err != nil {
		t.Fatalf("restoring: %v", err)
	}
	if _, err := VerifySnapshot(bytes.NewReader(file)); err != nil {
		t.Errorf("verifying: %v", err)
	}
	m.index = m.Applied()
	s, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := s.(*snapshot).write(&again); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Bytes(), file) {
		t.Errorf("want the same snapshot again, got\n%q\nfrom\n%q", again.Bytes(), file)
	}
}

// The check of a push that is accepted, which is nearly each, makes nothing for words that nobody asks for.
func TestTheCheckMakesNoGarbage(t *testing.T) {
	m := newMachine(t)
	m.want(m.put("job=a", "y 1\n"+histogramH), Applied, "")
	m.want(m.put("job=b", "x 1\n"+histogramH), Applied, "")
	labels := labelsOf(t, "job=b")
	old := m.store.group(labels.Key())
	pushed := familiesOf(t, labels, "x{l=\"v\"} 1\nx_count 1\n") // a histogram has names that must be made
	if n := testing.AllocsPerRun(100, func() {
		if reason := m.store.check(old, old, pushed); reason != nil {
			t.Fatal(reason())
		}
	}); n != 0 {
		t.Errorf("a check makes %v allocations, want none", n)
	}
}

// Who repeats a refused push must not have every replica unpack all its series for the words, once for each push.
func TestTheWordsForADuplicateSeriesCostThatSeriesAlone(t *testing.T) {
	m := newMachine(t)
	holder, rival := labelsOf(t, "job=a,x=1"), labelsOf(t, "job=a")
	var held, pushed strings.Builder
	const series = 2000
	for i := range series {
		fmt.Fprintf(&held, "m{y=\"%04d\"} 1\n", i)
		fmt.Fprintf(&pushed, "m{x=\"1\",y=\"%04d\"} 1\n", i)
	}
	m.want(m.put("job=a,x=1", held.String()), Applied, "")
	m.want(m.put("job=a", pushed.String()), Rejected, `series m{instance="",job="a",x="1",y="0000"} was pushed before`)

	family, owner := familiesOf(t, rival, pushed.String())[0], m.store.group(holder.Key())
	reason := duplicateReason(family, series-1, owner)
	if got := reason(); !strings.Contains(got, `y="1999"`) {
		t.Errorf("want the last series, got %s", got)
	}
	const most = 200
	if n := testing.AllocsPerRun(10, func() { reason() }); n > most {
		t.Errorf("the words for one of %d series make %v allocations, want %d at most", series, n, most)
	}
}
