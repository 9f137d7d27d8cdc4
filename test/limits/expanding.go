package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/golang/snappy"
	"google.golang.org/protobuf/encoding/protowire"
)

// expandedSize is as much as a body may be by default.
const expandedSize = 15_900_000

// packed is a body that is compressed already.
type packed struct {
	bytes  []byte
	header map[string]string
}

// expanding are bodies that are small on the wire, and expand twice: when they are decompressed, and when what they say
// is built.
var expanding = sync.OnceValues(func() ([]packed, error) {
	fill := func(piece string) []byte { return bytes.Repeat([]byte(piece), expandedSize/len(piece)) }
	field := func(number protowire.Number, content []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), content)
	}
	// one is a family of one metric, with what the fields hold within one another.
	one := func(content []byte, numbers ...protowire.Number) []byte {
		for _, n := range numbers {
			content = field(n, content)
		}
		content = append(field(1, []byte("expands")), content...)
		return append(protowire.AppendVarint(nil, uint64(len(content))), content...)
	}
	const protobuf = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
	labels := make([]string, 128)
	for i := range labels {
		labels[i] = fmt.Sprintf("%c%d=\"\"", 'a'+i%26, i)
	}
	var out []packed
	for _, b := range []struct {
		kind string
		body []byte
	}{
		{protobuf, fill("\x00")},                // families
		{protobuf, one(fill("\x22\x00"))},       // metrics
		{protobuf, one(fill("\x0a\x00"), 4)},    // labels of one metric
		{protobuf, one(fill("\x1a\x00"), 7, 4)}, // buckets of a histogram of one metric
		{"text/plain", fill("#\n")},             // lines that say nothing
		{"text/plain", fill("a 1\n")},           // the same series again and again
		{"text/plain", fill("a{" + strings.Join(labels, ",") + "} 1\n")},
	} {
		for _, encoding := range []string{"gzip", "snappy"} {
			var small bytes.Buffer
			var w io.WriteCloser = snappy.NewBufferedWriter(&small)
			if encoding == "gzip" {
				w = gzip.NewWriter(&small)
			}
			if _, err := w.Write(b.body); err != nil {
				return nil, err
			}
			if err := w.Close(); err != nil {
				return nil, err
			}
			out = append(
				out, packed{small.Bytes(), map[string]string{"Content-Type": b.kind, "Content-Encoding": encoding}})
		}
	}
	return out, nil
})

// expandingBodies sends them, a few at a time.
func expandingBodies(a *assault) {
	all, err := expanding()
	if err != nil {
		a.wrong = err
		return
	}
	a.clients(8, func(int) {
		n := int(a.count.Add(1))
		body := all[n%len(all)]
		a.send(ask{
			method: http.MethodPut, url: a.replica(n).url(fmt.Sprintf("/metrics/job/expands/instance/%d", n%16)),
			body: bytes.NewReader(body.bytes), header: body.header,
		})
	})
}
