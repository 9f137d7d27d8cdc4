package fsm

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"pushquorum/expo"
)

// What is pushed together is allocated together. A group whose families are replaced one push after the other, each
// time one fewer, must not hold the memory of all those pushes for the sake of one family of each.
func TestAGroupHoldsNoMemoryOfPushesThatWereReplaced(t *testing.T) {
	const families = 48
	value := strings.Repeat("x", 8<<10)
	m := newMachine(t)
	push := func(from int) {
		var b strings.Builder
		for i := from; i < families; i++ {
			fmt.Fprintf(&b, "family_%02d{label=%q} %d\n", i, value, from)
		}
		m.want(m.post("job=a", b.String()), Applied, "")
	}
	push(0)
	before := stored()
	for i := range families {
		push(i)
	}
	if grown := stored() - before; grown > 3*families*len(value) {
		t.Errorf("a group of %d kB has grown by %d kB", families*len(value)>>10, grown>>10)
	}
	runtime.KeepAlive(m)
}

// What families say is kept once for all groups, though it be too long to be remembered from one command to the next.
// And a push that says something else changes it for its own group alone: who reads the others takes no lock.
func TestGroupsShareWhatTheirFamiliesSay(t *testing.T) {
	m := newMachine(t)
	help := strings.Repeat("h", 2*maxInterned)
	for _, push := range []struct{ group, help string }{
		{"job=a", help}, {"job=b", help}, {"job=c", "other"}, {"job=d", help}, {"job=e", help},
	} {
		m.want(m.post(push.group, "# HELP x "+push.help+"\n# TYPE x gauge\nx 1\n"), Applied, "")
	}
	said := map[string]*expo.Header{}
	for g := range m.View().Groups() {
		job, _ := g.Labels().Get("job")
		said[job] = g.Families[0].Header
	}
	if said["a"] != said["b"] || said["d"] != said["e"] {
		t.Errorf("groups that say the same do not share it: %p, %p and %p, %p", said["a"], said["b"], said["d"],
			said["e"])
	}
	if said["b"].Help != help || said["c"].Help != "other" || said["d"].Help != help {
		t.Errorf("the help texts have become %.10q, %.10q and %.10q", said["b"].Help, said["c"].Help, said["d"].Help)
	}
}

// live is what the heap holds that is no garbage.
func live() (s runtime.MemStats) {
	runtime.GC()
	runtime.GC() // What was in a sync.Pool goes with the second one.
	runtime.ReadMemStats(&s)
	return s
}

// stored is how many bytes that is.
func stored() int {
	s := live()
	return int(s.HeapAlloc)
}

// lateSink replaces the whole state when half of it has been written, and looks at the memory when nearly all has.
type lateSink struct {
	written, half, end int
	replace, look      func()
}

func (s *lateSink) Write(b []byte) (int, error) {
	before := s.written
	s.written += len(b)
	if before < s.half && s.written >= s.half {
		s.replace()
	}
	if before < s.end && s.written >= s.end {
		s.look()
	}
	return len(b), nil
}

func (s *lateSink) Close() error  { return nil }
func (s *lateSink) ID() string    { return "late" }
func (s *lateSink) Cancel() error { return nil }

func TestASnapshotHoldsNoMemoryOfWhatIsWritten(t *testing.T) {
	const groups, size = 64, 256 << 10
	value := strings.Repeat("x", size)
	m := newMachine(t)
	fill := func(n int) {
		for i := range groups {
			m.want(m.put(fmt.Sprintf("job=%d", i), fmt.Sprintf("a{label=%q} %d\n", value, n)), Applied, "")
		}
	}
	fill(0)
	before := stored()
	s, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	grown := -1
	sink := &lateSink{
		half: groups * size / 2, end: groups * size * 9 / 10,
		replace: func() { fill(1) },
		look:    func() { grown = stored() - before },
	}
	if err := s.Persist(sink); err != nil {
		t.Fatal(err)
	}
	if grown < 0 || grown > groups*size/3 {
		t.Errorf("a snapshot of %d kB held %d kB when nearly all was written", groups*size>>10, grown>>10)
	}
	runtime.KeepAlive(m)
}

// The digests stand in snapshots: how the bytes come to the hash must not show.
func TestADigestIsOfTheBytesInOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		h := newHasher("kind")
		var all []byte
		number := func(n int) { all = append(all, 0, 0, 0, 0, 0, 0, byte(n>>8), byte(n)) }
		number(4)
		all = append(all, "kind"...)
		for range random.IntN(12) {
			piece := make([]byte, random.IntN(1<<random.IntN(11)))
			for i := range piece {
				piece[i] = byte(random.Uint32())
			}
			number(len(piece))
			switch random.IntN(3) {
			case 0:
				h.bytes(piece)
				all = append(all, piece...)
			case 1:
				h.strings(string(piece))
				all = append(all, piece...)
			case 2:
				h.number(uint64(len(piece)))
			}
		}
		second := xxhash.NewWithSeed(secondLane)
		_, _ = second.Write(all)
		if got, want := h.digest(), (digest{xxhash.Sum64(all), second.Sum64()}); got != want {
			t.Fatalf("the digest of %d bytes is %s, want %s", len(all), got, want)
		}
	}
}

func TestRequestsAreForgottenWithTheirReasons(t *testing.T) {
	q := newRequests()
	id := func(i int) RequestID { return RequestIDFromKey(fmt.Sprint(i)) }
	const n = 2*rememberedRequests + 10 // the first that is still remembered is n-rememberedRequests
	reasons := (n+2)/3 - (n-rememberedRequests+2)/3
	for i := range n {
		r := request{id: id(i), index: uint64(i + 1)}
		if i%3 == 0 {
			r.result = Result{Status: Rejected, Reason: fmt.Sprint("reason ", i)}
		}
		q.remember(r)
	}
	if len(q.ring) != rememberedRequests || len(q.position) != rememberedRequests || len(q.reasons) != reasons {
		t.Errorf("%d requests, %d positions and %d reasons are remembered",
			len(q.ring), len(q.position), len(q.reasons))
	}
	for i := n - rememberedRequests; i < n; i++ {
		want := Result{}
		if i%3 == 0 {
			want = Result{Status: Rejected, Reason: fmt.Sprint("reason ", i)}
		}
		if got, known := q.lookup(id(i), uint64(i+1), 0); !known || got != want {
			t.Fatalf("request %d is remembered with %+v (%v), want %+v", i, got, known, want)
		}
	}
	frozen := q.frozen()
	for i := n; i < n+rememberedRequests/2; i++ { // half of them are forgotten now, but not there
		q.remember(request{id: id(i), index: uint64(i + 1)})
	}
	i := n - rememberedRequests
	for r := range frozen.all() {
		want := request{id: id(i), index: uint64(i + 1)}
		if i%3 == 0 {
			want.result = Result{Status: Rejected, Reason: fmt.Sprint("reason ", i)}
		}
		if r != want {
			t.Fatalf("request %d was %+v when that was asked, and is said to be %+v", i, want, r)
		}
		i++
	}
	if i != n || frozen.forgotten != uint64(n-rememberedRequests) {
		t.Errorf("requests up to %d of %d were said, and up to index %d they are forgotten", i, n, frozen.forgotten)
	}
}
