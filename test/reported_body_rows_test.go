package test

import (
	"compress/gzip"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/golang/snappy"
)

// reportedBodyRows are bodies that people have sent to a Pushgateway, by their public reports, and what was wrong with
// them. What a refusal says of them is in TestARefusedBodyIsToldWhatItLooksLike.
func reportedBodyRows(t testing.TB) []row {
	t.Helper()
	toGzip := func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }
	zipped, framed := compressed(t, toGzip, gauge("m", 1)),
		compressed(t, func(w io.Writer) io.WriteCloser { return snappy.NewBufferedWriter(w) }, gauge("m", 1))
	oneGauge := scraped("# HELP m A gauge of the end-to-end tests.\n# TYPE m gauge\nm{instance=\"\",job=\"a\"} 1\n",
		`instance="",job="a" <time> 0`)
	nothing := scraped("")
	encoded := func(body, encoding string) step {
		return put("/metrics/job/a", body).with("Content-Encoding", encoding)
	}
	rows := []row{
		{
			name: "gzip by its old name", steps: []step{encoded(zipped, "x-gzip")},
			differs: "x-gzip is gzip (RFC 9110, 8.4.1.3); a Pushgateway ignores it", statuses: []int{http.StatusOK},
			lines: oneGauge,
		},
		{
			name: "gzip and identity", steps: []step{encoded(zipped, "gzip, identity")},
			differs: "identity is no encoding; a Pushgateway ignores the list", statuses: []int{http.StatusOK},
			lines: oneGauge,
		},
		{
			name: "an encoding that there is not, of bytes", steps: []step{
				encoded("\x0b\x01\x80m 1\n\x03", "br"), encoded(compressed(t, toGzip, zipped), "gzip, gzip"),
				encoded("m one\n", "utf-8"),
			},
			differs:  "415 lists what can be decoded; a Pushgateway parses the bytes as text",
			statuses: slices.Repeat([]int{http.StatusUnsupportedMediaType}, 3), lines: nothing,
		},
		{name: "an encoding that there is not, of text", steps: []step{
			encoded(gauge("m", 1), "br"), encoded(gauge("m", 1), "gzip, gzip"), encoded(gauge("m", 1), "identity"),
		}},
		{name: "gzip of an empty body", steps: []step{encoded(compressed(t, toGzip, ""), "gzip")}},
		{name: "snappy of an empty body", steps: []step{encoded("", "snappy")}},
		{name: "snappy without its header", steps: []step{put("/metrics/job/a", framed)}},
		{
			name: "text said to be snappy", steps: []step{encoded(gauge("m", 1), "snappy")},
			differs: "the Pushgateway reads snappy since 1.6", since: "1.6.0", statuses: []int{http.StatusBadRequest},
			lines: nothing,
		},
		{name: "a value in the other base64 alphabet, padded", steps: []step{put("/metrics/job/a/path@base64/ZHA+",
			gauge("m", 1))}},
	}
	for _, refused := range refusedBodies(t) {
		rows = append(rows, row{name: refused.name + " is refused", steps: []step{refused.step}})
	}
	return rows
}

type refusedBody struct {
	name string
	step step
	says string
}

// refusedBodies are refused by a Pushgateway, too, in the words of a parser.
func refusedBodies(t testing.TB) []refusedBody {
	t.Helper()
	zipped := compressed(t, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, everyType)
	body := func(b string) step { return put("/metrics/job/a", b) }
	return []refusedBody{
		{"gzip without its header", body(zipped), "looks like gzip: send it with the header Content-Encoding: gzip"},
		{"zlib", body("x\x9c\xcbU0\xe4\x02\x00\x02\x84\x00\xc9"), "looks like zlib (deflate)"},
		{"JSON", body(`{"metric": "m", "value": 1}`).with("Content-Type", "application/json"), "looks like JSON"},
		{
			"a page of an error", body("<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n</html>\r\n"),
			"looks like HTML",
		},
		{"a form with a file", body("--x\r\nContent-Disposition: form-data; name=\"m\"; filename=\"m\"\r\n\r\nm "+
			"1\n\r\n--x--\r\n").with("Content-Type", "multipart/form-data; boundary=x"), "curl --data-binary @file"},
		{"lines that curl -d has joined", body("m 1n 2o 3"), "-d takes the line breaks away"},
		{"protobuf of another content type", body(marshal(t, gaugeFamily("m", 1))).with("Content-Type",
			"application/x-protobuf"), "looks like delimited protobuf of MetricFamily"},
		{
			"text in snappy's block format", body(string(snappy.Encode(nil, []byte(everyType)))),
			"in snappy's block format",
		},
		{"a remote-write request", body(string(snappy.Encode(nil, []byte(
			"\x0a\x1d\x0a\x0f\x0a\x08__name__\x12\x03m_1\x12\x0a\x09\x00\x00\x00\x00\x00\x00\x00\x40\x10")))).with(
			"Content-Type", "application/x-protobuf"), "this is not a remote-write endpoint"},
		{"text of PowerShell", body("\xff\xfem\x00 \x001\x00\r\x00\n\x00"), "looks like UTF-16"},
		{"OpenMetrics with an exemplar", body("# TYPE m counter\nm_total 1 # {x=\"1\"} 1\n# EOF\n").with("Content-Type",
			"application/openmetrics-text; version=1.0.0"), "OpenMetrics is taken only as far as"},
	}
}

// TestARefusedBodyIsToldWhatItLooksLike, by the program as it runs.
func TestARefusedBodyIsToldWhatItLooksLike(t *testing.T) {
	t.Parallel()
	r := startReplica(t)
	for _, refused := range refusedBodies(t) {
		a := mustDo(t, http.StatusBadRequest, request{
			method: refused.step.method, url: r.url(refused.step.path), header: refused.step.header,
			body: refused.step.body,
		})
		if !strings.Contains(a.body, refused.says) || strings.Count(a.body, "\n") != 1 {
			t.Errorf("%s: want one line with %q, got %s", refused.name, refused.says, a)
		}
	}
	a := mustDo(t, http.StatusUnsupportedMediaType, request{
		method: http.MethodPut, url: r.url("/metrics/job/a"), header: map[string]string{"Content-Encoding": "zstd"},
		body: "\x28\xb5\x2f\xfd\x00\x00",
	})
	if got := a.header.Get("Accept-Encoding"); got != "gzip, snappy" {
		t.Errorf("want Accept-Encoding: gzip, snappy, got %q", got)
	}
}
