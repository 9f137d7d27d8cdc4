package fsm

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo"
)

// Whatever a sealed command holds, two machines do the same with it, and what is stored can be written and restored.
func FuzzCommand(f *testing.F) {
	group := labelsOf(f, "job=a,instance=i")
	families := familiesOf(f, group, "# HELP x some\n# TYPE x counter\nx{l=\"v\"} 1\ny 2\n")
	stored := &Group{Key: group.Key(), PushTime: 1}
	for _, fam := range families {
		stored.Families = append(stored.Families, Stored{Family: fam, Time: 1})
	}
	damaged := expo.NewFamily(&expo.Header{Name: "y", Type: dto.MetricType_COUNTER},
		metricsOf(f, &dto.Metric{TimestampMs: proto.Int64(48)}), make([]expo.SeriesID, 1))
	for _, command := range [][]byte{
		EncodePush(newRequest(), group, true, families), EncodePush(newRequest(), group, false, nil),
		EncodeReject(newRequest(), group),
		EncodeDelete(newRequest(), group), EncodeWipe(newRequest()), EncodeImport(newRequest(), []*Group{stored}),
		EncodeNoop(), nil,
		EncodePush(newRequest(), group, true, []*expo.Family{damaged}),
	} {
		f.Add(command)
	}
	f.Fuzz(func(t *testing.T, command []byte) {
		a, b := newMachine(t), newMachine(t)
		first := pushOf(t, "job=a", true, "# TYPE x gauge\nx{instance=\"i\"} 1\n")
		for _, m := range []*machine{a, b} {
			m.apply(first)
			m.apply(command)
		}
		if a.View().Hash() != b.View().Hash() {
			t.Fatal("two machines made different states of one command")
		}
		if check := a.Check(command); (a.Err() == nil) != (b.Err() == nil) || (check == nil) != (a.Err() == nil) {
			t.Fatalf("one machine stopped with %v, the other with %v, and the check says %v", a.Err(), b.Err(), check)
		}
		if a.Err() == nil && a.text() != a.throughSnapshot().text() {
			t.Fatal("the state is another one after a snapshot")
		}
	})
}

// A log entry of any bytes is applied, refused or halts the machine; it never panics.
func FuzzEntry(f *testing.F) {
	f.Add(Seal([][]byte{EncodeNoop()}, time.Unix(1, 0)))
	f.Add(Seal([][]byte{EncodeWipe(newRequest())}, time.Unix(1, 0)))
	f.Add([]byte{entryVersion, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newMachine(t)
		m.Apply(&raft.Log{Index: 1, Type: raft.LogCommand, Data: data})
		if _, _, err := unseal(data, new(interner)); (err == nil) != (m.Err() == nil) {
			t.Fatalf("decoding says %v, the machine %v", err, m.Err())
		}
	})
}

// A snapshot of any bytes is restored to a state that writes the same snapshot, or refused with the old state kept.
func FuzzSnapshot(f *testing.F) {
	m := newMachine(f)
	for range 3 {
		f.Add(snapshotOf(f, m))
		m.put("job=a", "# HELP x some\nx 1\n")
		m.put("job=b,instance=", "y 1\n")
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newMachine(t)
		m.put("job=before", "z 1\n")
		before := m.View().Hash()
		_, verr := VerifySnapshot(bytes.NewReader(data))
		if verr == nil != (m.Restore(io.NopCloser(bytes.NewReader(data))) == nil) &&
			(verr == nil || !strings.Contains(verr.Error(), "out of order")) {
			t.Fatalf("restored, but for: %v", verr)
		}
		if err := m.Restore(io.NopCloser(bytes.NewReader(data))); err != nil {
			if m.View().Hash() != before {
				t.Fatalf("a snapshot was refused (%v), but the state has changed", err)
			}
			return
		}
		m.text()
		if again := m.throughSnapshot(); again.View().Hash() != m.View().Hash() {
			t.Fatal("the restored state is another one after a snapshot")
		}
	})
}

func snapshotOf(t testing.TB, m *machine) []byte {
	t.Helper()
	s, err := m.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.(*snapshot).write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestADamagedSnapshotIsRefusedAndTheOldStateStays(t *testing.T) {
	m := newMachine(t)
	for _, job := range []string{"a", "b", "c"} {
		m.put("job="+job, "# HELP x some\nx 1\ny 2\n")
	}
	good := snapshotOf(t, m)
	old := newMachine(t)
	old.put("job=old", "z 1\n")
	before := old.text()
	for i := range good {
		for name, bad := range map[string][]byte{
			"cut off": good[:i],
			"flipped": append(append(append([]byte{}, good[:i]...), good[i]^0x10), good[i+1:]...),
		} {
			if err := old.Restore(io.NopCloser(bytes.NewReader(bad))); err == nil {
				t.Fatalf("a snapshot %s at byte %d of %d was restored", name, i, len(good))
			}
			if _, err := VerifySnapshot(bytes.NewReader(bad)); err == nil {
				t.Fatalf("a snapshot %s at byte %d of %d was found good", name, i, len(good))
			}
		}
	}
	if got := old.text(); got != before {
		t.Errorf("the old state was\n%s\nand is\n%s", before, got)
	}
}
