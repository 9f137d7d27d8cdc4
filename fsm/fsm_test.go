package fsm

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"pushquorum/expo"
	"pushquorum/expo/page"
)

// A machine is an FSM with a log of its own: each command becomes the next entry, one second after the last.
type machine struct {
	testing.TB
	*FSM
	index uint64
}

func newMachine(t testing.TB) *machine {
	return &machine{TB: t, FSM: New(slog.New(slog.DiscardHandler))}
}

func (m *machine) apply(command []byte) Result {
	m.Helper()
	m.index++
	return m.applyAt(m.index, int64(m.index)*int64(time.Second), command)
}

func (m *machine) applyAt(index uint64, unixNano int64, command []byte) Result {
	m.Helper()
	results := m.applyAll(index, unixNano, command)
	if m.Err() != nil {
		return Result{}
	}
	return results[0]
}

// applyAll applies commands that stand in one entry.
func (m *machine) applyAll(index uint64, unixNano int64, commands ...[]byte) []Result {
	m.Helper()
	m.index = index
	entry := &raft.Log{Index: index, Type: raft.LogCommand, Data: Seal(commands, time.Unix(0, unixNano))}
	results := m.Apply(entry).([]Result)
	if m.Err() == nil && len(results) != len(commands) {
		m.Fatalf("%d results for %d commands", len(results), len(commands))
	}
	return results
}

func (m *machine) put(group, body string) Result {
	m.Helper()
	return m.apply(pushOf(m, group, true, body))
}

func (m *machine) post(group, body string) Result {
	m.Helper()
	return m.apply(pushOf(m, group, false, body))
}

func (m *machine) delete(group string) Result {
	m.Helper()
	return m.apply(EncodeDelete(Request{ID: NewRequestID(), Seen: m.Applied()}, labelsOf(m, group)))
}

// text is what a scrape in the text format shows.
func (m *machine) text() string { m.Helper(); return textOf(m, m.View()) }

func textOf(t testing.TB, v *View) string {
	t.Helper()
	var b bytes.Buffer
	if err := page.Write(&b, expfmt.NewFormat(expfmt.TypeTextPlain), v.Exposition()); err != nil {
		t.Fatalf("writing the exposition: %v", err)
	}
	return b.String()
}

func newRequest() Request { return Request{ID: NewRequestID()} }

// labelsOf parses a group as a user would write it: "job=a,instance=b".
func labelsOf(t testing.TB, group string) expo.Labels {
	t.Helper()
	labels := map[string]string{}
	for _, pair := range strings.Split(group, ",") {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			t.Fatalf("group %q: want name=value pairs", group)
		}
		labels[name] = value
	}
	return expo.NewLabels(labels)
}

func familiesOf(t testing.TB, group expo.Labels, body string) []*expo.Family {
	t.Helper()
	mfs, err := expo.Parse(strings.NewReader(body), expo.FormatText, model.LegacyValidation)
	if err != nil {
		t.Fatalf("parsing %q: %v", body, err)
	}
	families, err := expo.Canonical(group, mfs, model.LegacyValidation)
	if err != nil {
		t.Fatalf("canonical form of %q: %v", body, err)
	}
	return families
}

func pushOf(t testing.TB, group string, replace bool, body string) []byte {
	t.Helper()
	labels := labelsOf(t, group)
	return EncodePush(newRequest(), labels, replace, familiesOf(t, labels, body))
}

func (m *machine) want(res Result, status Status, reason string) {
	m.Helper()
	if res.Status != status || !strings.Contains(res.Reason, reason) {
		m.Fatalf("got result %+v, want status %d with a reason that contains %q", res, status, reason)
	}
}

// wantSeries fails unless the scrape's sample lines, without the push times, are exactly these.
func (m *machine) wantSeries(want ...string) {
	m.Helper()
	var got []string
	for line := range strings.Lines(m.text()) {
		if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "push_") {
			got = append(got, strings.TrimSuffix(line, "\n"))
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		m.Fatalf("the scrape has series\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// throughSnapshot returns a new machine restored from a snapshot of m.
func (m *machine) throughSnapshot() *machine {
	m.Helper()
	s, err := m.Snapshot()
	if err != nil {
		m.Fatal(err)
	}
	var b bytes.Buffer
	if err := s.(*snapshot).write(&b); err != nil {
		m.Fatalf("writing the snapshot: %v", err)
	}
	n := newMachine(m)
	if err := n.Restore(io.NopCloser(&b)); err != nil {
		m.Fatalf("restoring the snapshot: %v", err)
	}
	n.index = m.index
	return n
}
