package expo

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"

	"pushquorum/expo/internal/expotest"
)

var plainGroups = []Labels{
	NewLabels(map[string]string{"job": "batch"}),
	NewLabels(map[string]string{"job": "batch", "instance": "host-1", "zone": "ä"}),
}

// plainBodies are texts as clients write them, all of them plain.
var plainBodies = []string{
	"",
	"\n",
	"a 1\n",
	"a 1",
	"a 1\n# HELP b nothing follows",
	"metrics_01 1.0\n",
	"a{b=\"c\"} -1.5e-3\n",
	"a{b=\"c\",} 1\n",
	"# HELP a What it is, {\"quoted\"}.\n# TYPE a counter\na{z=\"\",b=\"ü=,{}\"} NaN\na{b=\"x\"} +Inf\na -Inf\n",
	"# TYPE a gauge\n# HELP a later\na 0\n",
	"# TYPE a untyped\na{job=\"other\",instance=\"mine\"} 1\n",
	"a:b_total 1\n\nb 2\n# HELP d nothing here\n# TYPE c counter\nc 3\n",
	"b{x=\"2\"} 1\nb{x=\"1\"} 2\na 1\n",
	"a{instance=\"\"} 1\na{instance=\"i\"} 2\n",
}

func TestPlainReadsWhatClientsWrite(t *testing.T) {
	for _, group := range plainGroups {
		for _, body := range plainBodies {
			if group[0].Name == "instance" && strings.Count(body, "instance=") > 1 {
				continue // one series twice, once the group's labels are in
			}
			if !expectPlainIsExact(t, []byte(body), group) {
				t.Errorf("group %s: not taken for plain:\n%s", group, body)
			}
		}
	}
}

// A body of nothing but families must not cost the square of their number: here that would be minutes.
func TestPlainReadsAnyNumberOfFamilies(t *testing.T) {
	var body bytes.Buffer
	for i := range 300_000 {
		fmt.Fprintf(&body, "a%d 1\n", i)
	}
	if !expectPlainIsExact(t, body.Bytes(), plainGroups[0]) {
		t.Error("not taken for plain")
	}
}

func TestWhatIsNotPlainIsLeftToTheParser(t *testing.T) {
	for name, body := range map[string]string{
		"a carriage return": "a 1\r\n", "a timestamp": "a 1 2\n", "no value": "a\n", "two blanks": "a  1\n",
		"a histogram": "# TYPE a histogram\na_count 1\n", "a summary": "# TYPE a summary\na_sum 1\n",
		"a type in capitals": "# TYPE a GAUGE\na 1\n",
		"a type twice":       "# TYPE a gauge\n# TYPE a gauge\na 1\n", "a type after a sample": "a 1\n# TYPE a gauge\n",
		"a help twice": "# HELP a x\n# HELP a x\na 1\n", "an escape in a help": "# HELP a x\\n\na 1\n",
		"an escape in a value": "a{b=\"\\\"\"} 1\n", "a label twice": "a{b=\"1\",b=\"2\"} 1\n",
		"a reserved label":     "a{__b=\"1\"} 1\n",
		"a label with a colon": "a{b:c=\"1\"} 1\n", "a quoted name": "{\"a\"} 1\n",
		"a blank between labels":             "a{b=\"1\", c=\"2\"} 1\n",
		"a series twice":                     "a{b=\"1\"} 1\na{b=\"1\"} 2\n",
		"a series twice by way of the group": "a{job=\"1\"} 1\na{job=\"2\"} 2\n",
		"a family that comes again":          "a{b=\"1\"} 1\nc 1\na{b=\"2\"} 1\n",
		"a push time":                        "push_time_seconds 1\n",
		"invalid UTF-8":                      "a{b=\"\xff\"} 1\n", "a hexadecimal number": "a 0x10p1\n",
		"a number with underscores": "a 1_000\n", "two commas": "a{b=\"1\",,} 1\n",
		"an open brace": "a{b=\"1\" 1\n", "nothing in braces": "a{} 1\n",
		"a comment of another kind": "# a comment\na 1\n", "a name that begins with a digit": "1a 1\n",
		"too many labels": "a{" + manyPlainLabels(maxPlainLabels+1) + "} 1\n",
	} {
		if Plain([]byte(body), plainGroups[0]) != nil {
			t.Errorf("%s: taken for plain: %q", name, body)
		}
	}
}

func manyPlainLabels(n int) string {
	labels := make([]string, n)
	for i := range labels {
		labels[i] = fmt.Sprintf("l%d=\"%d\"", i, i)
	}
	return strings.Join(labels, ",")
}

// TestPlainNeverDiffersFromTheParser changes plain bodies a little, in many ways: each result is plain and what the
// parser says, or not plain.
func TestPlainNeverDiffersFromTheParser(t *testing.T) {
	r := expotest.NewRandom(t, 5)
	pieces := []string{
		"a", "a 1\n", "\n", " ", "\t", "\r", "{", "}", "\"", "\\", ",", "=", "#", "# TYPE a counter\n", "# HELP a ",
		"__", ":", "1", "e", "-", "+", ".", "x", "\x00", "\xff", "ä", "NaN", "Inf", "job", "instance", "_", "0x",
		"push_time_seconds",
	}
	plain := 0
	for range 60_000 {
		body := []byte(expotest.Pick(r, plainBodies...))
		for range 1 + r.IntN(2) {
			at, piece := r.IntN(len(body)+1), expotest.Pick(r, pieces...)
			switch r.IntN(3) {
			case 0:
				body = slices.Insert(body, at, []byte(piece)...)
			case 1:
				body = slices.Delete(body, at, min(len(body), at+1+r.IntN(3)))
			default:
				body = slices.Replace(body, at, min(len(body), at+1), []byte(piece)...)
			}
		}
		if expectPlainIsExact(t, body, expotest.Pick(r, plainGroups...)) {
			plain++
		}
		if t.Failed() {
			return
		}
	}
	if plain < 10_000 {
		t.Errorf("only %d of the bodies were plain: the test does not test much", plain)
	}
}

func FuzzPlain(f *testing.F) {
	for _, body := range plainBodies {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, group := range plainGroups {
			expectPlainIsExact(t, body, group)
		}
	})
}

// expectPlainIsExact fails the test if Plain gives anything but what Parse and Canonical give. It tells whether the
// body is plain.
func expectPlainIsExact(t *testing.T, body []byte, group Labels) bool {
	t.Helper()
	p := Plain(body, group)
	if p == nil {
		return false
	}
	defer p.Release()
	for _, scheme := range []model.ValidationScheme{model.LegacyValidation, model.UTF8Validation} {
		mfs, err := Parse(bytes.NewReader(body), FormatText, scheme)
		if err != nil {
			t.Fatalf("plain, but the parser says: %v\n%q", err, body)
		}
		want, err := Canonical(group, mfs, scheme)
		if err != nil {
			t.Fatalf("plain, but refused: %v\n%q", err, body)
		}
		expectSame(t, fmt.Sprintf("body %q", body), p.Families(), want)
	}
	return true
}
