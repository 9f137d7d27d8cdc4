package fsm

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

// The accounted bytes are what is compared with a limit that was chosen for the sake of the heap.
func TestAccountedBytesAreThoseOfTheHeap(t *testing.T) {
	series := func(n, label int, name string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "%s{shard=\"%0*d\"} %d\n", name, label, i, i)
		}
		return b.String()
	}
	families := func(n, help int, of func(i int) string) string {
		var b strings.Builder
		for i := range n {
			name := of(i)
			fmt.Fprintf(&b, "# HELP %s %s\n%s 1\n", name, strings.Repeat("h", help)+fmt.Sprint(i), name)
		}
		return b.String()
	}
	long := func(i int) string { return fmt.Sprintf("family_with_some_name_%05d", i) }
	for name, shape := range map[string]struct {
		groups int
		body   func(i int) string
	}{
		"groups of one series":                    {8000, func(int) string { return "x 1\n" }},
		"groups without metrics":                  {8000, func(int) string { return "" }},
		"groups of 20 series in 4 families":       {1000, benchBody},
		"one huge group":                          {1, func(int) string { return series(40000, 10, "x") }},
		"long label values":                       {100, func(int) string { return series(20, 1000, "x") }},
		"long help texts":                         {1, func(int) string { return families(1500, 1000, long) }},
		"long help texts, the same in all groups": {20, func(int) string { return families(100, 1000, long) }},
		"many families in one group":              {1, func(int) string { return families(10000, 10, long) }},
		"families that no other group has": {
			1500, func(i int) string { return families(4, 10, func(f int) string { return long(4*i + f) }) },
		},
		"one name, another help text in each group": {
			1500, func(i int) string { return "# HELP x " + strings.Repeat("h", 500) + fmt.Sprint(i) + "\nx 1\n" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			commands := make([][]byte, shape.groups)
			for i := range commands {
				commands[i] = pushOf(t, fmt.Sprintf("instance=host-%05d,job=batch", i), true, shape.body(i))
			}
			before := stored()
			for i, c := range commands {
				m.want(m.apply(c), Applied, "")
				if i%100 == 0 || i == len(commands)-1 {
					m.store.requests = newRequests() // whose memory is bounded, and no matter of limits
				}
			}
			heap := int64(stored() - before)
			accounted := m.View().Usage().Bytes
			t.Logf("accounted %d, on the heap %d: %.2f", accounted, heap, float64(accounted)/float64(heap))
			if accounted < heap*3/4 || accounted > heap*5/4 {
				t.Errorf("accounted are %d bytes, the heap has grown by %d", accounted, heap)
			}
			runtime.KeepAlive(commands)
			runtime.KeepAlive(m)
		})
	}
}

// recount counts the usage of a store anew.
func recount(s *store) usage {
	u := newUsage()
	s.groups.Scan(func(g *Group) bool {
		e := extentOf(g)
		u.add(Usage{Groups: 1, Series: e.series, Bytes: e.bytes})
		for i := range g.Families {
			u.hold(g.Families[i].Header)
		}
		return true
	})
	s.headers.Scan(func(h header) bool {
		u.headed(&header{}, &h)
		return true
	})
	for _, sh := range s.shapes {
		u.Bytes += costOfShape(int64(len(sh.names)))
	}
	return u
}

func TestUsageIsThatOfWhatIsStored(t *testing.T) {
	for seed := range uint64(8) {
		s := &steps{TB: t, Rand: rand.New(rand.NewPCG(seed, 2))}
		m := newMachine(t)
		for i := range 300 {
			if s.IntN(100) == 0 {
				m = m.throughSnapshot()
			}
			m.apply(s.next(m.Applied()))
			got, want := m.store.usage, recount(m.store)
			if got.Usage != want.Usage || len(got.holders) != len(want.holders) || m.View().Usage() != want.Usage ||
				m.published().Usage != want.Usage {
				t.Fatalf("seed %d, step %d: the usage is %+v, counted anew it is %+v", seed, i, got.Usage, want.Usage)
			}
			for h, n := range want.holders {
				if got.holders[h] != n {
					t.Fatalf("seed %d, step %d: header %+v has %d holders, want %d", seed, i, h, got.holders[h], n)
				}
			}
			m.store.groups.Scan(func(g *Group) bool {
				if raised := got.largest; func() bool { raised.raise(extentOf(g)); return raised != got.largest }() {
					t.Fatalf("seed %d, step %d: group %s is larger than the largest", seed, i, g.Labels())
				}
				if n := int64(sizeOfGroup(g, g.Labels())); n > extentOf(g).record {
					t.Fatalf("seed %d, step %d: group %s takes %d bytes in a snapshot, taken for %d",
						seed, i, g.Labels(), n, extentOf(g).record)
				}
				return true
			})
		}
	}
}

// What a name's winning help text keeps in memory counts, though no group says it any more.
func TestAHelpTextThatNobodySaysAnyMoreCounts(t *testing.T) {
	m := newMachine(t)
	help := strings.Repeat("h", 10000)
	m.want(m.put("job=a", "# HELP x "+help+"\nx 1\n"), Applied, "")
	m.want(m.put("job=b", "x{b=\"\"} 1\n"), Applied, "")
	m.want(m.put("job=a", "x 1\n"), Applied, "")
	if got := m.View().Usage().Bytes; got < int64(len(help)) {
		t.Errorf("%d bytes are accounted, with a help text of %d", got, len(help))
	}
	m.want(m.delete("job=a"), Applied, "")
	m.want(m.delete("job=b"), Applied, "")
	if got := m.View().Usage(); got != (Usage{}) {
		t.Errorf("of nothing the usage is %+v", got)
	}
}

func TestASurveyFindsTheOldestPush(t *testing.T) {
	m := newMachine(t)
	if got := m.View().Survey(); got != (Survey{}) {
		t.Errorf("of nothing: %+v", got)
	}
	m.put("job=a", "x 1\n")
	m.put("job=b", "x{l=\"1\"} 1\nx{l=\"2\"} 1\ny{l=\"3\"} 1\n")
	m.put("job=c", "z 1\n")
	m.put("job=a", "x 2\n")
	m.apply(EncodeReject(newRequest(), labelsOf(t, "job=failed"))) // never pushed
	want := m.store.group(labelsOf(t, "job=b").Key()).PushTime
	if got := m.View().Survey(); got != (Survey{OldestPush: want, LargestGroup: 3}) {
		t.Errorf("got %+v, want %d and 3", got, want)
	}
}
