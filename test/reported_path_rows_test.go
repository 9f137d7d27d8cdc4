package test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// reportedPathRows are requests of which users of the Pushgateway have told that they go wrong, or are lost without a
// word.
var reportedPathRows = []row{
	refusedRow("an empty job", put("/metrics/job//instance/h", gauge("m", 1)), post("/metrics/job//x", gauge("m", 1)),
		del("/metrics/job@base64//x/1")),
	refusedRow("an empty job and nothing else",
		put("/metrics/job/", gauge("m", 1)), post("/metrics/job@base64/", gauge("m", 1))),
	refusedRow("an empty name", put("/metrics/job/a//x/1", gauge("m", 1)), post("/metrics/job/a/x/1//2", gauge("m", 1)),
		del("/metrics/job/a//x/1")),
	refusedRow("an empty value between slashes",
		put("/metrics/job/a/x//y/2", gauge("m", 1)), del("/metrics/job/a/x//y/2")),
	refusedRow("dots in the path", put("/metrics/../metrics/job/a", gauge("m", 1)),
		post("/metrics/job/./a", gauge("m", 1)), del("/metrics/job/a/..")),
	refusedRow("dots for a value", put("/metrics/job/a/path/..", gauge("m", 1)),
		put("/metrics/job/a/path/.", gauge("m", 1))),
	{name: "an empty value at the end", steps: []step{
		put("/metrics/job/a/x/", gauge("m", 1)), post("/metrics/job/a/x@base64/", gauge("n", 1)),
	}},
	{
		name: "a value and a slash at the end", steps: []step{
			put("/metrics/job/a/x/1/", gauge("m", 1)), post("/metrics/job/a/x/1/", gauge("n", 1)),
			put("/metrics/job/b/x/1", gauge("m", 1)), del("/metrics/job/b/x/1/"),
		},
		differs:  "a Pushgateway answers 400, though it takes the slash after a job alone",
		statuses: []int{200, 200, 200, 202},
		lines: scraped(
			"# HELP m A gauge of the end-to-end tests.\n# TYPE m gauge\nm{instance=\"\",job=\"a\",x=\"1\"} 1\n"+
				"# HELP n A gauge of the end-to-end tests.\n# TYPE n gauge\nn{instance=\"\",job=\"a\",x=\"1\"} 1\n",
			`instance="",job="a",x="1" <time> 0`),
	},
	{
		name: "slashes before the job", steps: []step{
			put("//metrics/job/a", gauge("m", 1)), post("/metrics//job/b", gauge("m", 1)),
			put("///metrics///job@base64/Yw", gauge("m", 1)), del("//metrics/job/c"),
		},
		differs:  "a Pushgateway redirects, which most clients do not follow when they push",
		statuses: []int{200, 200, 200, 202},
		lines: scraped("# HELP m A gauge of the end-to-end tests.\n# TYPE m gauge\nm{instance=\"\",job=\"a\"} "+
			"1\nm{instance=\"\",job=\"b\"} 1\n",
			`instance="",job="a" <time> 0`, `instance="",job="b" <time> 0`),
	},
	{
		name: "letters of another case", steps: []step{put("/METRICS/job/a", gauge("m", 1)), post("/metrics/Job/a",
			gauge("m", 1)), put("/api/v1/admin/wipe/", "")},
		differs:  "a Pushgateway redirects, which most clients do not follow when they push",
		statuses: []int{404, 404, 404},
		lines:    scraped(""),
	},
	{
		name: "HEAD", steps: []step{
			head("/metrics"), head("/-/ready"), head("/-/healthy"), head("/"), head("/status"), head("/api/v1/metrics"),
			head("/api/v1/status"),
			head("/nothing"), head("/metrics/job/a"), head("/-/quit"),
		},
		differs:  "a Pushgateway answers 405 to HEAD, which probers and proxies send where they could send GET",
		statuses: []int{200, 200, 200, 200, 200, 200, 200, 404, 405, 405},
		lines:    scraped(""),
	},
	{name: "a push to where nothing is pushed", steps: []step{
		put("/metrics", gauge("m", 1)), post("/", gauge("m", 1)), put("/metrics/jobs/x", gauge("m", 1)),
		put("/metrics/job", gauge("m", 1)), post("/api/v1/write", gauge("m", 1)),
	}},
}

func head(path string) step { return step{method: http.MethodHead, path: path} }

// refusedRow is the row of requests that are refused, where a Pushgateway redirects.
func refusedRow(name string, steps ...step) row {
	return row{
		name: name, steps: steps,
		differs: "a Pushgateway redirects to another group, or to none, which most clients do not follow when they " +
			"push, and take for a success",
		statuses: slices.Repeat([]int{http.StatusBadRequest}, len(steps)),
		lines:    scraped(""),
	}
}

// TestWithoutTheConsistencyCheckAPushIsAnswered202 as a Pushgateway does: client_golang before 1.2 and Java's
// simpleclient before 0.8 take nothing else.
func TestWithoutTheConsistencyCheckAPushIsAnswered202(t *testing.T) {
	t.Parallel()
	const flag = "--push.disable-consistency-check"
	peer, ours := startPushgateway(t, flag), startReplica(t, flag)
	for _, base := range []string{peer.url(""), ours.url("")} {
		for _, s := range []step{
			put("/metrics/job/a", gauge("m", 1)), post("/metrics/job/a", gauge("n", 1)), put("/metrics/job/b", ""),
		} {
			mustDo(t, http.StatusAccepted, request{method: s.method, url: base + s.path, body: s.body})
		}
		mustDo(t, http.StatusBadRequest, request{method: http.MethodPut, url: base + "/metrics/job/a", body: "}\n"})
	}
	mustDo(t, http.StatusBadRequest, request{
		method: http.MethodPut, url: ours.url("/metrics/job/c"), body: "# TYPE m counter\nm 1\n",
	})
	mustHave(t, ours.scrape(), `m{instance="",job="a"}`, "1")
	if log := string(ours.output()); !strings.Contains(log, flag) || !strings.Contains(log, "202") {
		t.Errorf("the log does not tell what the flag does:\n%s", log)
	}
}
