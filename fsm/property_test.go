package fsm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"pushquorum/expo"
	"pushquorum/expo/page"
)

// steps makes random commands over few groups and names, so that they often meet: a push may clash with what is stored,
// be a retry, or have the id of another request.
type steps struct {
	testing.TB
	*rand.Rand
	past [][]byte
}

var (
	stepGroups = []string{"job=a", "job=b", "job=a,instance=i", "job=a,instance=", "job=b,instance=i,zone=z"}
	stepBodies = []string{
		"", "x 1\n", "# TYPE x counter\n# HELP x some help\nx 2\n", "# TYPE x gauge\nx{instance=\"i\"} 3\n",
		"# HELP y why\ny{zone=\"z\",l=\"v\"} 1\ny{zone=\"\"} 2\n", "h_count 3\nh_sum 1\n", "s_bucket 1\n",
		"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\nh_count 2\n",
		"# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 2\n", "s_count 1\nx{l=\"1\"} 5\nx{l=\"2\"} 6\n",
	}
)

func (s *steps) next(applied uint64) []byte {
	if len(s.past) > 0 && s.IntN(10) == 0 {
		return s.past[s.IntN(len(s.past))] // a retry
	}
	r := Request{ID: NewRequestID(), Seen: applied}
	if s.IntN(10) == 0 {
		r.ID = RequestIDFromKey(fmt.Sprint(s.IntN(20)))
	}
	group := labelsOf(s, stepGroups[s.IntN(len(stepGroups))])
	var c []byte
	switch n := s.IntN(40); {
	case n == 0:
		c = EncodeWipe(r)
	case n < 4:
		c = EncodeDelete(r, group)
	case n < 7:
		c = EncodeReject(r, group)
	case n == 7:
		c = EncodeNoop()
	default:
		body := stepBodies[s.IntN(len(stepBodies))]
		if other := stepBodies[s.IntN(len(stepBodies))]; s.IntN(3) == 0 && !shareName(body, other) {
			body += other
		}
		c = EncodePush(r, group, s.IntN(2) == 0, familiesOf(s, group, body))
	}
	s.past = append(s.past, c)
	return c
}

func shareName(a, b string) bool {
	for line := range strings.Lines(a) {
		// Names of one letter, which suffixes extend.
		if !strings.HasPrefix(line, "#") && (strings.Contains(b, "\n"+line[:1]) || strings.HasPrefix(b, line[:1]) ||
			strings.Contains(b, " "+line[:1]+" ")) {
			return true
		}
	}
	return false
}

func TestAMachineAndOneRestoredFromASnapshotAgree(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			s := &steps{TB: t, Rand: rand.New(rand.NewPCG(seed, 1))}
			a := newMachine(t)
			b := newMachine(t)
			const n = 300
			through := s.IntN(n)
			for i := range n {
				if i == through {
					b = b.throughSnapshot()
				}
				c := s.next(a.Applied())
				if ra, rb := a.apply(c), b.apply(c); ra != rb {
					t.Fatalf("step %d: one machine says %+v, the other %+v", i, ra, rb)
				}
				if a.View().Hash() != b.View().Hash() {
					t.Fatalf("step %d (snapshot at %d): state hashes differ", i, through)
				}
				checkOwners(t, a.store)
				checkOwners(t, b.store)
				checkShapes(t, b)
			}
			for _, format := range []expfmt.Format{
				expfmt.NewFormat(expfmt.TypeTextPlain), expfmt.NewFormat(expfmt.TypeProtoDelim),
			} {
				if !bytes.Equal(written(t, a, format), written(t, b, format)) {
					t.Errorf("the expositions differ in %s", format)
				}
			}
			if fresh := a.throughSnapshot(); fresh.View().Hash() != a.View().Hash() {
				t.Error("the incremental state hash differs from one made of the whole state")
			}
		})
	}
}

// checkOwners: every series leads to the group that has it, and a number that no group has is free.
func checkOwners(t *testing.T, s *store) {
	t.Helper()
	nobody := new(Group)
	series := 0
	s.groups.Scan(func(g *Group) bool {
		if s.group(g.Key) != g {
			t.Fatalf("group %s is not what its key leads to", g.Labels())
		}
		for _, f := range g.Families {
			for _, id := range f.Series() {
				if owner := s.rival(nobody, f.Name, id); owner != g {
					t.Fatalf("a series of %s in group %s is that of %+v", f.Name, g.Labels(), owner)
				}
				if owner := s.rival(g, f.Name, id); owner != nil {
					t.Fatalf("a series of %s in group %s is that of %+v, too", f.Name, g.Labels(), owner)
				}
				series++
			}
		}
		return true
	})
	if series != s.series.len() || s.groups.Len() != s.keys.len() {
		t.Fatalf("%d groups with %d series are stored, and %d keys and %d series lead to groups",
			s.groups.Len(), series, s.keys.len(), s.series.len())
	}
	if s.groups.Len()+len(s.free) != len(s.owners) {
		t.Fatalf("%d groups and %d free numbers, but %d owners", s.groups.Len(), len(s.free), len(s.owners))
	}
}

// checkShapes: the exposition has each name once, in order, and of each what the groups hold, in order of their keys;
// and the shapes are those of the groups.
func checkShapes(t *testing.T, m *machine) {
	t.Helper()
	want := map[string][]*expo.Family{}
	shapes := map[*shape]int{}
	last := ""
	for g := range m.View().Groups() {
		if g.Key <= last {
			t.Fatalf("group %q comes after %q", g.Key, last)
		}
		last = g.Key
		shapes[g.shape]++
		for _, f := range append(pointers(g.Families), g.pushTime, g.failureTime) {
			want[f.Name] = append(want[f.Name], f)
		}
	}
	last = ""
	for h, parts := range m.View().Exposition() {
		if h.Name <= last {
			t.Fatalf("family %q comes after %q", h.Name, last)
		}
		last = h.Name
		if got := slices.Collect(parts); !slices.Equal(got, want[h.Name]) {
			t.Fatalf("family %s has %d parts, and the groups hold %d, or others, or in another order",
				h.Name, len(got), len(want[h.Name]))
		}
		delete(want, h.Name)
	}
	if len(want) > 0 {
		t.Fatalf("%d families are missing", len(want))
	}
	if len(m.store.shapes) != len(shapes) || m.store.keys.len() != m.View().Len() {
		t.Fatalf("%d shapes and %d keys are known, of %d and %d", len(m.store.shapes), m.store.keys.len(), len(shapes),
			m.View().Len())
	}
	for sh, groups := range shapes {
		if sh.groups != groups || m.store.shapes[sh.names] != sh {
			t.Fatalf("the shape of %q counts %d groups of %d", sh.names, sh.groups, groups)
		}
	}
}

func written(t *testing.T, m *machine, f expfmt.Format) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := page.Write(&b, f, m.View().Exposition()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// The Pushgateway's own way of checking is the reference: gather everything that would be stored, and see whether
// client_golang's Gatherers find it consistent.
func TestPushesAreRefusedExactlyWhenGatheringAllWouldFail(t *testing.T) {
	refused := 0
	for seed := range uint64(60) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			m := newMachine(t)
			for i := range 200 {
				name := stepGroups[rng.IntN(len(stepGroups))]
				group := labelsOf(t, name)
				body := stepBodies[rng.IntN(len(stepBodies))]
				if rng.IntN(10) == 0 {
					m.delete(name)
					continue
				}
				replace := rng.IntN(2) == 0
				pushed := familiesOf(t, group, body)
				old, _ := m.View().Group(group.Key())
				after := &Group{Key: group.Key(), Families: merge(old, replace, pushed, 0)}
				err := gather(t, m.View(), after.withTimes(nil))
				res := m.apply(EncodePush(newRequest(), group, replace, pushed))
				if (err != nil) != (res.Status == Rejected) {
					t.Fatalf("step %d: pushing %q to %s (replace %v) gave %+v, gathering says: %v", i, body, name,
						replace, res, err)
				}
				if err != nil {
					refused++
				}
				if err := gather(t, m.View(), nil); err != nil {
					t.Fatalf("step %d: the stored state is inconsistent after pushing %q to %s: %v", i, body, name, err)
				}
			}
		})
	}
	if refused < 100 {
		t.Errorf("only %d pushes were refused: the test does not test much", refused)
	}
}

// gather collects all groups of a view, with after in place of the one of its key, the way a Pushgateway does.
func gather(t *testing.T, v *View, after *Group) error {
	byName := map[string]*dto.MetricFamily{}
	add := func(g *Group) {
		for _, f := range append(pointers(g.Families), g.PushTimeFamily(), g.FailureTimeFamily()) {
			mf, err := f.Decode()
			if err != nil {
				t.Fatal(err)
			}
			mf.Help = nil // differing help is tolerated
			if have, ok := byName[f.Name]; ok && have.GetType() == mf.GetType() {
				have.Metric = append(have.Metric, mf.Metric...)
			} else if ok {
				byName[f.Name+"\xff"] = mf // as a second family of the name
			} else {
				byName[f.Name] = mf
			}
		}
	}
	for g := range v.Groups() {
		if after == nil || g.Key != after.Key {
			add(g)
		}
	}
	if after != nil {
		add(after)
	}
	var all []*dto.MetricFamily
	for _, mf := range byName {
		all = append(all, mf)
	}
	stored := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return all, nil })
	_, err := prometheus.Gatherers{stored}.Gather()
	return err
}
