package expo

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"pushquorum/expo/internal/expotest"
)

// mistakes are texts that the parser refuses, what is said of each, and the text as it then is, which is taken.
var mistakes = []struct{ name, body, says, mended string }{
	{
		"a dash in a name", "a-b 1\n",
		`line 1, column 2: '-' is not allowed in a metric name: write a_b, or start with --push.enable-utf8-names ` +
			`and write {"a-b"}`,
		"a_b 1\n",
	},
	{
		"dots in a name", "node.cpu.load{x=\"1\"} 3\n",
		`column 5: '.' is not allowed in a metric name: write node_cpu_load, or`,
		"node_cpu_load{x=\"1\"} 3\n",
	},
	{
		"a letter beyond ASCII in a name", "x 1\ntäglich 1\n",
		`line 2, column 2: 'ä' is not allowed in a metric name: write t_glich, or`,
		"x 1\nt_glich 1\n",
	},
	{
		"a name in Latin-1", "t\xe4glich 1\n",
		`column 2: byte 0xe4 (not UTF-8) is not allowed in a metric name: write t_glich`,
		"t_glich 1\n",
	},
	{
		"a name that begins with a digit", "5xx_count 1\n",
		`column 1: a metric name begins with a letter, _ or :, not with '5': write _5xx_count, or`,
		"_5xx_count 1\n",
	},
	{
		"a dash in a label name", "m{x-y=\"1\"} 1\n",
		`column 4: '-' is not allowed in a label name: write x_y, or start with --push.enable-utf8-names and ` +
			`write "x-y"`,
		"m{x_y=\"1\"} 1\n",
	},
	{
		"a colon in a label name", "m{x:y=\"1\"} 1\n",
		`column 4: after the label name "x" there must be '=', not ':'`,
		"m{x=\"1\"} 1\n",
	},
	{
		"a label name that begins with a digit", "m{1x=\"1\"} 1\n",
		`column 3: a label name begins with a letter or _, not with '1': write _1x`,
		"m{_1x=\"1\"} 1\n",
	},
	{
		"a quoted name without the flag", "{\"a.b\"} 1\n",
		`column 2: the metric name "a.b" is not valid: write a_b, or start with --push.enable-utf8-names`,
		"{\"a_b\"} 1\n",
	},
	{
		"a quoted label name without the flag", "m{\"a.b\"=\"1\"} 1\n",
		`column 3: the label name "a.b" is not valid: write a_b, or`,
		"m{\"a_b\"=\"1\"} 1\n",
	},
	{
		"a dash in the name of a comment", "# TYPE a-b counter\n",
		`column 9: '-' is not allowed in a metric name: write a_b, or start with --push.enable-utf8-names and ` +
			`write "a-b"`,
		"# TYPE a_b counter\n",
	},
	{
		"an equals sign between name and value", "m=5\n",
		`column 2: '=' is not allowed in a metric name: write a blank between name and value`,
		"m 5\n",
	},
	{
		"an equals sign between blanks", "m = 5\n",
		`column 3: "=" stands where the value should: write a blank alone`,
		"m 5\n",
	},
	{
		"InfluxDB's line protocol", "cpu,host=a value=1 1\n",
		`column 4: ',' is not allowed in a metric name: labels stand in braces, as in name{label="value"} 1`,
		"cpu{host=\"a\"} 1\n",
	},
	{
		"a second HELP", "# HELP m a\nx 1\n# HELP m b\n",
		`line 3, column 8: a second HELP line for "m", after that in line 1: keep one of them`,
		"# HELP m a\nx 1\n",
	},
	{
		"a second HELP, of a histogram's count", "# TYPE h histogram\n# HELP h a\n# HELP h_count b\n",
		`line 3, column 8: a second HELP line for "h_count", after that in line 2`,
		"# TYPE h histogram\n# HELP h a\n",
	},
	{
		"a second HELP, beside another's", "# HELP h a\n# HELP h_count b\n# HELP h_count c\n",
		`line 3, column 8: a second HELP line for "h_count", after that in line 2`,
		"# HELP h a\n# HELP h_count b\n",
	},
	{
		"a second TYPE", "# TYPE m counter\n# TYPE m counter\n",
		`line 2, column 8: a second TYPE line for "m", after that in line 1: keep one`,
		"# TYPE m counter\n",
	},
	{
		"TYPE after samples", "m_x 1\nm 1\n# TYPE m counter\n",
		`line 3, column 8: the TYPE of "m" comes after its first sample, in line 2: write it before`,
		"m_x 1\n# TYPE m counter\nm 1\n",
	},
	{
		"an unknown type", "# TYPE m thing\n",
		`column 10: there is no type "thing": write counter, gauge, histogram, summary or untyped`,
		"# TYPE m gauge\n",
	},
	{
		"a type of OpenMetrics", "# TYPE m info\n",
		`column 10: "info" is a type of OpenMetrics that the text format does not have: write gauge`,
		"# TYPE m gauge\n",
	},
	{
		"OpenMetrics' unknown", "# TYPE m unknown\n",
		`column 10: "unknown" is a type of OpenMetrics: write untyped`,
		"# TYPE m untyped\n",
	},
	{
		"type and name exchanged", "# TYPE counter m\n",
		`column 8: the name comes before the type: write # TYPE m counter`,
		"# TYPE m counter\n",
	},
	{
		"a value without quotes", "m{x=a} 1\n",
		`column 5: the value of label "x" is not in double quotes: write x="a"`,
		"m{x=\"a\"} 1\n",
	},
	{
		"single quotes", "m{x='a b'} 1\n",
		`column 5: a label's value is in double quotes ("), not in ': write x="a b"`,
		"m{x=\"a b\"} 1\n",
	},
	{
		"typographic quotes", "m{x=“a”} 1\n",
		`column 5: a label's value is in double quotes ("), not in “: write x="a"`,
		"m{x=\"a\"} 1\n",
	},
	{"a label without a value", "m{x=} 1\n", `column 5: label "x" has no value: write x="…"`, "m{x=\"\"} 1\n"},
	{
		"a label name alone", "m{x,y=\"1\"} 1\n",
		`column 4: label "x" has no value: write x="…"`,
		"m{x=\"\",y=\"1\"} 1\n",
	},
	{"no closing quote", "m{x=\"abc} 1\n", `column 5: the value of label "x" has no closing quote`, "m{x=\"abc\"} 1\n"},
	{
		"a backslash", "m{p=\"C:\\dir\"} 1\n",
		`column 8: \d means nothing, only \\, \" and \n do: write \\d for a backslash`,
		"m{p=\"C:\\\\dir\"} 1\n",
	},
	{
		"a backslash before the closing quote", "m{p=\"C:\\\"} 1\n",
		`column 5: the value of label "p" has no closing quote; \" is a quote within it, and a backslash is written \\`,
		"m{p=\"C:\\\\\"} 1\n",
	},
	{"a backslash in a HELP", "# HELP m in C:\\dir\n", `column 15: \d means nothing`, "# HELP m in C:\\\\dir\n"},
	{
		"a backslash at the end", "# HELP m C:\\\n",
		`column 12: the line ends in a single backslash: write \\`,
		"# HELP m C:\\\\\n",
	},
	{
		"quotes within a value", "m{x=\"say \"hi\"\"} 1\n",
		`column 11: after the value of label "x" there must be ',' or '}', not 'h'; a double quote within a value is ` +
			`written \"`,
		"m{x=\"say \\\"hi\\\"\"} 1\n",
	},
	{
		"no comma", "m{x=\"1\" y=\"2\"} 1\n",
		`column 9: after the value of label "x" there must be ',' or '}', not 'y'; labels are separated by commas`,
		"m{x=\"1\",y=\"2\"} 1\n",
	},
	{
		"two commas", "m{x=\"1\",,} 1\n",
		`column 9: there is no label before the comma: leave the comma out`,
		"m{x=\"1\",} 1\n",
	},
	{"no closing brace", "m{x=\"1\"\n", `column 8: the labels have no closing brace: write }`, "m{x=\"1\"} 1\n"},
	{
		"a label twice", "m{x=\"1\",x=\"2\"} 1\n",
		`column 9: label "x" is given twice: keep one of them`,
		"m{x=\"1\"} 1\n",
	},
	{
		"__name__", "m{__name__=\"n\"} 1\n",
		`column 3: the label name __name__ is reserved: write the metric's name before the braces`,
		"n 1\n",
	},
	{"no name", "{x=\"1\"} 1\n", `column 7: there is no metric name: write it before the brace`, "m{x=\"1\"} 1\n"},
	{
		"a value in Latin-1", "m{x=\"h\xf6he\"} 1\n",
		`column 7: byte 0xf6 in the value of label "x" is not UTF-8: send UTF-8`,
		"m{x=\"höhe\"} 1\n",
	},
	{
		"JSON", "{\"m\": 1}\n",
		`column 5: after the name "m" in braces there must be ',', '}' or '=', not ':'; a sample is ` +
			`name{label="value"} 1`,
		"m 1\n",
	},
	{"no value", "m\n", `column 2: the value is missing: write a number after the name`, "m 1\n"},
	{"no value after labels", "m{x=\"1\"} \n", `column 10: the value is missing`, "m{x=\"1\"} 1\n"},
	{"a decimal comma", "m 1,5\n", `column 3: "1,5" is not a number: write 1.5, with a point`, "m 1.5\n"},
	{
		"a comma that may be either", "m 1,234\n",
		`"1,234" is not a number: write 1.234 or 1234, whichever is meant`,
		"m 1234\n",
	},
	{"thousands", "m 1,234,567.5\n", `write 1234567.5, without anything between thousands`, "m 1234567.5\n"},
	{"underscores", "m 1_000\n", `write 1000, without anything between thousands`, "m 1000\n"},
	{"a unit", "m 5ms\n", `column 3: "5ms" is not a number: write it without a unit, as 5`, "m 5\n"},
	{"per cent", "m 10%\n", `write it without a unit, as 10`, "m 10\n"},
	{"C's NaN", "m -nan\n", `"-nan" is not a number: write NaN`, "m NaN\n"},
	{"null", "m null\n", `"null" is not a number: write NaN, or leave the line out`, "m NaN\n"},
	{"infinity as a sign", "m ∞\n", `"∞" is not a number: write +Inf`, "m +Inf\n"},
	{"a truth", "m true\n", `"true" is not a number: write 1`, "m 1\n"},
	{"a value in quotes", "m \"5\"\n", `the value 5 is in quotes: write it without`, "m 5\n"},
	{"too large a value", "m 1e999\n", `"1e999" is too large for a 64-bit float: write +Inf or -Inf`, "m +Inf\n"},
	{
		"a word for a value", "m one\n",
		`column 3: "one" stands where the value should, and is not a number: write one, as in name 1`, "m 1\n",
	},
	{
		"a blank in a name", "my metric 5\n",
		`column 4: "metric" stands where the value should, and is not a number: write one; a name has no blanks, ` +
			`write _ for them`,
		"my_metric 5\n",
	},
	{
		"two samples on a line", "m 1 n 2\n",
		`column 5: "n" follows the value: write each sample on a line of its own`,
		"m 1\nn 2\n",
	},
	{
		"two samples and a timestamp", "m 1 5 n 2\n",
		`column 7: "n 2" follows the value and a timestamp: write each sample on a line of its own, without`,
		"m 1\nn 2\n",
	},
	{
		"a timestamp with a fraction", "m 1 1.5\n",
		`column 5: "1.5" follows the value: write one number; pushed samples have no timestamps`,
		"m 1\n",
	},
	{
		"a comment after the value", "m 1 # why\n",
		`column 5: a comment or an exemplar cannot follow the value`,
		"# why\nm 1\n",
	},
	{
		"carriage returns alone", "m 1\rn 2\n",
		`column 4: a carriage return within a line: end each line with \n or \r\n`,
		"m 1\nn 2\n",
	},
	{"UTF-16 without a mark", "m\x00 \x001\x00\n\x00", `column 2: a NUL byte: send text in UTF-8`, "m 1\n"},
	{
		"a byte order mark within", "m 1\n\xef\xbb\xbfn 1\n",
		`line 2, column 1: a metric name begins with a letter, _ or :, not with a byte order mark`,
		"m 1\nn 1\n",
	},
	{
		"a bound that is no number", "# TYPE h histogram\nh_bucket{le=\"one\"} 1\n",
		`line 2, column 13: label le of a histogram must be a number, not "one": write, for example, le="0.5" or ` +
			`le="+Inf"`,
		"# TYPE h histogram\nh_bucket{le=\"0.5\"} 1\n",
	},
	{
		"a quantile that is no number", "# TYPE s summary\ns{quantile=\"half\"} 1\n",
		`line 2, column 12: label quantile of a summary must be a number, not "half"`,
		"# TYPE s summary\ns{quantile=\"0.5\"} 1\n",
	},
	{
		"a negative count", "# TYPE h histogram\nh_count -1\n",
		`line 2, column 9: negative count for histogram "h": write a number that is 0 or more`,
		"# TYPE h histogram\nh_count 0\n",
	},
	{
		"a histogram's name in braces", "# TYPE h histogram\nx 1\n{\"h\",a=\"b\"} 1\n",
		`line 3, column 1: the name of a histogram's sample, or summary's, cannot be in the braces`,
		"# TYPE h histogram\nx 1\nh{a=\"b\"} 1\n",
	},
	{
		"too many labels", "x{" + manyLabels(MaxLabels+2) + "} 1\n",
		`line 1, column 732: more than 128 labels: use fewer`,
		"x{" + manyLabels(MaxLabels) + "} 1\n",
	},
}

func TestARefusedTextIsToldWhatToWriteInstead(t *testing.T) {
	for _, row := range mistakes {
		got := expectDiagnosis(t, []byte(row.body), model.LegacyValidation)
		if !strings.Contains(got, row.says) {
			t.Errorf("%s: want %q, got %q", row.name, row.says, got)
		}
		if _, err := Parse(strings.NewReader(row.mended), FormatText, model.LegacyValidation); err != nil {
			t.Errorf("%s: what is to be written instead, %q, is refused: %v", row.name, row.mended, err)
		}
	}
}

func TestWithUTF8NamesQuotesAreSuggested(t *testing.T) {
	for body, says := range map[string]string{
		"a-b 1\n":              `write a_b, or {"a-b"}`,
		"a\\b 1\n":             `'\\' is not allowed in a metric name: write a_b`,
		"m{x-y=\"1\"} 1\n":     `write x_y, or "x-y"`,
		"# TYPE a-b counter\n": `write a_b, or "a-b"`,
		"\"a b\"c 1\n":         `line 1, column 6: 'c' follows the name: write a blank between them`,
		"{\"\"} 1\n":           `line 1, column 2: a label name is empty`,
	} {
		if got := expectDiagnosis(t, []byte(body), model.UTF8Validation); !strings.HasSuffix(got, says) {
			t.Errorf("%q: want %q, got %q", body, says, got)
		}
	}
}

func TestAnErrorThatIsNotAboutALineStaysAsItIs(t *testing.T) {
	_, err := Parse(strings.NewReader("\x05abc"), FormatProtobuf, model.LegacyValidation)
	if got := Diagnose([]byte("\x05abc"), model.LegacyValidation, err); got == nil || !errors.Is(got, err) {
		t.Errorf("want %v, got %v", err, got)
	}
}

func TestWhateverIsRefusedIsToldWhere(t *testing.T) {
	r := expotest.NewRandom(t, 11)
	refused := 0
	for range 15_000 {
		body := messy(r.Rand)
		if r.IntN(2) == 0 {
			body = []byte(expotest.Pick(r, mistakes...).body + string(body))
		}
		for _, scheme := range []model.ValidationScheme{model.LegacyValidation, model.UTF8Validation} {
			if expectDiagnosis(t, body, scheme) != "" {
				refused++
			}
		}
		if t.Failed() {
			return
		}
	}
	if refused < 7_500 {
		t.Errorf("only %d of the texts were refused: the test does not test much", refused)
	}
}

func FuzzDiagnose(f *testing.F) {
	for _, row := range mistakes {
		f.Add([]byte(row.body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, b := range [][]byte{body, Tidy(slices.Clone(body))} {
			expectDiagnosis(t, b, model.LegacyValidation)
			expectDiagnosis(t, b, model.UTF8Validation)
		}
	})
}

var diagnosisShape = regexp.MustCompile(`^line ([0-9]+), column ([0-9]+): .`)

// expectDiagnosis returns what is said of a text, "" if it is taken. It fails the test unless that is a line of bounded
// length about a place that there is, before which the parser minds nothing.
func expectDiagnosis(t *testing.T, body []byte, scheme model.ValidationScheme) string {
	t.Helper()
	_, refused := Parse(bytes.NewReader(body), FormatText, scheme)
	if refused == nil {
		return ""
	}
	before := slices.Clone(body)
	said := Diagnose(body, scheme, refused).Error()
	if !bytes.Equal(body, before) {
		t.Fatalf("%q has become %q", before, body)
	}
	place := diagnosisShape.FindStringSubmatch(said)
	if place == nil || len(said) > 300 || !utf8.ValidString(said) || strings.ContainsAny(said, "\r\n") {
		t.Fatalf("%q: want a line of at most 300 bytes that says where, got %q", body, said)
	}
	number, _ := strconv.Atoi(place[1])
	column, _ := strconv.Atoi(place[2])
	lines := bytes.SplitAfter(body, newline)
	if len(lines) > 1 && len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	if number < 1 || number > len(lines) {
		t.Fatalf("%q has %d lines: %q", body, len(lines), said)
	}
	offset := len(bytes.Join(lines[:number-1], nil))
	line := bytes.TrimSuffix(lines[number-1], newline)
	if column < 1 || column > utf8.RuneCount(line)+1 {
		t.Fatalf("line %q has no column %d: %q", line, column, said)
	}
	for range column - 1 {
		_, size := utf8.DecodeRune(body[offset:])
		offset += size
	}
	var parseError expfmt.ParseError
	if !errors.As(refused, &parseError) ||
		strings.Contains(parseError.Msg, "use fewer") || strings.HasPrefix(parseError.Msg, parserFault) {
		return said // the body was looked at before the parser, or the parser failed
	}
	if _, err := onlyExpfmt(body[:offset], scheme); err != nil && !strings.Contains(
		err.Error(), "unexpected end of input",
	) {
		t.Fatalf("%q: the parser minds something before that already: %q, %v", body, said, err)
	}
	// The line is where the parser is at its end: what is said is about the part that it minds.
	end := min(len(body), len(bytes.Join(lines[:number], nil)))
	if _, err := Parse(bytes.NewReader(body[:end]), FormatText, scheme); err == nil {
		t.Fatalf("%q: nothing is wrong with the first %d lines: %q", body, number, said)
	}
	return said
}

// Megabytes on a line, or in lines to look through, cost about what the parser has cost.
func TestLongLinesAreDiagnosedInTime(t *testing.T) {
	long := func(piece string) string { return strings.Repeat(piece, (4<<20)/len(piece)) }
	for name, body := range map[string]string{
		"a name":                        long("a") + "-b 1\n",
		"a name that is wrong all over": "a" + long("-") + " 1\n",
		"a value":                       "m " + long("x") + "\n",
		"a number":                      "m " + long("1") + "x\n",
		"a label's value":               "m{a=\"" + long("x") + "\n",
		"a value without quotes":        "m{a=" + long("x") + "\n",
		"backslashes":                   "m{a=\"" + long(`\\`) + "\\d\"} 1\n",
		"a type":                        "# TYPE m " + long("x") + "\n",
		"quotes":                        "m{" + long(`"`) + "\n",
		"letters of three bytes":        "m " + long("東") + "\n",
		"braces":                        long("{") + "\n",
		"a second HELP of many":         "# HELP m x\n" + long("# HELP mm\n") + "# HELP m y\n",
		"a TYPE of many without an end": long("# TYPE \"m n\n"),
		"a second HELP of a long name": "# HELP " + long("m") + " x\n" + strings.Repeat("# HELP n\n", 1<<18) +
			"# HELP " + long("m") + " y\n",
		"what follows a value":     "m 1 " + long("x ") + "\n",
		"NUL":                      long("\x00"),
		"bytes that are not UTF-8": long("\xff\n"),
		"byte order marks":         long("\xef\xbb\xbf"),
	} {
		_, err := Parse(strings.NewReader(body), FormatText, model.LegacyValidation)
		if err == nil {
			t.Errorf("%s: taken", name)
			continue
		}
		began := time.Now()
		var said error
		took := allocated(func() { said = Diagnose([]byte(body), model.LegacyValidation, err) }) - int64(len(body))
		if d := time.Since(began); d > time.Second {
			t.Errorf("%s: took %s", name, d)
		}
		if took > int64(len(body))+1<<20 {
			t.Errorf("%s: took %d bytes", name, took)
		}
		if len(said.Error()) > 300 {
			t.Errorf("%s: %d bytes", name, len(said.Error()))
		}
	}
}
