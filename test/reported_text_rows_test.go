package test

import "net/http"

// reportedTextRows are texts as people and their tools push them, from public reports. Where nothing about one is
// ambiguous it is taken, as Prometheus takes most of them in a scrape; where something is wrong, it is refused as by a
// Pushgateway, and the answer says where, and what to write instead.
var reportedTextRows = []row{
	takenRow("no newline at the end", "m 1"),
	takenRow("no newline after the last of many lines", "# TYPE m untyped\n# a comment\nm 1"),
	takenRow("CRLF", "m 1\r\n"),
	takenRow("CRLF in every line", "# TYPE m untyped\r\n\r\n# a comment\r\nm 1\r\n"),
	takenRow("CRLF, cut to a carriage return", "m 1\r"),
	takenRow("a blank after the value", "m 1 \n"),
	takenRow("tabs and blanks after the value, and CRLF", "m 1\t \r\n"),
	takenRow("a blank after the type", "# TYPE m untyped \nm 1\n"),
	takenRow("a byte order mark", "\xef\xbb\xbfm 1\n"),
	takenRow("a byte order mark, CRLF and no newline at the end", "\xef\xbb\xbf# TYPE m untyped\r\nm 1"),
	{
		name: "CRLF after a HELP", steps: []step{put("/metrics/job/a", "# HELP m Text.\r\n# TYPE m gauge\nm 1\n")},
		differs:  "a Pushgateway takes the carriage return for a letter of the text",
		statuses: []int{http.StatusOK},
		lines: scraped("# HELP m Text.\n# TYPE m gauge\nm{instance=\"\",job=\"a\"} 1\n",
			`instance="",job="a" <time> 0`),
	},
	{name: "blanks that a HELP ends in", steps: []step{put("/metrics/job/a", "# HELP m Text. \t\nm 1\n")}},
	{name: "a carriage return in a label's value", steps: []step{put("/metrics/job/a", "m{x=\"a\rb\"} 1\n")}},
	{name: "blanks before a name", steps: []step{put("/metrics/job/a", " \tm 1\n")}},
	{name: "carriage returns alone", steps: []step{put("/metrics/job/a", "m 1\rn 2\r")}},
	{name: "UTF-16", steps: []step{put("/metrics/job/a", "\xff\xfem\x00 \x001\x00\n\x00")}},
	{name: "a line that is cut", steps: []step{put("/metrics/job/a", "m 1\nm{x=\"1\",")}},
	{name: "a metric name with a dash, among others", steps: []step{post("/metrics/job/a", "a 1\na-b 1\n")}},
	{name: "a metric name that begins with a digit", steps: []step{put("/metrics/job/a", "5xx_count 1\n")}},
	{name: "HELP twice, in two places", steps: []step{post("/metrics/job/a", "# HELP m a\nn 1\n# HELP m a\nm 1\n")}},
	{name: "TYPE after another's samples", steps: []step{put("/metrics/job/a", "n 1\n# TYPE m counter\nm 1\n")}},
	{name: "a type of OpenMetrics", steps: []step{put("/metrics/job/a", "# TYPE m info\nm 1\n")}},
	{name: "a label's value without quotes", steps: []step{put("/metrics/job/a", "m{x=1} 1\n")}},
	{name: "a label's value in single quotes", steps: []step{put("/metrics/job/a", "m{x='1'} 1\n")}},
	{name: "a label's value that has no end", steps: []step{put("/metrics/job/a", "m{x=\"1} 1\n")}},
	{name: "a single backslash", steps: []step{put("/metrics/job/a", `m{x="C:\dir"} 1`+"\n")}},
	{name: "a double backslash", steps: []step{put("/metrics/job/a", `m{x="C:\\dir"} 1`+"\n")}},
	{name: "a decimal comma", steps: []step{put("/metrics/job/a", "m 1,5\n")}},
	{name: "a unit", steps: []step{put("/metrics/job/a", "m 5ms\n")}},
	{name: "two samples on a line", steps: []step{put("/metrics/job/a", "m 1 n 2\n")}},
	{name: "values that are spelled in many ways", steps: []step{
		put("/metrics/job/a", "m{x=\"1\"} nan\nm{x=\"2\"} Inf\nm{x=\"3\"} infinity\nm{x=\"4\"} -INF\n"),
		post("/metrics/job/b", "m{x=\"5\"} .5\nm{x=\"6\"} +1\n"),
	}},
}

// takenRow is the row of a text that holds nothing but `m 1`, and that a Pushgateway refuses.
func takenRow(name, body string) row {
	return row{
		name: name, steps: []step{put("/metrics/job/a", body), post("/metrics/job/a", body)},
		differs:  "a Pushgateway refuses the text, though it is clear what it says",
		statuses: []int{http.StatusOK, http.StatusOK},
		lines:    scraped("# TYPE m untyped\nm{instance=\"\",job=\"a\"} 1\n", `instance="",job="a" <time> 0`),
	}
}
