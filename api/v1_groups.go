package api

import (
	"bufio"
	"encoding/json"
	"io"
	"time"

	"pushquorum/expo"
	"pushquorum/fsm"
)

// writeGroups writes the answer of /api/v1/metrics. Beside one metric, it has the list of the groups in memory, 8 bytes
// each.
func writeGroups(out io.Writer, view *fsm.View) error {
	w := &jsonWriter{Writer: bufio.NewWriterSize(out, 32<<10)}
	w.raw(`{"status":"success","data":[`)
	separator := ""
	for g := range view.Groups() {
		w.raw(separator)
		w.group(g)
		if w.err != nil {
			return w.err
		}
		separator = ","
	}
	w.raw("]}")
	if w.err != nil {
		return w.err
	}
	return w.Flush()
}

// jsonWriter writes what encoding/json makes of the whole, a piece at a time. Its first error counts.
type jsonWriter struct {
	*bufio.Writer
	err error
}

func (w *jsonWriter) raw(s string) {
	if w.err == nil {
		_, w.err = w.WriteString(s)
	}
}

func (w *jsonWriter) value(v any) {
	if w.err != nil {
		return
	}
	var encoded []byte
	if encoded, w.err = json.Marshal(v); w.err == nil {
		_, w.err = w.Write(encoded)
	}
}

// groupField is a key of a group's object and what writes its value.
type groupField struct {
	name  string
	value func()
}

// group writes an object that has the names of the families beside `labels` and `last_push_successful`, sorted. A
// family of either name hides that key, as it does in the Pushgateway: the keys of an object must differ.
func (w *jsonWriter) group(g *fsm.Group) {
	pushed, failed := g.PushTimeFamily(), g.FailureTimeFamily()
	others := []groupField{ // sorted
		{"labels", func() { w.value(g.Labels().Map()) }},
		{"last_push_successful", func() { w.value(g.LastPushSuccessful()) }},
		{failed.Name, func() { w.family(failed, g.FailureTouched) }},
		{pushed.Name, func() { w.family(pushed, g.PushTouched) }},
	}
	before := "{"
	write := func(name string, value func()) {
		w.raw(before)
		w.value(name)
		w.raw(":")
		value()
		before = ","
	}
	for _, f := range g.Families { // sorted, too, without the times
		for len(others) > 0 && others[0].name < f.Name {
			write(others[0].name, others[0].value)
			others = others[1:]
		}
		write(f.Name, func() { w.family(f.Family, f.Time) })
		if len(others) > 0 && others[0].name == f.Name {
			others = others[1:]
		}
		if w.err != nil {
			return
		}
	}
	for _, field := range others {
		write(field.name, field.value)
	}
	w.raw("}")
}

// family writes an object with the keys time_stamp, type, help if there is one, and metrics.
func (w *jsonWriter) family(f *expo.Family, unixNano int64) {
	w.raw(`{"time_stamp":`)
	w.value(time.Unix(0, unixNano).UTC())
	w.raw(`,"type":`)
	w.value(f.Type.String())
	if f.Help != "" {
		w.raw(`,"help":`)
		w.value(f.Help)
	}
	w.raw(`,"metrics":[`)
	separator := ""
	for encoded, err := range f.Encoded() {
		if err != nil && w.err == nil {
			w.err = err
		}
		if w.err != nil {
			return
		}
		m, err := encoded.Decode()
		if err != nil {
			w.err = err
			return
		}
		w.raw(separator)
		w.metric(m, f.Type)
		separator = ","
	}
	w.raw("]}")
}
