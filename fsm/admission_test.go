package fsm

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// admit asks for one command, and applies it if it may go.
func (m *machine) admit(a *Admission, command []byte) Result {
	m.Helper()
	refused, ended, err := a.Admit(context.Background(), [][]byte{command})
	if err != nil {
		m.Fatal(err)
	}
	defer ended()
	if len(refused) > 0 && refused[0].Status != Applied {
		return refused[0]
	}
	return m.apply(command)
}

// seriesBody is n series of one family.
func seriesBody(name string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s{l=\"%d\"} 1\n", name, i)
	}
	return b.String()
}

func histogramBody(count int) string {
	return fmt.Sprintf(
		"# TYPE h histogram\nh_bucket{le=\"1\"} %[1]d\nh_bucket{le=\"+Inf\"} %[1]d\nh_sum 1\nh_count %[1]d\n", count)
}

func (m *machine) reject(group string) []byte { return EncodeReject(newRequest(), labelsOf(m, group)) }

func TestALimitRefusesWhatMakesItsFigureGrow(t *testing.T) {
	put := func(group, body string) func(*machine) []byte {
		return func(m *machine) []byte { return pushOf(m, group, true, body) }
	}
	post := func(group, body string) func(*machine) []byte {
		return func(m *machine) []byte { return pushOf(m, group, false, body) }
	}
	full := func(m *machine) int64 { return m.View().Usage().Bytes }
	type push struct {
		command func(*machine) []byte
		refused string // in the reason; "" for one that goes through
	}
	for name, tc := range map[string]struct {
		limits func(*machine) Limits // of a store with the groups a (x 3 series, y 1) and b (x 1)
		pushes []push
	}{
		"groups": {func(*machine) Limits { return Limits{Groups: 2} }, []push{
			{put("job=c", "x 1\n"), "--limit.groups=2 is reached: 2 are stored, and this push would add 1; "},
			{func(m *machine) []byte { return m.reject("job=c") }, "--limit.groups=2"},
			{func(m *machine) []byte { return m.reject("job=a") }, ""},
			{post("job=a", seriesBody("z", 100)), ""},
		}},
		"fewer groups than there are": {func(*machine) Limits { return Limits{Groups: 1} }, []push{
			{put("job=a", "x 1\n"), ""},
			{put("job=c", "x 1\n"), "--limit.groups=1 is reached: 2 are stored"},
		}},
		"series": {func(*machine) Limits { return Limits{Series: 6} }, []push{
			{
				post("job=a", seriesBody("z", 2)),
				"--limit.series=6 is reached: 5 are stored, and this push would add 2; ",
			},
			{post("job=a", seriesBody("z", 1)), ""},
			{
				post("job=a", seriesBody("x", 4)),
				"--limit.series=6 is reached: 6 are stored, and this push would add 1; ",
			},
			{put("job=c", "x 1\n"), "--limit.series=6"},
			{put("job=c", ""), ""},
			{put("job=a", seriesBody("new", 5)), ""},
			{put("job=a", "x 1\n"), ""},
		}},
		"fewer series than there are": {func(*machine) Limits { return Limits{Series: 1} }, []push{
			{post("job=b", "y{l=\"new\"} 1\n"), "--limit.series=1 is reached: 5 are stored"},
			{put("job=a", seriesBody("x", 4)), ""}, // as many as there are
			{put("job=a", seriesBody("x", 2)), ""},
			{put("job=a", seriesBody("x", 3)), "--limit.series=1 is reached: 3 are stored"},
		}},
		"series of a group": {func(*machine) Limits { return Limits{SeriesPerGroup: 5} }, []push{
			{post("job=a", seriesBody("z", 2)), "--limit.series-per-group=5 is reached: the group has 4, and with " +
				"this push it would have 6; "},
			{put("job=c", seriesBody("z", 6)), "--limit.series-per-group=5"},
			{put("job=c", seriesBody("z", 5)), ""},
			{put("job=a", seriesBody("v", 5)), ""},
		}},
		"bytes": {func(m *machine) Limits { return Limits{StateBytes: full(m) + 1000} }, []push{
			{put("job=c", "x{l=\""+strings.Repeat("v", 1000)+"\"} 1\n"), "--limit.state-bytes="},
			{post("job=a", seriesBody("z", 20)), "is reached: what is stored takes "},
			{put("job=a", "x 1\n"), ""},
		}},
		"bytes, and fewer than there are": {func(m *machine) Limits { return Limits{StateBytes: full(m) / 2} }, []push{
			{func(m *machine) []byte { return m.reject("job=c") }, "--limit.state-bytes="},
			{put("job=a", "x 1\n"), ""},
			{post("job=b", seriesBody("x", 1)), ""},
			{post("job=b", seriesBody("x", 2)), "--limit.state-bytes="},
		}},
		"the same histogram with more in it": {func(m *machine) Limits {
			m.want(m.put("job=h", histogramBody(100)), Applied, "")
			return Limits{StateBytes: full(m) / 2}
		}, []push{
			{put("job=h", histogramBody(1000)), ""},
			{put("job=h", histogramBody(1<<60)), ""},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.want(m.put("job=a", seriesBody("x", 3)+"y 1\n"), Applied, "")
			m.want(m.put("job=b", seriesBody("x", 1)), Applied, "")
			a := NewAdmission(m.FSM, tc.limits(m))
			for i, p := range tc.pushes {
				before := m.View().Hash()
				res := m.admit(a, p.command(m))
				if p.refused == "" && res.Status == Full ||
					p.refused != "" && (res.Status != Full || !strings.Contains(res.Reason, p.refused)) {
					t.Errorf("push %d: %+v, want %q", i, res, p.refused)
				}
				if strings.ContainsAny(res.Reason, "\n") {
					t.Errorf("push %d: a reason of more than one line: %q", i, res.Reason)
				}
				if res.Status == Full && m.View().Hash() != before {
					t.Errorf("push %d was refused and has changed something", i)
				}
			}
			for _, c := range [][]byte{
				EncodeDelete(newRequest(), labelsOf(t, "job=a")), EncodeNoop(), EncodeWipe(newRequest()),
			} {
				if res := m.admit(a, c); res != (Result{}) {
					t.Errorf("a delete, a no-op or a wipe: %+v", res)
				}
			}
			if res := m.admit(a, pushOf(t, "job=fresh", true, "x 1\n")); res.Status != Applied &&
				a.limits.StateBytes == 0 {
				t.Errorf("after the wipe: %+v", res)
			}
		})
	}
}

// The same series again take more bytes with other values, and what is stored must go on.
func TestUpdatesThatAddNoSeriesHaveAReserve(t *testing.T) {
	m := newMachine(t)
	histogram := func(n int) string {
		return fmt.Sprintf("# TYPE h histogram\nh_bucket{le=\"1\"} %d\nh_bucket{le=\"+Inf\"} %d\nh_sum 1\nh_count %d\n",
			n, n, n)
	}
	for i := range 100 {
		m.want(m.put(fmt.Sprintf("job=%d", i), histogram(1)), Applied, "")
	}
	limit := m.View().Usage().Bytes
	a := NewAdmission(m.FSM, Limits{StateBytes: limit})
	for i := range 100 {
		m.want(m.admit(a, pushOf(t, fmt.Sprintf("job=%d", i), true, histogram(1<<40))), Applied, "")
	}
	if got := m.View().Usage().Bytes; got <= limit {
		t.Fatalf("%d bytes of %d: the updates have taken no more, so this test shows nothing", got, limit)
	}
	m.want(m.admit(a, pushOf(t, "job=new", true, "x 1\n")), Full, "--limit.state-bytes=")
	value := strings.Repeat("v", int(limit)/updateReserve)
	m.want(m.admit(a, pushOf(t, "job=0", true, "# HELP h "+value+"\n"+histogram(1))), Full, "--limit.state-bytes=")
}

func TestAGroupFitsIntoARecord(t *testing.T) {
	m := newMachine(t)
	a := NewAdmission(m.FSM, Limits{})
	a.maxGroup = 100_000
	refused := 0
	for i := range 100 {
		body := fmt.Sprintf("# HELP f%d %s\nf%d{l=%q} 1\n", i, strings.Repeat("h", 1000), i, strings.Repeat("v", 1000))
		res := m.admit(a, pushOf(t, "job=a", false, body))
		if res.Status == Full {
			refused++
			m.want(res, Full, "a group may take 100000 bytes: it takes ")
			if res.Limit() != "group_bytes" {
				t.Errorf("the limit is said to be %s", res.Limit())
			}
		}
	}
	g := m.store.group(labelsOf(t, "job=a").Key())
	if n := sizeOfGroup(g, g.Labels()); refused == 0 || n > int(a.maxGroup) || n < int(a.maxGroup)/2 {
		t.Errorf("of 100 pushes %d were refused, and the group takes %d bytes in a snapshot", refused, n)
	}
	m.want(m.admit(a, pushOf(t, "job=b", false, "x 1\n")), Applied, "") // that another group is large is no matter
	if res := m.admit(a, pushOf(t, "job=a", true, "x{l=\"1\"} 1\n")); res.Status != Applied {
		t.Errorf("a push that makes it smaller: %+v", res)
	}
}

func TestTheLargestGroupIsFarSmallerThanARecord(t *testing.T) {
	if MaxGroup > maxRecord/2 {
		t.Errorf("a group may have %d bytes, a record %d", MaxGroup, maxRecord)
	}
}

func TestAnImportIsRefusedAsAWhole(t *testing.T) {
	groups := func() (out []*Group) {
		for i := range 10 {
			labels := labelsOf(t, fmt.Sprintf("job=%d", i))
			g := &Group{Key: labels.Key(), PushTime: 1}
			for _, f := range familiesOf(t, labels, seriesBody("x", 2)) {
				g.Families = append(g.Families, Stored{Family: f, Time: 1})
			}
			out = append(out, g)
		}
		return out
	}
	for limit, l := range map[string]Limits{
		"--limit.groups=9": {Groups: 9}, "--limit.series=19": {Series: 19},
		"--limit.series-per-group=1": {SeriesPerGroup: 1}, "--limit.state-bytes=5000": {StateBytes: 5000},
	} {
		m := newMachine(t)
		m.want(m.admit(NewAdmission(m.FSM, l), EncodeImport(newRequest(), groups())), Full, limit)
		if m.View().Len() != 0 {
			t.Errorf("%s: %d groups have been imported", limit, m.View().Len())
		}
	}
	m := newMachine(t)
	a := NewAdmission(m.FSM, Limits{Groups: 10, Series: 20, SeriesPerGroup: 2, StateBytes: 20000})
	m.want(m.admit(a, EncodeImport(newRequest(), groups())), Applied, "")
	m.want(m.admit(a, EncodeImport(newRequest(), groups())), Rejected, "written before") // as ever
	if m.View().Len() != 10 {
		t.Errorf("%d groups have been imported", m.View().Len())
	}
}

// A retry has been counted; to refuse it would be to deny what was acknowledged.
func TestARetryOfWhatIsStoredIsNotRefused(t *testing.T) {
	m := newMachine(t)
	a := NewAdmission(m.FSM, Limits{Groups: 1})
	c := pushOf(t, "job=a", true, "x 1\n")
	m.want(m.admit(a, c), Applied, "")
	m.delete("job=a")
	m.want(m.admit(a, pushOf(t, "job=b", true, "x 1\n")), Applied, "")
	m.want(m.admit(a, c), Applied, "") // known, and not applied again
	if m.View().Len() != 1 {
		t.Errorf("%d groups are stored", m.View().Len())
	}
}

// Commands of one batch are decided on one after the other, whether or not Apply will accept those before.
func TestABatchIsDecidedOnAsAWhole(t *testing.T) {
	m := newMachine(t)
	m.want(m.put("job=other", "clash 1\n"), Applied, "")
	a := NewAdmission(m.FSM, Limits{Groups: 3, Series: 6})
	commands := [][]byte{
		pushOf(t, "job=a", true, seriesBody("x", 2)),
		EncodeDelete(newRequest(), labelsOf(t, "job=other")),
		pushOf(t, "job=a", true, seriesBody("x", 3)), // three in all
		pushOf(t, "job=b", true, "y 1\n"),
		pushOf(t, "job=c", true, "y 1\n"),             // a group too many: the deletion is no room yet
		pushOf(t, "job=b", false, seriesBody("z", 2)), // a series too many: 1 + 3 + 3
		pushOf(t, "job=b", false, seriesBody("z", 1)),
		{0xff}, // unreadable
	}
	refused, ended, err := a.Admit(t.Context(), commands)
	if err != nil {
		t.Fatal(err)
	}
	ended()
	var full []int
	for i, r := range refused {
		if r.Status == Full {
			full = append(full, i)
		}
	}
	if fmt.Sprint(full) != "[4 5]" {
		t.Errorf("refused are %v of %+v", full, refused)
	}
}

// whatever is worst: the shortest names, help texts of its own, names that make every shape another one.
func (s *steps) wild(applied uint64) []byte {
	if s.IntN(3) == 0 {
		return s.next(applied)
	}
	group := fmt.Sprintf("job=%d", s.IntN(4))
	var b strings.Builder
	for i := range s.IntN(30) {
		name := fmt.Sprintf("%c%d", 'a'+s.IntN(3), i)
		if s.IntN(4) == 0 {
			name += strings.Repeat("n", s.IntN(300))
		}
		if s.IntN(2) == 0 {
			fmt.Fprintf(&b, "# HELP %s %s\n", name, strings.Repeat("h", s.IntN(50)))
		}
		for j := range s.IntN(4) {
			fmt.Fprintf(&b, "%s{l=\"%d\"} 1\n", name, j)
		}
	}
	return EncodePush(Request{ID: NewRequestID(), Seen: applied}, labelsOf(s, group), s.IntN(2) == 0,
		familiesOf(s, labelsOf(s, group), b.String()))
}

func TestNoCommandAddsMoreThanItIsTakenFor(t *testing.T) {
	tightest := 100.0
	for seed := range uint64(6) {
		s := &steps{TB: t, Rand: rand.New(rand.NewPCG(seed, 3))}
		m := newMachine(t)
		a := NewAdmission(m.FSM, Limits{})
		for i := range 300 {
			c := s.wild(m.Applied())
			before := m.store.usage.tally
			bound := measure([][]byte{c}).bound(before.largest.names)
			if measure([][]byte{c}).grow == 0 {
				bound = reservation{}
			}
			var exact Usage
			func() {
				decoded, err := decodeCommand(c, &a.intern)
				if err != nil {
					t.Fatal(err)
				}
				if decoded.op == opPush || decoded.op == opReject {
					a.limits = Limits{}
					if reason := a.decidePush(m.store, &decoded, &exact, map[string]pending{}); reason != "" {
						t.Fatal(reason)
					}
				}
			}()
			m.apply(c)
			after := m.store.usage.tally
			real := Usage{
				Groups: after.Groups - before.Groups, Series: after.Series - before.Series,
				Bytes: after.Bytes - before.Bytes,
			}
			if most(real, exact) != exact {
				t.Fatalf("seed %d, step %d: the store has grown by %+v, the decision was on %+v", seed, i, real, exact)
			}
			if most(real, bound.Usage) != bound.Usage || most(exact, bound.Usage) != bound.Usage ||
				after.largest.record > before.largest.record+bound.record {
				t.Fatalf("seed %d, step %d: the store has grown by %+v (%+v), the bound was %+v", seed, i, real, exact,
					bound)
			}
			if real.Bytes > 0 {
				tightest = min(tightest, float64(bound.Bytes)/float64(real.Bytes))
			}
		}
	}
	t.Logf("the bound was at least %.1f times what came", tightest)
}

// A family more gives a group another shape, with the names of all its families, however small the push.
func TestASmallPushToAGroupOfManyNamesIsTakenForWhatItAdds(t *testing.T) {
	m := newMachine(t)
	var long strings.Builder
	for i := range 50 {
		fmt.Fprintf(&long, "%s%02d 1\n", strings.Repeat("n", 1000), i)
	}
	m.want(m.put("job=a", long.String()), Applied, "")
	m.want(m.put("job=b", long.String()), Applied, "")
	c := pushOf(t, "job=a", false, "x 1\n")
	before := m.store.usage.tally
	m.want(m.apply(c), Applied, "")
	bound := measure([][]byte{c}).bound(before.largest.names)
	if grown := m.store.usage.Bytes - before.Bytes; grown < 50*1000 || grown > bound.Bytes {
		t.Errorf("a push of %d bytes is taken for %d at most, and has added %d", len(c), bound.Bytes, grown)
	}
}

// Many at once near the limits, with batches of which some are applied late, and some not at all: the limits are never
// exceeded, all room is used in the end, and no reservation is left.
func TestTheLimitsAreKeptWhateverIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		limits := Limits{Groups: 60, Series: 200, SeriesPerGroup: 20, StateBytes: 150_000}
		a := NewAdmission(m.FSM, limits)
		check := func() {
			u := m.View().Usage()
			if u.Groups > limits.Groups || u.Series > limits.Series || u.Bytes > limits.StateBytes ||
				m.View().Survey().LargestGroup > limits.SeriesPerGroup {
				t.Errorf("stored are %+v", u)
			}
		}
		var mu sync.Mutex // of the log
		var wg sync.WaitGroup
		var refused, applied, fast int
		for worker := range uint64(6) {
			random := rand.New(rand.NewPCG(worker, 4))
			wg.Go(func() {
				for range 60 {
					var batch [][]byte
					for range 1 + random.IntN(3) {
						group := fmt.Sprintf("job=%d", random.IntN(80))
						if random.IntN(6) == 0 {
							batch = append(batch, EncodeDelete(newRequest(), labelsOf(t, group)))
							continue
						}
						batch = append(batch, pushOf(t, group, random.IntN(2) == 0,
							seriesBody(fmt.Sprintf("x%s", group[4:]), 1+random.IntN(25))))
					}
					results, ended, err := a.Admit(context.Background(), batch)
					if err != nil {
						t.Error(err)
						return
					}
					a.mu.Lock()
					if !a.alone {
						fast++
					}
					a.mu.Unlock()
					var good [][]byte
					for i, c := range batch {
						if len(results) == 0 || results[i].Status != Full {
							good = append(good, c)
						}
					}
					mu.Lock()
					refused += len(batch) - len(good)
					if random.IntN(5) > 0 && len(good) > 0 { // else it is lost
						m.applyAll(m.index+1, int64(m.index+1), good...)
						applied += len(good)
						check()
					}
					mu.Unlock()
					ended()
				}
			})
		}
		wg.Wait()
		if refused == 0 || applied == 0 || fast == 0 {
			t.Errorf("%d refused, %d applied, %d batches by their lengths alone: this test shows nothing",
				refused, applied, fast)
		}
		if a.underWay != 0 || a.alone || a.reserved != (reservation{}) || a.ended != nil {
			t.Errorf("left are %d under way, alone %v, %+v", a.underWay, a.alone, a.reserved)
		}
	})
}

func TestABatchNearALimitWaitsForWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		a := NewAdmission(m.FSM, Limits{Groups: 2})
		first := pushOf(t, "job=a", true, "x 1\n")
		_, ended, err := a.Admit(t.Context(), [][]byte{first})
		if err != nil {
			t.Fatal(err)
		}
		_, endedNoop, err := a.Admit(t.Context(), [][]byte{EncodeDelete(newRequest(), labelsOf(t, "job=a"))})
		if err != nil {
			t.Fatal(err)
		}
		endedNoop() // at once, whatever is under way
		gone, cancel := context.WithCancelCause(t.Context())
		second := [][]byte{pushOf(t, "job=b", true, "x{l=\"1\"} 1\n"), pushOf(t, "job=c", true, "x{l=\"2\"} 1\n")}
		failed := make(chan error)
		go func() {
			_, _, err := a.Admit(gone, second)
			failed <- err
		}()
		answer := make(chan []Result)
		go func() {
			refused, ended, err := a.Admit(t.Context(), second)
			if err != nil {
				t.Error(err)
			}
			ended()
			answer <- refused
		}()
		synctest.Wait()
		why := errors.New("its time is up")
		cancel(why)
		if err := <-failed; !errors.Is(err, why) {
			t.Errorf("one that is not waited for any more: %v", err)
		}
		select {
		case <-answer:
			t.Error("it was decided before it was known what becomes of the other")
		default:
		}
		m.apply(first)
		ended()
		if refused := <-answer; len(refused) != 2 || refused[0].Status != Applied || refused[1].Status != Full {
			t.Errorf("the answers are %+v", refused)
		}
		if a.underWay != 0 || a.alone || a.reserved != (reservation{}) {
			t.Errorf("left are %d under way, alone %v, %+v", a.underWay, a.alone, a.reserved)
		}
	})
}

func TestTheLimitsThatAreSetAreShown(t *testing.T) {
	m := newMachine(t)
	m.put("job=a", seriesBody("x", 3))
	m.put("job=b", "y 1\n")
	bytes := m.View().Usage().Bytes
	for want, l := range map[string]Limits{
		"[]":             {},
		"[{groups 2 5}]": {Groups: 5},
		fmt.Sprintf("[{state_bytes %d 100} {series 4 6} {groups 2 5} {series_per_group 3 7}]", bytes): {
			Groups: 5, Series: 6, SeriesPerGroup: 7, StateBytes: 100,
		},
	} {
		if got := fmt.Sprint(m.View().Limits(l)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := (Result{Status: Full, Reason: "--limit.state-bytes=5 is reached"}).Limit(); got != "state_bytes" {
		t.Errorf("the limit of a reason is %s", got)
	}
}

func BenchmarkAdmit(b *testing.B) {
	m := filled(b, 1000)
	c := [][]byte{pushOf(b, "instance=host-00001,job=batch", true, benchBody(1))}
	for name, limits := range map[string]Limits{
		"no limits": {}, "far": {StateBytes: 1 << 40, Series: 1 << 30, Groups: 1 << 30, SeriesPerGroup: 1 << 30},
		"near": {Series: 1000 * 20},
	} {
		b.Run(name, func(b *testing.B) {
			a := NewAdmission(m.FSM, limits)
			b.ReportAllocs()
			for b.Loop() {
				_, ended, err := a.Admit(context.Background(), c)
				if err != nil {
					b.Fatal(err)
				}
				ended()
			}
		})
	}
}
