package test

import (
	"net/http"
	"testing"
)

// TestPromtoolAcceptsEveryKindOfScrape is about what the other tests do not scrape; promtool is shown their scrapes,
// too, and where it is not installed they go on without it.
func TestPromtoolAcceptsEveryKindOfScrape(t *testing.T) {
	t.Parallel()
	need(t, "promtool")
	r := startReplica(t, "--push.enable-utf8-names")
	r.push("/metrics/job/every/type/is", everyType)
	r.push("/metrics/job/odd/value@base64/ImFcYgoi",
		"e2e_odd{a=\"\\\\ \\\" \\n\",b=\"東京\"} -Inf\ne2e_odd{a=\"\"} NaN\n")
	// Names beyond ASCII come escaped to a client that does not say it can read them.
	r.push("/metrics/job/utf8/U__dotted_2e_label/x", `{"e2e.dotted","another.label"="y"} 1`+"\n")
	mustDo(t, http.StatusBadRequest, request{
		method: http.MethodPut, url: r.url("/metrics/job/failed"), body: "e2e_odd 1 1\n",
	})

	scrape := r.scrape()
	mustHave(t, scrape, `e2e_dotted{another_label="y",dotted_label="x",instance="",job="utf8"}`, "1")
	mustContain(t, scrape, "\ngo_goroutines ")
	checkWithPromtool(t, mustDo(t, http.StatusOK, request{url: r.url("/-/metrics")}).body)
}
