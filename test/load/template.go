package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
)

// The work of every figure: a push of 20 series in 4 families, about 2.3 KB of text.
const (
	familiesPerPush = 4
	seriesPerFamily = 5
	seriesPerPush   = familiesPerPush * seriesPerFamily
)

const (
	groupDigits = 7
	valueFormat = "1000.0001" // as wide as every value that takes its place, and written back as it was read
)

// template is a request as bytes, but for the group and the values, which have fixed widths and places: a request is
// made by writing over some digits of a copy. Nothing is encoded while the clock runs.
type template struct {
	bytes    []byte
	groupAt  int
	valuesAt []int
}

// pushBody is the body of a push as Prometheus text, and where its values are.
func pushBody() (body []byte, valuesAt []int) {
	families := []struct{ name, kind, help string }{
		{
			"bench_records_processed_total", "counter",
			"Records that the job has read, checked and written since it began.",
		},
		{"bench_stage_duration_seconds", "gauge", "How long the stage took when the job ran last."},
		{"bench_queue_depth", "gauge", "Records that wait in front of the stage."},
		{"bench_bytes_written_total", "counter", "Bytes that the stage has handed to the storage behind it."},
	}
	stages := []string{"extract", "validate", "transform", "aggregate", "publish"}
	for _, f := range families {
		body = fmt.Appendf(body, "# HELP %s %s\n# TYPE %s %s\n", f.name, f.help, f.name, f.kind)
		for i, stage := range stages {
			body = fmt.Appendf(body, "%s{stage=%q,shard=\"shard-%02d\",zone=\"eu-west-1\"} ", f.name, stage, i)
			valuesAt = append(valuesAt, len(body))
			body = append(body, valueFormat+"\n"...)
		}
	}
	return body, valuesAt
}

// httpPush is a push as an HTTP/1.1 request, the same for PushQuorum and the Pushgateway.
func httpPush() template { return httpPushOf(pushBody()) }

// httpPushOfOne is a push of one series.
func httpPushOfOne() template {
	const name = "bench_value "
	return httpPushOf([]byte(name+valueFormat+"\n"), []int{len(name)})
}

func httpPushOf(body []byte, values []int) template {
	head := []byte("PUT /metrics/job/nightly/instance/host-")
	t := template{groupAt: len(head)}
	head = append(head, bytes.Repeat([]byte{'0'}, groupDigits)...)
	head = fmt.Appendf(head,
		" HTTP/1.1\r\nHost: bench\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n", len(body))
	return t.finish(head, body, values)
}

// etcdPut is the same body under the same name as an etcdserverpb.PutRequest: key is its field 1 and value its field 2.
func etcdPut() template {
	const name = "/metrics/job/nightly/instance/host-"
	body, values := pushBody()
	head := binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(name)+groupDigits))
	head = append(head, name...)
	t := template{groupAt: len(head)}
	head = append(head, bytes.Repeat([]byte{'0'}, groupDigits)...)
	head = binary.AppendUvarint(append(head, 2<<3|2), uint64(len(body)))
	return t.finish(head, body, values)
}

func (t template) finish(head, body []byte, values []int) template {
	for _, at := range values {
		t.valuesAt = append(t.valuesAt, len(head)+at)
	}
	t.bytes = slices.Concat(head, body)
	return t
}

// filler makes requests from a template, each with values of its own: a push that repeats what is stored is not the
// work of a job that ran.
type filler struct {
	template
	random *rand.Rand
}

// newFiller returns one that makes the same requests for the same seed.
func newFiller(t template, seed uint64) *filler {
	t.bytes = bytes.Clone(t.bytes)
	return &filler{template: t, random: rand.New(rand.NewPCG(seed, 20))}
}

// next is a request for the group. It is valid until the next call.
func (f *filler) next(group int) []byte {
	at := f.groupAt + groupDigits
	for range groupDigits {
		at--
		f.bytes[at] = byte('0' + group%10)
		group /= 10
	}
	for _, at := range f.valuesAt {
		n := f.random.Uint32()
		v := f.bytes[at : at+len(valueFormat)]
		// The first and the last digit are not 0, so that the value is as wide when it comes back
		v[0] = byte('1' + n%9)
		v[8] = byte('1' + n/9%9)
		n /= 81
		for _, i := range [...]int{1, 2, 3, 5, 6, 7} {
			v[i] = byte('0' + n%10)
			n /= 10
		}
	}
	return f.bytes
}

// value is the text of the i-th value of the last request.
func (f *filler) value(i int) string {
	return string(f.bytes[f.valuesAt[i] : f.valuesAt[i]+len(valueFormat)])
}
