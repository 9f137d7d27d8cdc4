package api

import (
	"net/http"
	"strings"
	"testing"
)

// TestTextsAreTakenAsPeopleSendThem: nothing about them is ambiguous, and all have been reported as refused.
func TestTextsAreTakenAsPeopleSendThem(t *testing.T) {
	const want = "# HELP x What it is.\n# TYPE x counter\nx{a=\"b \"} 1\nx 2\n"
	crlf := strings.ReplaceAll(want, "\n", "\r\n")
	for name, body := range map[string]string{
		"no newline at the end":              strings.TrimSuffix(want, "\n"),
		"CRLF":                               crlf,
		"CRLF, and no newline at the end":    strings.TrimSuffix(crlf, "\n"),
		"a blank after the values":           strings.NewReplacer("1\n", "1 \n", "2\n", "2\t").Replace(want),
		"a blank after the type":             strings.ReplaceAll(want, "counter", "counter "),
		"a byte order mark":                  "\xef\xbb\xbf" + want,
		"all of it":                          "\xef\xbb\xbf" + strings.TrimSuffix(crlf, "\r\n") + " ",
		"all of it in a body of 8 KB":        filled(crlf, 8<<10),
		"all of it in one of a byte less":    filled(crlf, 8<<10-1),
		"all of it in one of 64 KB":          filled(crlf, 64<<10),
		"all of it in one that is not small": filled(crlf, 64<<10+1),
	} {
		for _, method := range []string{"PUT", "POST"} {
			for encoding, encode := range map[string]func(testing.TB, string) string{
				"": func(_ testing.TB, s string) string { return s }, "gzip": gzipped, "snappy": snappyFramed,
			} {
				t.Run(name+" by "+method+" "+encoding, func(t *testing.T) {
					g := start(t)
					g.must(http.StatusOK, method, "/metrics/job/a", encode(t, body), "Content-Encoding", encoding)
					got := g.scrape()
					want := times(1, 0) + "x{a=\"b \",instance=\"\",job=\"a\"} 1\nx{instance=\"\",job=\"a\"} 2\n"
					if got != want {
						t.Errorf("want\n%s\ngot\n%s", want, got)
					}
				})
			}
		}
	}
}

// filled is a text of n bytes: with a byte order mark, a comment, and no newline at the end.
func filled(text string, n int) string {
	text = "\xef\xbb\xbf" + strings.TrimSuffix(text, "\r\n")
	return strings.Replace(text, "x 2", "#"+strings.Repeat(" ", n-len(text)-3)+"\r\nx 2", 1)
}

// TestARefusedTextIsToldWhereItIsWrong looks at the answers; what is said of each mistake is tested in expo.
func TestARefusedTextIsToldWhereItIsWrong(t *testing.T) {
	for body, says := range map[string]string{
		"y 1\na-b 1\n":                        "line 2, column 2: '-' is not allowed in a metric name: write a_b",
		"# HELP y a\r\n# HELP y b\r\ny 1\r\n": `line 2, column 8: a second HELP line for "y", after that in line 1`,
		"# TYPE y gauge\n# TYPE y gauge\n":    `line 2, column 8: a second TYPE line for "y", after that in line 1`,
		"y 1\n# TYPE y gauge\n":               `line 2, column 8: the TYPE of "y" comes after its first sample`,
		"y{l=v} 1\n": `line 1, column 5: the value of label "l" is not in double quotes: ` +
			`write l="v"`,
		"y{l=\"C:\\dir\"} 1\n":                `line 1, column 8: \d means nothing, only \\, \" and \n do: write \\d`,
		"\xef\xbb\xbf  y 1,5":                 "line 1, column 5: \"1,5\" is not a number: write 1.5",
		"\xff\xfey\x00 \x001\x00\r\x00\n\x00": "the body looks like UTF-16, which tools of Windows write: send UTF-8",
	} {
		for _, method := range []string{"PUT", "POST"} {
			g := start(t)
			a := g.must(http.StatusBadRequest, method, "/metrics/job/a", body)
			if !strings.HasPrefix(a.body, says) || strings.Count(a.body, "\n") != 1 {
				t.Errorf("%s %q: want a line that begins with %q, got %q", method, body, says, a.body)
			}
			if got := g.scrape(); got != "" {
				t.Errorf("%s %q: want nothing stored, got\n%s", method, body, got)
			}
		}
	}
}

// What looks like a blank, or a line's end, to Tidy is a part of a protobuf message.
func TestProtobufIsNotTidied(t *testing.T) {
	g := start(t)
	body := delimited(t, gaugeFamily("x", pair1("l", "a \n\r\nb\t\n")))
	g.must(http.StatusOK, "PUT", "/metrics/job/a", body, "Content-Type", protobufType)
	if want, got := "x{instance=\"\",job=\"a\",l=\"a \\n\r\\nb\t\\n\"} 1\n", g.scrape(); !strings.HasSuffix(got, want) {
		t.Errorf("want %q at the end, got %q", want, got)
	}
}
