package expo

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo/internal/expotest"
)

// untidy are texts as people and their tools send them, with what is read of each.
var untidy = []struct{ name, body, tidy string }{
	{"nothing", "", ""},
	{"a tidy text", "# HELP m h\n# TYPE m gauge\nm{a=\"b\"} 1\n", "# HELP m h\n# TYPE m gauge\nm{a=\"b\"} 1\n"},
	{"no newline at the end", "m 1", "m 1"},
	{"CRLF", "# HELP m h\r\n# TYPE m counter\r\nm 1\r\n\r\nn 2\r\n", "# HELP m h\n# TYPE m counter\nm 1\n\nn 2\n"},
	{"CRLF, made of CRLF", "m 1\r\r\n", "m 1\n"},
	{"a carriage return at the end", "m 1\r", "m 1"},
	{"a blank after a value", "m 1 \nn{a=\"b\"} 2\t \no 3 \t\n", "m 1\nn{a=\"b\"} 2\no 3\n"},
	{"a blank after the last value", "m 1\nn 2 ", "m 1\nn 2"},
	{"a blank and CRLF", "m 1 \r\nn 2\r \n", "m 1\nn 2\n"},
	{"a byte order mark", "\xef\xbb\xbfm 1\n", "m 1\n"},
	{"a byte order mark, added to another", "\xef\xbb\xbf\xef\xbb\xbf# TYPE m gauge\n", "# TYPE m gauge\n"},
	{"a byte order mark alone", "\xef\xbb\xbf", ""},
	{"a byte order mark in the midst is left to the parser", "m 1\n\xef\xbb\xbfn 1\n", "m 1\n\xef\xbb\xbfn 1\n"},
	{"blanks before a name are left to the parser", "  m 1\n", "  m 1\n"},
	{"a line of blanks", "m 1\n \t \n", "m 1\n\n"},
	{"the blanks that a HELP ends in", "# HELP m h \t\r\nm 1 \n", "# HELP m h \t\nm 1\n"},
	{"a comment that ends in blanks", " #  x \r\n", " #  x \n"},
	{"a blank after a type", "# TYPE m counter \n#TYPE\tn\tgauge\t\r\n", "# TYPE m counter\n#TYPE\tn\tgauge\n"},
	{"a blank after a name alone", "# TYPE m \n# TYPE \"a b\" \n", "# TYPE m \n# TYPE \"a b\" \n"},
	{"a comment that is no TYPE", "# TYPES m x \n", "# TYPES m x \n"},
	{"a carriage return in a label's value", "m{a=\"\r\"} 1 \nn{a=\" \r\t\"} 1\n", "m{a=\"\r\"} 1\nn{a=\" \r\t\"} 1\n"},
	{"a carriage return between lines is left to the parser", "m 1\rn 2\n", "m 1\rn 2\n"},
	{"blanks in a label's value", "m{a=\" \\\" \"} 1 \n", "m{a=\" \\\" \"} 1\n"},
}

func TestWhatIsNoPartOfALineIsLeftOut(t *testing.T) {
	for _, row := range untidy {
		if got := Tidy([]byte(row.body)); string(got) != row.tidy {
			t.Errorf("%s: want %q, got %q", row.name, row.tidy, got)
		}
		expectTidyIsExact(t, []byte(row.body))
	}
}

// What people send is not only taken: most of it is taken by Plain, too.
func TestAnUntidyTextIsReadAsTheTidyOne(t *testing.T) {
	const want = "# HELP m What it is.\n# TYPE m counter\nm{a=\"b\"} 1\nm 2\n"
	crlf := strings.ReplaceAll(want, "\n", "\r\n")
	for name, body := range map[string]string{
		"no newline at the end":       strings.TrimSuffix(want, "\n"),
		"CRLF":                        crlf,
		"CRLF, but for the last line": strings.TrimSuffix(crlf, "\r\n"),
		"CRLF, cut by a byte":         strings.TrimSuffix(crlf, "\n"),
		"a blank after a value":       strings.ReplaceAll(want, "1\n", "1 \n"),
		"a tab after the last value":  strings.TrimSuffix(want, "\n") + "\t",
		"a byte order mark":           "\xef\xbb\xbf" + want,
		"all of it": "\xef\xbb\xbf" + strings.TrimSuffix(
			strings.ReplaceAll(crlf, "1\r", "1 \r"), "\n",
		),
	} {
		tidy := Tidy([]byte(body))
		p := Plain(tidy, plainGroups[0])
		if p == nil {
			t.Errorf("%s: not taken for plain: %q", name, body)
			continue
		}
		families := mustCanonical(t, plainGroups[0], parsed(t, want))
		expectSame(t, name, p.Families(), families)
		p.Release()
		expectSame(t, name+" by the parser", mustCanonical(t, plainGroups[0], parsed(t, string(tidy))), families)
	}
}

func parsed(t testing.TB, text string) []*dto.MetricFamily {
	t.Helper()
	mfs, err := Parse(strings.NewReader(text), FormatText, model.LegacyValidation)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return mfs
}

func TestNoTextThatIsTakenMeansSomethingElseWhenTidy(t *testing.T) {
	r := expotest.NewRandom(t, 9)
	taken := 0
	for range 15_000 {
		if expectTidyIsExact(t, messy(r.Rand)) {
			taken++
		}
		if t.Failed() {
			return
		}
	}
	if taken < 1_500 {
		t.Errorf("only %d of the texts were taken by the parser: the test does not test much", taken)
	}
}

// messy returns a text of lines that are right, or wrong, in many ways.
func messy(r *rand.Rand) []byte {
	lines := []string{
		"m 1", "m 1 1", "a-1", "x NaN", "n -1e3", "m{a=\"b\"} 2", "m{a=\"\r\",b=\" \"} 3", "x{a=\"\\\\\"} 1",
		"{\"m\"} 4", "\"q\" 1",
		"{\"a b\",c=\"d\"} 5", "# TYPE \"a b\" gauge", "# TYPE n counter", "# TYPE m gauge", "# TYPE x ",
		"# HELP m h", "# HELP m \\\\ h ", "# HELP n ", "#HELP m x", "# HELP", "#", "# comment ", "  ", "",
		"# TYPE h histogram", "h_bucket{le=\"1\"} 1", "h_count 1", "{\"h\",a=\"b\"} 1",
		"# TYPE s summary", "s{quantile=\"0.5\"} 1", "s_sum 1",
	}
	pieces := []string{
		"\r", " ", "\t", "\n", "\"", "\\", "{", "}", "=", ",", "#", "'", "-", ".", "_", "a", "1", "ä", "\x00", "\xff",
		"\xef\xbb\xbf",
		"le=\"x\"", "TYPE ", "HELP ",
	}
	endings := []string{"\n", "\n", "\n", "\r\n", " \n", "\t\r\n", "\r\r\n", " \r \n"}
	var b []byte
	for range r.IntN(6) {
		b = append(b, lines[r.IntN(len(lines))]...)
		b = append(b, endings[r.IntN(len(endings))]...)
	}
	for range r.IntN(3) {
		b = slices.Insert(b, r.IntN(len(b)+1), []byte(pieces[r.IntN(len(pieces))])...)
	}
	if len(b) > 0 && r.IntN(3) == 0 {
		b = b[:len(b)-1]
	}
	return b
}

// expectTidyIsExact fails the test if a text that the parser takes is not taken, or means something else, when it is
// tidy, or could be tidied again. It tells whether the parser takes the text.
func expectTidyIsExact(t *testing.T, body []byte) (taken bool) {
	t.Helper()
	tidy := Tidy(slices.Clone(body))
	if again := Tidy(slices.Clone(tidy)); !bytes.Equal(again, tidy) {
		t.Errorf("%q is tidied to %q, and that to %q", body, tidy, again)
	}
	for _, scheme := range []model.ValidationScheme{model.LegacyValidation, model.UTF8Validation} {
		want, err := onlyExpfmt(body, scheme)
		if err != nil {
			continue
		}
		taken = true
		got, err := Parse(bytes.NewReader(tidy), FormatText, scheme)
		if err != nil {
			t.Fatalf("%q is taken, and %q is not: %v", body, tidy, err)
		}
		for _, mf := range got {
			other := want[mf.GetName()]
			if other.GetHelp() != "" {
				mf.Help = proto.String(mf.GetHelp())
				other.Help = proto.String(strings.TrimRight(other.GetHelp(), "\r"))
			}
			if !proto.Equal(mf, other) && fmt.Sprint(mf) != fmt.Sprint(other) { // NaN is not equal to itself
				t.Fatalf("%q is %v, and when it is tidy, %v", body, other, mf)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%q has %d families, and when it is tidy, %d", body, len(want), len(got))
		}
	}
	return taken
}

// onlyExpfmt is what the parser says without anything of ours.
func onlyExpfmt(body []byte, scheme model.ValidationScheme) (mfs map[string]*dto.MetricFamily, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	parser := expfmt.NewTextParser(scheme)
	return parser.TextToMetricFamilies(bytes.NewReader(body))
}

func FuzzTidy(f *testing.F) {
	for _, row := range untidy {
		f.Add([]byte(row.body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		expectTidyIsExact(t, body)
		tidy := Tidy(slices.Clone(body))
		for _, group := range plainGroups {
			expectPlainIsExact(t, tidy, group)
		}
	})
}

func TestTidyTakesNoMemory(t *testing.T) {
	body := bytes.Repeat([]byte("m 1 \r\n"), 1000)
	scratch := make([]byte, len(body))
	if n := testing.AllocsPerRun(10, func() { copy(scratch, body); Tidy(scratch) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// A push of 20,000 lines, with nothing to leave out, and with something in each line.
func BenchmarkTidy(b *testing.B) {
	var text bytes.Buffer
	for i := range 20_000 {
		fmt.Fprintf(&text, "requests_total{code=\"200\",handler=\"/api/v1/%d\"} %d\n", i, i)
	}
	group := NewLabels(map[string]string{"job": "batch", "instance": "host-00001"})
	crlf := bytes.ReplaceAll(text.Bytes(), newline, []byte("\r\n"))
	for name, body := range map[string][]byte{"tidy": text.Bytes(), "crlf": crlf} {
		scratch := make([]byte, len(body))
		b.Run("body="+name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				copy(scratch, body)
				Tidy(scratch)
			}
		})
	}
	b.Run("plain", func(b *testing.B) {
		b.SetBytes(int64(text.Len()))
		b.ReportAllocs()
		for b.Loop() {
			Plain(text.Bytes(), group).Release()
		}
	})
}
