package test

import "net/http"

var pathRows = []row{
	{name: "a job alone", steps: []step{put("/metrics/job/a", gauge("m", 1))}},
	{name: "a job and labels", steps: []step{put("/metrics/job/a/instance/i/env/test", gauge("m", 1))}},
	{name: "the order of labels does not matter", steps: []step{
		put("/metrics/job/a/x/1/y/2", gauge("m", 1)), post("/metrics/job/a/y/2/x/1", gauge("n", 1)),
		del("/metrics/job/a/y/2/x/1"),
	}},
	{name: "a label twice keeps the last value", steps: []step{put("/metrics/job/a/x/1/x/2", gauge("m", 1))}},
	{name: "job as a label again", steps: []step{put("/metrics/job/a/job/b", gauge("m", 1))}},
	{name: "a job in base64", steps: []step{put("/metrics/job@base64/YS9i", gauge("m", 1))}},
	{name: "a value in base64 with padding", steps: []step{put("/metrics/job/a/path@base64/L3Zhcg==", gauge("m", 1))}},
	{name: "a value in base64 without padding", steps: []step{put("/metrics/job/a/path@base64/L3Zhcg", gauge("m", 1))}},
	{
		name:  "a value in the URL's base64 alphabet",
		steps: []step{put("/metrics/job/a/path@base64/Pz8_", gauge("m", 1))},
	},
	{
		name:  "a value in the other base64 alphabet",
		steps: []step{put("/metrics/job/a/path@base64/Pz8+", gauge("m", 1))},
	},
	{name: "an empty value in base64", steps: []step{put("/metrics/job/a/path@base64/=", gauge("m", 1))}},
	{name: "two padding characters for nothing", steps: []step{put("/metrics/job/a/path@base64/==", gauge("m", 1))}},
	{name: "an empty instance in base64", steps: []step{put("/metrics/job/a/instance@base64/=", gauge("m", 1))}},
	{name: "what is no base64", steps: []step{put("/metrics/job/a/path@base64/!!!", gauge("m", 1))}},
	{name: "an empty job in base64", steps: []step{put("/metrics/job@base64/=", gauge("m", 1))}},
	{name: "a job that is no base64", steps: []step{put("/metrics/job@base64/!", gauge("m", 1))}},
	{name: "a newline in a value", steps: []step{put("/metrics/job/a/x@base64/YQpi", gauge("m", 1))}},
	{name: "a quote and a backslash in a value", steps: []step{put("/metrics/job/a/x@base64/ImFcYiI", gauge("m", 1))}},
	{name: "NUL in a value", steps: []step{put("/metrics/job/a/x@base64/AA", gauge("m", 1))}},
	{
		name: "letters beyond ASCII", steps: []step{put("/metrics/job/t%C3%A4glich/ort/%E6%9D%B1%E4%BA%AC",
			gauge("m", 1))},
	},
	{name: "a blank in a value", steps: []step{put("/metrics/job/a%20b", gauge("m", 1))}},
	{name: "an encoded slash does not hide one", steps: []step{put("/metrics/job/a%2Fb", gauge("m", 1))}},
	{name: "an encoded slash makes a label", steps: []step{put("/metrics/job/a%2Fx%2F1", gauge("m", 1))}},
	{name: "a label without a value", steps: []step{put("/metrics/job/a/x", gauge("m", 1))}},
	{name: "a slash at the end", steps: []step{put("/metrics/job/a/", gauge("m", 1))}},
	{name: "no job", steps: []step{put("/metrics/job", gauge("m", 1)), put("/metrics/job@base64", gauge("m", 1))}},
	{name: "something else than a job", steps: []step{put("/metrics/jobs/a", gauge("m", 1)), put("/metrics/x/y",
		gauge("m", 1))}},
	{name: "a label name with a dash", steps: []step{put("/metrics/job/a/x-y/1", gauge("m", 1))}},
	{name: "a label name that begins with a digit", steps: []step{put("/metrics/job/a/1x/1", gauge("m", 1))}},
	{name: "a reserved label name", steps: []step{
		put("/metrics/job/a/__x/1", gauge("m", 1)), put("/metrics/job/a/__name__/n", gauge("m", 1)),
	}},
	{name: "an empty label name", steps: []step{put("/metrics/job/a/@base64/YQ", gauge("m", 1))}},
	{
		name:  "le and quantile as labels of a group",
		steps: []step{put("/metrics/job/a/le/1/quantile/0.5", gauge("m", 1))},
	},
	{name: "a query in the URL", steps: []step{put("/metrics/job/a?x=1&y=2", gauge("m", 1))}},
	{name: "a value that looks like base64's suffix", steps: []step{put("/metrics/job/a@base64", gauge("m", 1))}},
	{name: "a label name that looks escaped", steps: []step{put("/metrics/job/a/U__x_2e_y/1", gauge("m", 1))}},
}

var methodRows = []row{
	{name: "PUT replaces the group", steps: []step{
		put("/metrics/job/a", gauge("m", 1)+gauge("n", 1)), put("/metrics/job/a", gauge("m", 2)),
	}},
	{name: "POST replaces what it names", steps: []step{
		put("/metrics/job/a", gauge("m", 1)+gauge("n", 1)), post("/metrics/job/a", gauge("m", 2)),
	}},
	{name: "POST replaces every series of a family", steps: []step{
		put("/metrics/job/a", "m{x=\"1\"} 1\nm{x=\"2\"} 1\n"), post("/metrics/job/a", "m{x=\"2\"} 2\n"),
	}},
	{name: "an empty PUT makes a group", steps: []step{put("/metrics/job/a", "")}},
	{name: "an empty PUT empties a group", steps: []step{
		put("/metrics/job/a", gauge("m", 1)), put("/metrics/job/a", ""),
	}},
	{name: "an empty POST makes a group", steps: []step{post("/metrics/job/a", "")}},
	{name: "an empty POST leaves a group", steps: []step{put("/metrics/job/a", gauge("m", 1)), post("/metrics/job/a",
		"")}},
	{name: "DELETE removes a group", steps: []step{put("/metrics/job/a", gauge("m", 1)), del("/metrics/job/a")}},
	{name: "DELETE removes exactly that group", steps: []step{
		put("/metrics/job/a", gauge("m", 1)), put("/metrics/job/a/instance/i", gauge("m", 1)), del("/metrics/job/a"),
	}},
	{name: "DELETE of no group", steps: []step{put("/metrics/job/a", gauge("m", 1)), del("/metrics/job/b")}},
	{name: "DELETE of a bad path", steps: []step{del("/metrics/job/a/x"), del("/metrics/job/a/__x/1")}},
	{name: "DELETE with a body", steps: []step{
		put("/metrics/job/a", gauge("m", 1)), {method: http.MethodDelete, path: "/metrics/job/a", body: "}"},
	}},
	{name: "wipe", steps: []step{
		put("/metrics/job/a", gauge("m", 1)), put("/metrics/job/b", gauge("m", 1)), put("/api/v1/admin/wipe", ""),
	}},
	{name: "wipe wants PUT", steps: []step{
		put("/metrics/job/a", gauge("m", 1)), post("/api/v1/admin/wipe", ""), get("/api/v1/admin/wipe"),
		del("/api/v1/admin/wipe"),
	}},
	{name: "other methods on a group", steps: []step{
		put("/metrics/job/a", gauge("m", 1)), get("/metrics/job/a"),
		{method: http.MethodHead, path: "/metrics/job/a"},
		{method: http.MethodPatch, path: "/metrics/job/a"},
		{method: http.MethodOptions, path: "/metrics/job/a"},
	}},
	{name: "other methods on the scrape", steps: []step{
		put("/metrics", gauge("m", 1)), post("/metrics", gauge("m", 1)), del("/metrics"),
		{method: http.MethodOptions, path: "/metrics"},
	}},
	{name: "lifecycle is off", steps: []step{put("/-/quit", ""), post("/-/quit", ""), get("/-/quit")}},
	{name: "the pages", steps: []step{
		get("/"), get("/status"), get("/-/healthy"), get("/-/ready"), get("/nothing"), get("/api/v1/nothing"),
	}},
	{name: "the query API", steps: []step{
		get("/api/v1/status"), get("/api/v1/metrics"),
		{method: http.MethodOptions, path: "/api/v1/metrics"},
		post("/api/v1/metrics", ""), get("/api/v2/metrics"),
	}},
	{
		name: "the query API and a slash", steps: []step{get("/api/v1/metrics/")},
		differs:  "a Pushgateway redirects to /metrics, which is another page",
		statuses: []int{http.StatusMovedPermanently},
		lines:    scraped(""),
	},
	{name: "profiles", steps: []step{get("/debug/pprof/"), get("/debug/pprof/cmdline"), get("/debug/pprof/goroutine")}},
}

var bodyRows = []row{
	{name: "every type", steps: []step{put("/metrics/job/a", everyType)}},
	{name: "values at the edge", steps: []step{put("/metrics/job/a",
		"m{v=\"nan\"} NaN\nm{v=\"inf\"} +Inf\nm{v=\"-inf\"} -Inf\nm{v=\"-0\"} -0\nm{v=\"e\"} 1e-300\nm{v=\"hex\"} "+
			"0x1p-2\nm{v=\"big\"} 123456789012345678\n")}},
	{name: "blank lines and comments", steps: []step{put("/metrics/job/a", "\n\n# a comment\n  m 1\n\t\n")}},
	{name: "only a comment", steps: []step{put("/metrics/job/a", "# nothing\n")}},
	{name: "only a TYPE", steps: []step{put("/metrics/job/a", "# TYPE m counter\n")}},
	{name: "no TYPE is untyped", steps: []step{put("/metrics/job/a", "m 1\n")}},
	{name: "TYPE after the samples", steps: []step{put("/metrics/job/a", "m 1\n# TYPE m counter\n")}},
	{name: "TYPE twice", steps: []step{put("/metrics/job/a", "# TYPE m counter\n# TYPE m gauge\nm 1\n")}},
	{name: "an unknown TYPE", steps: []step{put("/metrics/job/a", "# TYPE m thing\nm 1\n")}},
	{name: "HELP twice", steps: []step{put("/metrics/job/a", "# HELP m one\n# HELP m two\nm 1\n")}},
	{name: "HELP with escapes", steps: []step{put("/metrics/job/a",
		"# HELP m a \\\\ and a \\n newline\n# TYPE m gauge\nm 1\n")}},
	{name: "text that is no metrics", steps: []step{put("/metrics/job/a", "{\"m\": 1}\n")}},
	{name: "an open brace", steps: []step{put("/metrics/job/a", "m{x=\"1\" 1\n")}},
	{name: "a value that is no number", steps: []step{put("/metrics/job/a", "m one\n")}},
	{name: "no value", steps: []step{put("/metrics/job/a", "m\n")}},
	{name: "good lines before a bad one", steps: []step{put("/metrics/job/a", gauge("m", 1)), put("/metrics/job/a",
		gauge("m", 2)+"}\n")}},
	{name: "a bad body to no group", steps: []step{put("/metrics/job/a", "}\n"), post("/metrics/job/b", "}\n")}},
	{name: "not UTF-8", steps: []step{put("/metrics/job/a", "m{x=\"\xff\"} 1\n")}},
	{name: "letters beyond ASCII in a value", steps: []step{put("/metrics/job/a", "m{x=\"東京\"} 1\n")}},
	{name: "escapes in a label value", steps: []step{put("/metrics/job/a", `m{x="a\"b\\c\nd"} 1`+"\n")}},
	{name: "a label name with a dash in the body", steps: []step{put("/metrics/job/a", "m{x-y=\"1\"} 1\n")}},
	{name: "a metric name with a dash", steps: []step{put("/metrics/job/a", "m-n 1\n")}},
	{name: "a label twice in one series", steps: []step{put("/metrics/job/a", "m{x=\"1\",x=\"2\"} 1\n")}},
	{name: "__name__ in the body", steps: []step{put("/metrics/job/a", "m{__name__=\"n\"} 1\n")}},
	{name: "a reserved label in the body", steps: []step{put("/metrics/job/a", "m{__x=\"1\"} 1\n")}},
	{name: "an empty label value in the body", steps: []step{put("/metrics/job/a", "m{x=\"\"} 1\n")}},
	{name: "the group's labels win", steps: []step{put("/metrics/job/a/env/test",
		"m{job=\"b\",env=\"prod\",x=\"1\"} 1\n")}},
	{name: "an instance in the body stays", steps: []step{put("/metrics/job/a", "m{instance=\"i\"} 1\n")}},
	{name: "a group's instance wins", steps: []step{put("/metrics/job/a/instance/g", "m{instance=\"i\"} 1\n")}},
	{name: "labels are sorted", steps: []step{put("/metrics/job/a", "m{z=\"1\",a=\"2\",k=\"3\"} 1\n")}},
	{name: "a family in two places of the body", steps: []step{put("/metrics/job/a",
		"m{x=\"1\"} 1\nn 1\nm{x=\"2\"} 1\n")}},
	{name: "push_time_seconds is ours", steps: []step{put("/metrics/job/a",
		"push_time_seconds 1\npush_failure_time_seconds 1\nm 1\n")}},
	{name: "a timestamp", steps: []step{put("/metrics/job/a", gauge("m", 1)), put("/metrics/job/a",
		"m 1 1700000000000\n")}},
	{name: "a timestamp to no group", steps: []step{put("/metrics/job/a", "m 1 1700000000000\n")}},
	{name: "one timestamp among many", steps: []step{post("/metrics/job/a",
		"m 1\nn{x=\"1\"} 1\nn{x=\"2\"} 1 1700000000000\n")}},
	{name: "a histogram without +Inf", steps: []step{put("/metrics/job/a",
		"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 2\n")}},
	{name: "a histogram without count", steps: []step{put("/metrics/job/a",
		"# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\n")}},
	{name: "a summary with a quantile of its own", steps: []step{put("/metrics/job/a",
		"# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 2\n")}},
	{name: "a quantile that is no number", steps: []step{put("/metrics/job/a",
		"# TYPE s summary\ns{quantile=\"half\"} 1\n")}},
	{name: "a bucket that is no number", steps: []step{put("/metrics/job/a",
		"# TYPE h histogram\nh_bucket{le=\"one\"} 1\n")}},
	{
		name: "a histogram in a group with le", steps: []step{put("/metrics/job/a/le/5", histogram)},
		differs:  "a Pushgateway takes it, and its scrape then has a series with le twice",
		statuses: []int{400},
		lines:    scraped("", `instance="",job="a",le="5" 0 <time>`),
	},
	{name: "a summary in a group with quantile", steps: []step{put("/metrics/job/a/quantile/5", summary)}},
	{name: "names of the format's suffixes alone", steps: []step{put("/metrics/job/a",
		"h_bucket 1\nh_sum 1\nh_count 1\n")}},
	{name: "a colon in a name", steps: []step{put("/metrics/job/a", "a:b:c 1\n")}},
	{name: "text whatever the content type", steps: []step{
		put("/metrics/job/a", gauge("m", 1)).with("Content-Type", "application/json"),
		put("/metrics/job/b", gauge("m", 1)).with("Content-Type", "text/plain; version=0.0.4"),
		put("/metrics/job/c", gauge("m", 1)).with("Content-Type", "application/vnd.google.protobuf"),
		put("/metrics/job/d", gauge("m", 1)).with("Content-Type", "no content type at all"),
	}},
	{name: "OpenMetrics is read as text", steps: []step{
		put("/metrics/job/a", "# TYPE m counter\nm_total 1\n# EOF\n").with("Content-Type",
			"application/openmetrics-text; version=1.0.0"),
		put("/metrics/job/b", "# TYPE n gauge\nn 1 # {x=\"1\"} 1\n").with("Content-Type",
			"application/openmetrics-text; version=1.0.0"),
	}},
}

const everyType = `# HELP e2e_counter_total A counter.
# TYPE e2e_counter_total counter
e2e_counter_total{x="1"} 42
e2e_counter_total{x="2"} 4.2e+13
# HELP e2e_gauge A gauge.
# TYPE e2e_gauge gauge
e2e_gauge -1.5
# HELP e2e_histogram_seconds A histogram.
# TYPE e2e_histogram_seconds histogram
e2e_histogram_seconds_bucket{le="0.1"} 1
e2e_histogram_seconds_bucket{le="1"} 3
e2e_histogram_seconds_bucket{le="+Inf"} 4
e2e_histogram_seconds_sum 12.25
e2e_histogram_seconds_count 4
# HELP e2e_summary_seconds A summary.
# TYPE e2e_summary_seconds summary
e2e_summary_seconds{quantile="0.5"} 0.25
e2e_summary_seconds{quantile="0.99"} 1.75
e2e_summary_seconds_sum 17.5
e2e_summary_seconds_count 20
# HELP e2e_untyped Something.
# TYPE e2e_untyped untyped
e2e_untyped{path="/a \"b\" \\c"} 7
`

const (
	counterC  = "# TYPE c counter\nc 1\n"
	gaugeC    = "# TYPE c gauge\nc 1\n"
	histogram = "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n"
	summary   = "# TYPE h summary\nh{quantile=\"0.5\"} 1\nh_sum 1\nh_count 1\n"
)

var consistencyRows = []row{
	{name: "another type in another group", steps: []step{
		put("/metrics/job/a", counterC), put("/metrics/job/b", gaugeC),
	}},
	{name: "another type in the same group by PUT", steps: []step{put("/metrics/job/a", counterC), put("/metrics/job/a",
		gaugeC)}},
	{name: "another type in the same group by POST", steps: []step{
		put("/metrics/job/a", counterC), post("/metrics/job/a", gaugeC),
	}},
	{name: "untyped against typed", steps: []step{put("/metrics/job/a", "c 1\n"), put("/metrics/job/b", gaugeC)}},
	{name: "another type once the other is gone", steps: []step{
		put("/metrics/job/a", counterC), put("/metrics/job/b", gaugeC), del("/metrics/job/a"),
		put("/metrics/job/b", gaugeC),
	}},
	{name: "another HELP", steps: []step{
		put("/metrics/job/a", "# HELP c one\n# TYPE c counter\nc 1\n"),
		put("/metrics/job/a/x/1", "# HELP c one\n# TYPE c counter\nc 1\n"),
	}},
	{name: "the same series in two groups", steps: []step{
		put("/metrics/job/a/instance/i", "m 1\n"), put("/metrics/job/a", "m{instance=\"i\"} 1\n"),
	}},
	{name: "the same series in two groups, only one of several", steps: []step{
		put("/metrics/job/a/instance/i", "m 1\n"),
		put("/metrics/job/a", "l 1\nm{instance=\"h\"} 1\nm{instance=\"i\"} 1\n"),
	}},
	{name: "the same series, once the other is gone", steps: []step{
		put("/metrics/job/a/instance/i", "m 1\n"), del("/metrics/job/a/instance/i"),
		put("/metrics/job/a", "m{instance=\"i\"} 1\n"),
	}},
	{name: "a series twice in one push", steps: []step{put("/metrics/job/a", "m 1\nm 2\n")}},
	{name: "a series twice, with its labels in another order", steps: []step{put("/metrics/job/a",
		"m{x=\"1\",y=\"2\"} 1\nm{y=\"2\",x=\"1\"} 2\n")}},
	{name: "a series twice, once the group's label is put over it", steps: []step{put("/metrics/job/a/x/1",
		"m{x=\"2\"} 1\nm{x=\"3\"} 2\n")}},
	{name: "a histogram and its count in one push", steps: []step{put("/metrics/job/a",
		"# TYPE h_count gauge\nh_count 1\n"+histogram)}},
	{name: "a histogram and then its count", steps: []step{put("/metrics/job/a", histogram), put("/metrics/job/b",
		"# TYPE h_count gauge\nh_count 1\n")}},
	{name: "a count and then its histogram", steps: []step{
		put("/metrics/job/a", "# TYPE h_count gauge\nh_count 1\n"), put("/metrics/job/b", histogram),
	}},
	{name: "a histogram and its sum and bucket", steps: []step{
		put("/metrics/job/a", histogram), put("/metrics/job/b", "# TYPE h_sum gauge\nh_sum 1\n"),
		put("/metrics/job/c", "# TYPE h_bucket gauge\nh_bucket 1\n"),
	}},
	{name: "a summary and its sum and bucket", steps: []step{
		put("/metrics/job/a", summary), put("/metrics/job/b", "# TYPE h_sum gauge\nh_sum 1\n"),
		put("/metrics/job/c", "# TYPE h_bucket gauge\nh_bucket 1\n"),
	}},
	{name: "a summary against a histogram", steps: []step{put("/metrics/job/a", summary), put("/metrics/job/b",
		histogram)}},
	{name: "a rejected push changes nothing else", steps: []step{
		put("/metrics/job/a", counterC), put("/metrics/job/b", gauge("m", 1)),
		put("/metrics/job/b", gauge("m", 2)+gaugeC), post("/metrics/job/b", gauge("m", 3)+gaugeC),
	}},
	{name: "a rejected push and then a good one", steps: []step{
		put("/metrics/job/a", "m 1\nm 1\n"), put("/metrics/job/a", "m 1\n"),
	}},
	{name: "a clash with the gateway's own metrics", steps: []step{put("/metrics/job/a",
		"# TYPE go_goroutines counter\ngo_goroutines 1\n")}},
	{name: "a clash with the gateway's own summary", steps: []step{put("/metrics/job/a",
		"# TYPE go_gc_duration_seconds_count gauge\ngo_gc_duration_seconds_count 1\n")}},
	{name: "beside the gateway's own metrics", steps: []step{put("/metrics/job/a",
		"# TYPE go_goroutines gauge\ngo_goroutines 1\n")}},
}
