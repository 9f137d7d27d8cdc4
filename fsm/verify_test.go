package fsm

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

func TestAGoodSnapshotIsFoundGood(t *testing.T) {
	m := newMachine(t)
	for i, push := range []struct{ group, body string }{
		{"job=a", "# HELP x some\nx 1\ny 2\n"},
		{"job=b", "x 1\n"},
		{"job=c", "# HELP x other\n# TYPE x gauge\nx 1\n"},
		{"job=d", "# TYPE z counter\nz 3\n"},
		{"job=a", "# HELP x the first one again\nx 1\n"},
		{"job=e,instance=", "x NaN\n"},
	} {
		m.put(push.group, push.body)
		applied, err := VerifySnapshot(bytes.NewReader(snapshotOf(t, m)))
		if err != nil || applied != m.View().Index() {
			t.Errorf("after push %d a snapshot up to entry %d is found to be one up to entry %d: %v",
				i+1, m.View().Index(), applied, err)
		}
	}
	m.want(m.delete("job=b"), Applied, "")
	m.want(m.put("job=f", "# TYPE x counter\nx 1\n"), Rejected, "")
	if _, err := VerifySnapshot(bytes.NewReader(snapshotOf(t, m))); err != nil {
		t.Error(err)
	}
}

func TestAGroupThatStandsInASnapshotTwiceIsRefused(t *testing.T) {
	m := newMachine(t)
	m.put("job=a", "x 1\n")
	m.put("job=b", "x 1\n")
	var groups []*Group
	for g := range m.View().Groups() {
		groups = append(groups, g)
	}
	for name, written := range map[string][]*Group{
		"twice": {groups[0], groups[0]}, "out of order": {groups[1], groups[0]},
		"twice, apart": {groups[0], groups[1], groups[0]},
	} {
		var b bytes.Buffer
		out := &recordWriter{w: bufio.NewWriter(&b), buf: []byte(snapshotMagic)}
		out.write(snapshotHeader{applied: 3, written: true}.append(nil))
		var sum digest
		for _, g := range written {
			out.write(appendGroup(out.record[:0], recordGroup, g))
			one := newStore()
			copied := *g
			one.putGroup(nil, &copied)
			sum.add(one.sum)
			one.headers.Scan(func(h header) bool {
				sum.remove(h.digest())
				return true
			})
		}
		s := newStore()
		s.written = true
		sum.add(s.digest())
		m.store.headers.Scan(func(h header) bool {
			sum.add(h.digest())
			return true
		})
		out.write(snapshotTrailer{out.records, sum.bytes()}.append(nil))
		if err := errors.Join(out.err, out.w.Flush()); err != nil {
			t.Fatal(err)
		}
		if _, err := VerifySnapshot(bytes.NewReader(b.Bytes())); err == nil ||
			!strings.Contains(err.Error(), "stands there twice or out of order") {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := readSnapshot(bytes.NewReader(b.Bytes())); (err == nil) != (name == "out of order") {
			t.Errorf("%s: restored with %v", name, err)
		}
	}
}

// whenRead calls something when a reader has come to its end.
type whenRead struct {
	r    io.Reader
	then func()
}

func (w *whenRead) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err == io.EOF {
		w.then()
	}
	return n, err
}

// A follower verifies a snapshot while it has its old state, and then restores it: what was verified must not take as
// much again.
func TestASnapshotIsVerifiedWithoutAStateOfItsOwn(t *testing.T) {
	m := newMachine(t)
	for i := range 2000 {
		m.put(fmt.Sprintf("job=%04d", i), fmt.Sprintf("x{l=%q} 1\n", strings.Repeat("v", 1000)))
	}
	data := snapshotOf(t, m)
	before, most := stored(), 0
	// The trailer is not read before what it is compared with is there, so the end is held back.
	end := len(data) - 60
	r := io.MultiReader(&whenRead{bytes.NewReader(data[:end]), func() { most = max(most, stored()-before) }},
		bytes.NewReader(data[end:]))
	if _, err := VerifySnapshot(r); err != nil || most == 0 {
		t.Fatal(most, err)
	}
	if requests := 400 << 10; most > len(data)/10+requests {
		t.Errorf("a snapshot of %d kB takes %d kB to be verified", len(data)>>10, most>>10)
	}
	runtime.KeepAlive(m)
}
