package test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
)

// TestOneBadClientCannotHurtTheRest sends what a cluster must not take, each to another replica, and looks whether the
// scrapes of all are as before, but for the failure time of the group that was named.
func TestOneBadClientCannotHurtTheRest(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	c := startCluster(t, "--push.max-body-size=64KB", "--web.enable-admin-api")
	c.at(0).push("/metrics/job/good", everyType)
	before := stable(c.at(0).scrape())

	line := "e2e_big{x=\"" + strings.Repeat("x", 1000) + "\"} 1\n"
	tooBig := strings.Repeat(line, limit/len(line)+1)
	bomb := strings.Repeat("\n", 64<<20)
	gzipped, snapped := compressed(t, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, bomb),
		compressed(t, func(w io.Writer) io.WriteCloser { return snappy.NewBufferedWriter(w) }, bomb)
	for i, bad := range []struct {
		name   string
		status int
		step   step
	}{
		{"a body over the limit", 413, put("/metrics/job/bad", tooBig)},
		{"a POST over the limit", 413, post("/metrics/job/bad", tooBig)},
		{"a gzip bomb", 413, put("/metrics/job/bad", gzipped).with("Content-Encoding", "gzip")},
		{"a snappy bomb", 413, put("/metrics/job/bad", snapped).with("Content-Encoding", "snappy")},
		{
			"a gzip bomb said to be protobuf", 413,
			put("/metrics/job/bad", gzipped).with("Content-Encoding", "gzip").with("Content-Type", delimited),
		},
		{
			"a length of 2^60 in protobuf", 400,
			put("/metrics/job/bad", "\x80\x80\x80\x80\x80\x80\x80\x80\x10").with("Content-Type", delimited),
		},
		{"a push cut off", 400, put("/metrics/job/bad", everyType[:len(everyType)/2])},
		{"a label value that is not UTF-8", 400, put("/metrics/job/bad", "m{x=\"\xff\"} 1\n")},
		{"a group that is not UTF-8", 400, put("/metrics/job/bad/l@base64/__4", gauge("m", 1))},
		{"a deletion that is not UTF-8", 400, del("/metrics/job/bad/l@base64/__4")},
		{"a series of another group", 400, put("/metrics/job/x",
			"e2e_gauge{instance=\"\"} 1\n# TYPE e2e_counter_total gauge\ne2e_counter_total 1\n")},
		{"a family of another type", 400, post("/metrics/job/bad", "# TYPE e2e_gauge counter\ne2e_gauge 1\n")},
		{"a suffix of a stored histogram", 400, post("/metrics/job/bad", "e2e_histogram_seconds_count 1\n")},
		{"a series twice", 400, post("/metrics/job/bad", "m 1\nm 2\n")},
		{"a timestamp", 400, post("/metrics/job/bad", "m 1 1\n")},
		{
			"a metric name with a newline, in protobuf", 400,
			putProtobuf(t, "/metrics/job/bad", gaugeFamily("m 1\nn", 1)),
		},
		{"a label name that injects another, in protobuf", 400, putProtobuf(t, "/metrics/job/bad",
			gaugeFamily("m", 1, `x="1",y`, "1"))},
		{"no metric name, in protobuf", 400, putProtobuf(t, "/metrics/job/bad", gaugeFamily("", 1))},
	} {
		r := c.at(i)
		began := time.Now()
		a, err := do(
			request{method: bad.step.method, url: r.url(bad.step.path), header: bad.step.header, body: bad.step.body})
		if err != nil {
			t.Errorf("%s: %v", bad.name, err)
			continue
		}
		if reason := strings.TrimSpace(a.body); a.status != bad.status || reason == "" ||
			strings.Contains(reason, "\n") || len(reason) > 1000 {
			t.Errorf("%s: want %d and a line that says why, got %s", bad.name, bad.status, a)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s: took %s", bad.name, took)
		}
		for _, r := range c.replicas {
			if after := stable(r.scrape()); !slices.Equal(after, before) {
				t.Fatalf("%s changed the scrape of %s:\n%s", bad.name, r.name, diffLines(before, after))
			}
		}
	}

	// What is as big as the limit allows is taken.
	fits := strings.Repeat("# a comment\n", limit/len("# a comment\n"))
	c.at(1).push("/metrics/job/fits", fits)
	c.mustAgree()
}

// TestNoClientWritesLongLinesIntoTheLog: what the log quotes is cut, whoever logs it.
func TestNoClientWritesLongLinesIntoTheLog(t *testing.T) {
	t.Parallel()
	r := startReplica(t, "--log.level=debug")
	long := strings.Repeat("0123456789", 80_000)
	path := strings.Repeat("0123456789", 1_500) // as long as one may be
	for _, bad := range []step{
		put("/metrics/job/"+path, "m 1\nm 2\n"), // rejected, which is a warning
		put("/metrics/job/a/"+path, "m 1\n"),    // refused, a debug line
		put("/metrics/job/a", "m{"+long+"=\"\"} 1\nm "+long+"\n"),
		get("/api/v1/" + path), get("/api/v1/" + long),
	} {
		a, err := do(request{method: bad.method, url: r.url(bad.path), header: bad.header, body: bad.body})
		if err != nil || a.status/100 != 4 {
			t.Fatalf("%s: want an answer of 400 to 499, got %s, %v", bad.method, a, err)
		}
	}
	quoted := 0
	for line := range bytes.Lines(r.output()) {
		if bytes.Contains(line, []byte("01234567890123456789")) {
			quoted++
		}
		if len(line) > 2000 {
			t.Errorf("a line of %d bytes was logged: %.200s", len(line), line)
		}
	}
	if quoted < 2 {
		t.Errorf("%d lines quote the requests, want the rejected and the refused one at least", quoted)
	}
}

// stable are the lines of a scrape without those about when pushes came: a bad one may leave a failure time behind.
func stable(scrape string) []string {
	return slices.DeleteFunc(pushedLines(scrape), func(line string) bool {
		return strings.Contains(line, "push_time_seconds") || strings.Contains(line, "push_failure_time_seconds")
	})
}

func compressed(t testing.TB, to func(io.Writer) io.WriteCloser, text string) string {
	t.Helper()
	var out bytes.Buffer
	w := to(&out)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestARejectedPushIsRecordedInItsGroupOnEveryReplica(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	c.at(0).push("/metrics/job/a", gauge("e2e_gauge", 1))
	mustDo(t, http.StatusBadRequest, request{
		method: http.MethodPut, url: c.at(1).url("/metrics/job/a"), body: "m 1\nm 2\n",
	})
	mustDo(t, http.StatusBadRequest, request{
		method: http.MethodPut, url: c.at(1).url("/metrics/job/b"), body: "e2e_gauge 1 1\n",
	})
	scrape := c.mustAgree()
	for series, isSet := range map[string]bool{
		`push_time_seconds{instance="",job="a"}`:         true,
		`push_failure_time_seconds{instance="",job="a"}`: true,
		`push_time_seconds{instance="",job="b"}`:         false,
		`push_failure_time_seconds{instance="",job="b"}`: true,
	} {
		value, ok := samples(t, scrape)[series]
		if !ok || (value != "0") != isSet {
			t.Errorf("%s: %q", series, value)
		}
	}
	mustHave(t, scrape, `e2e_gauge{instance="",job="a"}`, "1")
}
