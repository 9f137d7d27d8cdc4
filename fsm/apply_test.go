package fsm

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"pushquorum/expo"
)

func TestPutReplacesTheGroupAndPostOnlyTheFamiliesItNames(t *testing.T) {
	m := newMachine(t)
	m.want(m.put("job=a", "x 1\ny 2\n"), Applied, "")
	m.want(m.post("job=a", "y 3\nz 4\n"), Applied, "")
	m.wantSeries(`x{instance="",job="a"} 1`, `y{instance="",job="a"} 3`, `z{instance="",job="a"} 4`)
	m.want(m.put("job=a", "z 5\n"), Applied, "")
	m.wantSeries(`z{instance="",job="a"} 5`)
	m.want(m.put("job=a", ""), Applied, "")
	m.wantSeries()
	if m.View().Len() != 1 {
		t.Error("an empty PUT must keep the group with its push times")
	}
}

func TestDeleteRemovesExactlyThatGroup(t *testing.T) {
	m := newMachine(t)
	m.put("job=a", "x 1\n")
	m.put("job=a,instance=i", "x 2\n")
	m.want(m.delete("job=a"), Applied, "")
	m.wantSeries(`x{instance="i",job="a"} 2`)
	m.want(m.delete("job=nobody"), Applied, "")
	m.wantSeries(`x{instance="i",job="a"} 2`)
	m.want(m.delete("job=a,instance=i"), Applied, "")
	if text := m.text(); text != "" {
		t.Errorf("after deleting every group the scrape is %q, want nothing", text)
	}
}

func TestWipeIsOneEntryAndLeavesAnEmptyStore(t *testing.T) {
	m := newMachine(t)
	empty := m.View()
	for _, job := range []string{"a", "b", "c"} {
		m.put("job="+job, "x 1\n")
	}
	m.want(m.apply(EncodeWipe(newRequest())), Applied, "")
	if text := m.text(); text != textOf(t, empty) || m.View().Len() != 0 {
		t.Errorf("after a wipe the scrape is %q", text)
	}
	m.want(m.put("job=d", "x 1\n"), Applied, "")
	m.want(m.put("job=a", "# TYPE x counter\nx 1\n"), Rejected,
		`"x" is pushed as counter, but stored as untyped; held by /metrics/job/d: push`)
}

func TestPushTimesAreTheLeadersAndNeverGoBackWithinAGroup(t *testing.T) {
	const second = int64(time.Second)
	m := newMachine(t)
	group := labelsOf(t, "job=a")
	get := func() *Group { g, _ := m.View().Group(group.Key()); return g }

	m.applyAt(1, 100*second, pushOf(t, "job=a", true, "x 1\n"))
	if g := get(); g.PushTime != 100*second || g.FailureTime != 0 || !g.LastPushSuccessful() {
		t.Fatalf("after a push at 100 s: %+v", g)
	}
	m.applyAt(2, 90*second, EncodeReject(newRequest(), group))
	if g := get(); g.PushTime != 100*second || g.FailureTime != 100*second {
		t.Fatalf("after a failure at 90 s by the clock of a new leader: %+v, want 100 s", g)
	}
	m.applyAt(3, 110*second, EncodeReject(newRequest(), group))
	if g := get(); g.LastPushSuccessful() {
		t.Fatalf("after a failure at 110 s: %+v", g)
	}
	for _, line := range []string{
		`push_time_seconds{instance="",job="a"} 100`, `push_failure_time_seconds{instance="",job="a"} 110`,
	} {
		if !strings.Contains(m.text(), line+"\n") {
			t.Errorf("the scrape lacks %q:\n%s", line, m.text())
		}
	}
}

func TestARejectedPushChangesOnlyTheFailureTime(t *testing.T) {
	rows := map[string]struct {
		stored [][2]string // group, body
		group  string
		body   string
		post   bool
		reason string
	}{
		"another type in another group": {
			stored: [][2]string{{"job=a", "# TYPE x counter\nx 1\n"}},
			group:  "job=b", body: "# TYPE x gauge\nx 1\nok 1\n",
			reason: `"x" is pushed as gauge, but stored as counter; held by /metrics/job/a: push what is stored, as ` +
				`by "# TYPE x counter", or DELETE those groups first`,
		},
		"another type in this group and another one": {
			stored: [][2]string{{"job=a", "# TYPE x counter\nx 1\n"}, {"job=b,instance=/x", "# TYPE x counter\nx 1\n"}},
			group:  "job=a", body: "# TYPE x gauge\nx 1\n",
			reason: `stored as counter; held by /metrics/job/b/instance@base64/L3g: push`,
		},
		"another type in many groups": {
			stored: groupsOf(12, "x 1\n"),
			group:  "job=a", body: "# TYPE x gauge\nx 1\n", post: true,
			reason: `stored as untyped; held by /metrics/job/a00, /metrics/job/a01, /metrics/job/a02 and 9 more: push`,
		},
		"another type in groups of several shapes": {
			stored: [][2]string{
				{"job=c", "x 1\n"},
				{"job=d", "x 1\ny 1\n"},
				{"job=b", "x 1\nz 1\n"},
				{"job=e", "z{l=\"v\"} 1\n"},
				{"job=f", "x 1\n"},
			},
			group: "job=a", body: "# TYPE x gauge\nx 1\n",
			reason: `held by /metrics/job/b, /metrics/job/c, /metrics/job/d and 1 more: push`,
		},
		"several types, some in many groups": {
			stored: append(groupsOf(3, "x 1\ny 1\n"), [2]string{"job=z", "z 1\n"}),
			group:  "job=a", body: "fine 1\n# TYPE x gauge\nx 1\n# TYPE y counter\ny 1\n# TYPE z gauge\nz 1\n",
			reason: `"x" is pushed as gauge, but stored as untyped, "y" is pushed as counter, but stored as untyped, ` +
				`"z" is pushed as gauge, but stored as untyped; held by /metrics/job/a00, /metrics/job/a01, ` +
				`/metrics/job/a02 and 1 more: push`,
		},
		"more types than there is room for": {
			stored: [][2]string{{"job=z", namesOfType("untyped", 17)}}, group: "job=a", body: namesOfType("gauge", 17),
			reason: `but stored as untyped and 14 more; held by /metrics/job/z: push`,
		},
		"long names and paths": {
			stored: [][2]string{{"job=" + strings.Repeat("j", 300), strings.Repeat("x", 1000) + " 1\n"}},
			group:  "job=a",
			body:   "# TYPE " + strings.Repeat("x", 1000) + " gauge\n" + strings.Repeat("x", 1000) + " 1\n",
			reason: `jjj…: push the type that is stored, or DELETE those groups first`,
		},
		"the same series from a group with more labels": {
			stored: [][2]string{{"job=a", "x{instance=\"i\"} 1\n"}},
			group:  "job=a,instance=i", body: "x 2\n",
			reason: `series x{instance="i",job="a"} was pushed before with the same name and labels to ` +
				`/metrics/job/a: push it there, give it`,
		},
		"the same series from a group with fewer labels": {
			stored: [][2]string{{"job=a,instance=i", "x 2\n"}},
			group:  "job=a", body: "y 1\nx{instance=\"i\"} 1\n", post: true, reason: `to /metrics/job/a/instance/i: ` +
				`push it there, give it a label that tells the two apart, or DELETE that group first`,
		},
		"a name that a stored histogram uses": {
			stored: [][2]string{{"job=a", histogramH}},
			group:  "job=b", body: "h_count 1\n",
			reason: `the untyped "h_count" collides with the samples of the stored histogram "h"; held by ` +
				`/metrics/job/a: push under another name, or DELETE those groups first`,
		},
		"a histogram over a stored name": {
			stored: [][2]string{{"job=a", "h_bucket 1\n"}},
			group:  "job=b", body: histogramH, reason: `the samples of the histogram "h" collide with the stored ` +
				`untyped "h_bucket"; held by /metrics/job/a: push under another`,
		},
		"a summary over a stored name": {
			stored: [][2]string{{"job=a", "s_sum 1\n"}},
			group:  "job=b", body: "# TYPE s summary\ns_sum 1\ns_count 1\n",
			reason: `the samples of the summary "s" collide with the stored untyped "s_sum"`,
		},
		"a name and a type": {
			stored: [][2]string{{"job=a", "h_sum 1\n"}, {"job=b", "x 1\n"}},
			group:  "job=c", body: histogramH + "# TYPE x gauge\nx 1\n",
			reason: `the stored untyped "h_sum", "x" is pushed as gauge, but stored as untyped; held by ` +
				`/metrics/job/a, /metrics/job/b: push under another name`,
		},
		"a POST that collides with the group's own histogram": {
			stored: [][2]string{{"job=a", histogramH}},
			group:  "job=a", body: "h_sum 1\n", post: true,
			reason: `collides with the samples of the stored histogram "h"; held by this group itself: push under ` +
				`another name, or PUT to replace the whole group`,
		},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			for _, s := range row.stored {
				m.want(m.put(s[0], s[1]), Applied, "")
			}
			before := withoutFailureTimes(m.text())
			m.want(m.apply(pushOf(t, row.group, !row.post, row.body)), Rejected, row.reason)
			after := withoutFailureTimes(m.text())
			if g, found := m.View().Group(labelsOf(t, row.group).Key()); !found || g.LastPushSuccessful() {
				t.Errorf("the failed push is not recorded: %+v", g)
			}
			after = strings.ReplaceAll(after, "push_time_seconds"+labelsWithInstance(t, row.group)+" 0\n", "")
			if before != after {
				t.Errorf("the scrape was\n%s\nand is\n%s", before, after)
			}
		})
	}
}

// groupsOf are n groups that hold the same, each with series of its own.
func groupsOf(n int, body string) [][2]string {
	var groups [][2]string
	for i := range n {
		groups = append(groups, [2]string{fmt.Sprintf("job=a%02d", i), body})
	}
	return groups
}

func namesOfType(typ string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "# TYPE name_%02d %s\nname_%02d 1\n", i, typ, i)
	}
	return b.String()
}

const histogramH = "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n"

func withoutFailureTimes(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, expo.PushFailureTimeName) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func labelsWithInstance(t *testing.T, group string) string {
	labels := labelsOf(t, group).Map()
	if _, ok := labels["instance"]; !ok {
		labels["instance"] = ""
	}
	return expo.NewLabels(labels).String()
}

func TestReplacingWithinTheGroupMayChangeTypesAndNames(t *testing.T) {
	const histogram = "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n"
	m := newMachine(t)
	m.want(m.put("job=a", "# TYPE x counter\nx 1\n"+histogram), Applied, "")
	m.want(m.put("job=a", "# TYPE x gauge\nx 1\nh_count 2\n"), Applied, "")
	m.want(m.put("job=a", histogram), Applied, "")
	m.want(m.put("job=b", histogram), Applied, "")
	m.want(m.put("job=a", "# TYPE h gauge\nh 1\n"), Rejected,
		`"h" is pushed as gauge, but stored as histogram; held by /metrics/job/b: push`)
	m.delete("job=b")
	m.want(m.put("job=a", "# TYPE h gauge\nh 1\n"), Applied, "")
	m.want(m.put("job=b", "# TYPE h gauge\nh 1\n"), Applied, "")
}

// {job="a"} and {job="a",instance=""} are two groups with the same push-time series, because series without an instance
// label get an empty one. Both together would make every scrape invalid.
func TestGroupsWithTheSamePushTimeSeriesCannotStandTogether(t *testing.T) {
	m := newMachine(t)
	m.want(m.put("job=a,instance=", "x 1\n"), Applied, "")
	before := m.text()
	m.want(m.put("job=a", "y 1\n"), Rejected, `group {job="a"} has the same push_time_seconds series as the stored `+
		`group {instance="",job="a"}; push to that group, or DELETE /metrics/job/a/instance@base64/= first`)
	m.want(m.apply(EncodeReject(newRequest(), labelsOf(t, "job=a"))), Applied, "")
	if got := m.text(); got != before {
		t.Errorf("the scrape was\n%s\nand is\n%s", before, got)
	}
}

func TestTheLastHelpThatIsNotEmptyWins(t *testing.T) {
	m := newMachine(t)
	help := func() string { h, _ := m.View().Header("x"); return h.Help }
	for _, step := range []struct{ group, body, want string }{
		{"job=a", "# HELP x one\nx 1\n", "one"},
		{"job=b", "x 1\n", "one"},
		{"job=c", "# HELP x three\nx 1\n", "three"},
		{"job=a", "# HELP x one\nx 2\n", "one"},
	} {
		m.want(m.put(step.group, step.body), Applied, "")
		if help() != step.want {
			t.Fatalf("after pushing %q to %s HELP is %q, want %q", step.body, step.group, help(), step.want)
		}
	}
	if got := m.throughSnapshot(); got.text() != m.text() {
		t.Errorf("HELP after a restore: got\n%s\nwant\n%s", got.text(), m.text())
	}
	m.delete("job=b")
	m.delete("job=c")
	m.want(m.put("job=a", "x 3\n"), Applied, "")
	if help() != "" {
		t.Errorf("the only group of x has no HELP any more, the scrape has %q", help())
	}
}

func TestARetryIsAppliedOnceAndNeverUndoesALaterWrite(t *testing.T) {
	m := newMachine(t)
	first := pushOf(t, "job=a", true, "x 1\n")
	m.want(m.apply(first), Applied, "")
	m.want(m.put("job=a", "x 2\n"), Applied, "")
	m.want(m.apply(first), Applied, "")
	m.wantSeries(`x{instance="",job="a"} 2`)

	clash := pushOf(t, "job=b", true, "# TYPE x gauge\nx 1\n")
	m.want(m.apply(clash), Rejected, "is pushed as gauge, but stored as untyped; held by /metrics/job/a")
	m.delete("job=a")
	m.want(m.apply(clash), Rejected, "is pushed as gauge, but stored as untyped; held by /metrics/job/a")

	restored := m.throughSnapshot()
	restored.want(restored.apply(first), Applied, "")
	restored.wantSeries()
}

func TestAnIdOfAnotherRequestIsRefused(t *testing.T) {
	m := newMachine(t)
	r := Request{ID: RequestIDFromKey("nightly")}
	push := func(body string) []byte {
		group := labelsOf(t, "job=a")
		return EncodePush(r, group, true, familiesOf(t, group, body))
	}
	m.want(m.apply(push("x 1\n")), Applied, "")
	r.Seen = 99 // another replica received it
	m.want(m.apply(push("x 1\n")), Applied, "")
	m.want(m.apply(push("x 2\n")), Reused, "Idempotency-Key")
	m.wantSeries(`x{instance="",job="a"} 1`)
}

func TestARequestOlderThanTheMemoryIsNotApplied(t *testing.T) {
	m := newMachine(t)
	old := Request{ID: NewRequestID(), Seen: 1}
	group := labelsOf(t, "job=old")
	for range rememberedRequests + 3 {
		m.delete("job=nobody")
	}
	restored := m.throughSnapshot()
	fresh := Request{ID: NewRequestID(), Seen: m.Applied()}
	for _, m := range []*machine{m, restored} {
		m.want(m.apply(EncodePush(old, group, true, familiesOf(t, group, "x 1\n"))), Forgotten,
			"older than what the replicas remember")
		m.wantSeries()
		m.want(m.apply(EncodePush(fresh, group, true, familiesOf(t, group, "x 1\n"))), Applied, "")
	}
	if m.View().Hash() != restored.View().Hash() {
		t.Error("the machine and the one restored from its snapshot differ after the memory wrapped around")
	}
}

func TestImportLoadsOnlyAStoreThatHasNeverBeenWritten(t *testing.T) {
	group := func(labels, body string, at int64) *Group {
		ls := labelsOf(t, labels)
		g := &Group{Key: ls.Key(), PushTime: at, FailureTime: 2, PushTouched: at, FailureTouched: 3}
		for _, f := range familiesOf(t, ls, body) {
			g.Families = append(g.Families, Stored{Family: f, Time: at})
		}
		return g
	}
	groups := []*Group{group("job=a", "x 1\n", 7e9), group("job=b", "# TYPE x gauge\nx 1\n", 8e9), group("job=c",
		"y 3\n", 9e9)}
	m := newMachine(t)
	m.want(m.apply(EncodeImport(newRequest(), groups)), Applied,
		`group {job="b"} was left out: "x" is pushed as gauge, but stored as untyped; held by /metrics/job/a: push`)
	m.wantSeries(`x{instance="",job="a"} 1`, `y{instance="",job="c"} 3`)
	if !strings.Contains(m.text(), `push_time_seconds{instance="",job="c"} 9`) {
		t.Errorf("the push time was not imported:\n%s", m.text())
	}
	m.apply(EncodeWipe(newRequest()))
	m.want(m.apply(EncodeImport(newRequest(), groups)), Rejected, "written before")
	restored := m.throughSnapshot()
	restored.want(restored.apply(EncodeImport(newRequest(), groups)), Rejected, "written before")
}

func TestAFamilyWithoutSeriesRemovesTheStoredOne(t *testing.T) {
	m := newMachine(t)
	m.put("job=a", "x 1\ny 2\n")
	group := labelsOf(t, "job=a")
	empty := &expo.Family{Header: &expo.Header{Name: "x"}}
	m.want(m.apply(EncodePush(newRequest(), group, false, []*expo.Family{empty})), Applied, "")
	m.wantSeries(`y{instance="",job="a"} 2`)
}

func TestADamagedEntryHaltsTheMachineBeforeItChangesAnything(t *testing.T) {
	good := Seal([][]byte{pushOf(t, "job=b", true, "y 1\n")}, time.Unix(9, 0))
	rows := map[string][]byte{
		"a flipped byte":             append(append([]byte{}, good[:len(good)-1]...), good[len(good)-1]^1),
		"cut short":                  good[:len(good)-1],
		"empty":                      {},
		"another version":            append([]byte{9}, good[1:]...),
		"a command of another kind":  Seal([][]byte{{0xfa, 0x01, 0x00}}, time.Unix(9, 0)),
		"a command that is no proto": Seal([][]byte{{0xff}}, time.Unix(9, 0)),
		"no command":                 Seal(nil, time.Unix(9, 0)),
		"one good command of two": Seal([][]byte{pushOf(t, "job=b", true, "y 1\n"), {0xfa, 0x01, 0x00}},
			time.Unix(9, 0)),
	}
	for name, data := range rows {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.put("job=a", "x 1\n")
			before := m.View().Hash()
			m.Apply(&raft.Log{Index: 2, Type: raft.LogCommand, Data: data})
			m.Apply(&raft.Log{Index: 3, Type: raft.LogCommand, Data: good})
			select {
			case <-m.Halted():
			default:
				t.Fatal("the machine goes on")
			}
			if m.Err() == nil || !strings.Contains(m.Err().Error(), "log entry 2") {
				t.Errorf("the error is %v, want one that names log entry 2", m.Err())
			}
			if m.View().Hash() != before || m.Applied() != 1 {
				t.Errorf("state %s at %d, want %s at 1", m.View().Hash(), m.Applied(), before)
			}
		})
	}
}

func TestTheCommandsOfAnEntryAreAppliedInOrder(t *testing.T) {
	again := Request{ID: NewRequestID()}
	group := labelsOf(t, "job=a")
	commands := [][]byte{
		pushOf(t, "job=a", true, "x 1\ny 1\n"),
		pushOf(t, "job=b", true, "# TYPE x gauge\nx 1\n"),
		EncodePush(again, group, false, familiesOf(t, group, "x 2\n")),
		EncodePush(again, group, false, familiesOf(t, group, "x 2\n")),
		EncodeDelete(Request{ID: NewRequestID()}, labelsOf(t, "job=nobody")),
	}
	m, one := newMachine(t), newMachine(t)
	results := m.applyAll(1, 5e9, commands...)
	for i, want := range []Status{Applied, Rejected, Applied, Applied, Applied} {
		m.want(results[i], want, "")
		one.want(one.applyAt(uint64(i+1), 5e9, commands[i]), want, "")
	}
	m.wantSeries(`x{instance="",job="a"} 2`, `y{instance="",job="a"} 1`)
	if got, want := m.text(), one.text(); got != want {
		t.Errorf("in one entry:\n%s\none by one:\n%s", got, want)
	}
	if m.Applied() != 1 || m.View().Index() != 1 {
		t.Errorf("applied is %d, the view's index %d: both should be the entry's, 1", m.Applied(), m.View().Index())
	}
}

func TestAViewDoesNotChange(t *testing.T) {
	m := newMachine(t)
	m.put("job=a", "x 1\n")
	v, text := m.View(), m.text()
	m.put("job=a", "x 2\n")
	m.put("job=b", "x 2\n")
	m.delete("job=a")
	m.apply(EncodeWipe(newRequest()))
	if got := textOf(t, v); got != text {
		t.Errorf("the view showed\n%s\nand now shows\n%s", text, got)
	}
}

func TestWaitEndsWithTheIndexOrTheContext(t *testing.T) {
	m := newMachine(t)
	done := make(chan error, 1)
	go func() { done <- m.Wait(t.Context(), 2) }()
	m.put("job=a", "x 1\n")
	m.ApplyBatch([]*raft.Log{{Index: 2, Type: raft.LogConfiguration}})
	if err := <-done; err != nil || m.View().Index() != 2 {
		t.Errorf("waiting for a configuration entry: %v, view at %d", err, m.View().Index())
	}
}
