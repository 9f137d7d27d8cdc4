package fsm

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// benchBody is a push of 20 series in 4 families, about 2.3 KB of text.
func benchBody(value int) string {
	var b strings.Builder
	for f := range 4 {
		fmt.Fprintf(
			&b, "# HELP bench_family_%d Some help text for a family of the benchmark.\n# TYPE bench_family_%d gauge\n",
			f, f)
		for s := range 5 {
			fmt.Fprintf(&b, "bench_family_%d{shard=\"shard-%02d\",zone=\"eu-west-1\",kind=\"batch\"} %d.5\n",
				f, s, value)
		}
	}
	return b.String()
}

func filled(b *testing.B, groups int) *machine {
	b.Helper()
	m := newMachine(b)
	for i := range groups {
		m.apply(pushOf(b, fmt.Sprintf("instance=host-%05d,job=batch", i), true, benchBody(i)))
	}
	return m
}

func BenchmarkApplyPush(b *testing.B) {
	for _, groups := range []int{100, 10_000, 20_000} {
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) {
			m := filled(b, groups)
			entries := make([][]byte, 1000)
			for i := range entries {
				entries[i] = Seal([][]byte{pushOf(b, fmt.Sprintf("instance=host-%05d,job=batch", i%groups), true,
					benchBody(i+1))}, time.Unix(int64(i), 0))
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				m.index++
				if i%len(entries) == 0 {
					m.store.requests = newRequests() // the same entries again must not be taken for retries
				}
				m.Apply(&raft.Log{Index: m.index, Type: raft.LogCommand, Data: entries[i%len(entries)]})
				i++
			}
		})
	}
}

// The command of a push, as the replica that received it writes it and the leader seals it for the log.
func BenchmarkEncodePush(b *testing.B) {
	group := labelsOf(b, "instance=host-00001,job=batch")
	families := familiesOf(b, group, benchBody(1))
	now := time.Unix(1, 0)
	b.ReportAllocs()
	for b.Loop() {
		Seal([][]byte{EncodePush(newRequest(), group, true, families)}, now)
	}
}

// What Apply spends on consistency: it must not depend on what is stored.
func BenchmarkCheck(b *testing.B) {
	for _, groups := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("groups=%d", groups), func(b *testing.B) {
			m := filled(b, groups)
			labels := labelsOf(b, "instance=host-00001,job=batch")
			pushed := familiesOf(b, labels, benchBody(2))
			old := m.store.group(labels.Key())
			if old == nil {
				b.Fatal("the group is not stored")
			}
			b.ReportAllocs()
			for b.Loop() {
				if reason := m.store.check(old, old, pushed); reason != nil {
					b.Fatal(reason())
				}
			}
		})
	}
}

// A push that is refused, as a client may send it again and again, beside groups of many shapes that hold its names, or
// do not.
func BenchmarkApplyRefused(b *testing.B) {
	for _, shapes := range []int{2, shapesSearched, shapesSearched + 1} {
		for _, hold := range []bool{true, false} {
			b.Run(fmt.Sprintf("shapes=%d,hold=%v", shapes, hold), func(b *testing.B) {
				m := filled(b, 20_000)
				for i := range shapes - 2 { // that of the others and an empty one are there
					body := fmt.Sprintf("only_here_%d 1\n", i)
					if hold {
						body += strings.ReplaceAll(benchBody(i), "zone=", fmt.Sprintf("zone_%d=", i))
					}
					m.want(m.put(fmt.Sprintf("job=shape,instance=host-%05d", i), body), Applied, "")
				}
				wrong := strings.ReplaceAll(benchBody(1), " gauge\n", " counter\n")
				group := labelsOf(b, "instance=wrong,job=batch")
				families := familiesOf(b, group, wrong)
				m.want(m.apply(EncodePush(newRequest(), group, true, families)), Rejected, "bench_family_0")
				b.ReportAllocs()
				for b.Loop() {
					m.apply(EncodePush(newRequest(), group, true, families))
				}
			})
		}
	}
}

// What a group takes of the heap, with all that the store knows of it, after the pushes that made it are garbage.
func BenchmarkMemoryPerGroup(b *testing.B) {
	const one = "# HELP last_success When the job last succeeded.\n# TYPE last_success gauge\nlast_success 1.5\n"
	for _, shape := range []struct {
		name           string
		body           string
		groups, series int
	}{
		{"series=1", one, 50_000, 1},
		{"series=20", benchBody(1), 20_000, 20},
	} {
		b.Run(shape.name, func(b *testing.B) {
			for b.Loop() {
				before := live()
				m := newMachine(b)
				for i := range shape.groups {
					m.apply(pushOf(b, fmt.Sprintf("instance=host-%06d,job=nightly", i), true, shape.body))
				}
				m.store.requests = newRequests() // their number does not depend on what is stored
				after := live()
				bytes, objects := float64(after.HeapAlloc-before.HeapAlloc),
					float64(after.HeapObjects-before.HeapObjects)
				b.ReportMetric(bytes/float64(shape.groups), "B/group")
				b.ReportMetric(bytes/float64(shape.groups*shape.series), "B/series")
				b.ReportMetric(objects/float64(shape.groups), "objects/group")
				runtime.KeepAlive(m)
			}
			b.ReportMetric(0, "ns/op") // it is not a time that is measured
		})
	}
}

func BenchmarkView(b *testing.B) {
	m := filled(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		m.FSM.view = nil
		m.View()
	}
}

func BenchmarkWipe(b *testing.B) {
	m := filled(b, 10_000)
	s := *m.store
	for b.Loop() {
		*m.store = s
		m.store.wipe()
	}
}

func BenchmarkSnapshot(b *testing.B) {
	m := filled(b, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		s, err := m.Snapshot()
		if err == nil {
			err = s.(*snapshot).write(io.Discard)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRestore(b *testing.B) {
	data := string(snapshotOf(b, filled(b, 10_000)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := readSnapshot(strings.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

// What a leader reads of a command that another replica has sent, before it is sealed with others.
func BenchmarkCheckPush(b *testing.B) {
	m := newMachine(b)
	command := pushOf(b, "instance=host-00001,job=batch", true, benchBody(1))
	b.ReportAllocs()
	b.SetBytes(int64(len(command)))
	for b.Loop() {
		if err := m.Check(command); err != nil {
			b.Fatal(err)
		}
	}
}
