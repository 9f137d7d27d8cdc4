package expo

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Diagnose says of a text that Parse has refused with err, under s, where it is wrong and what to write instead. err
// names the line, and the line is then read as the parser reads it, as far as the place where it gives up: so nothing
// is claimed of a text but what the parser minds, and no text that it takes is ever looked at. Where that finds
// nothing, the parser's words stay. An error that is not about a line is returned as it is.
func Diagnose(body []byte, s model.ValidationScheme, err error) error {
	var refused expfmt.ParseError
	if !errors.As(err, &refused) {
		return err
	}
	// Not a copy: a line may be as long as the body. Nothing of it is kept but what is quoted, which is copied.
	text := unsafe.String(unsafe.SliceData(body), len(body))
	d := newDiagnosis(text, s, refused)
	found := d.line()
	if found == nil {
		found = d.unknown()
	}
	column := 1 + utf8.RuneCountInString(d.text[:found.at])
	return fmt.Errorf("line %d, column %d: %s", d.number, column, cut(oneLine(found.says), maxFinding))
}

// maxFinding bounds what is said about a line, in bytes.
const maxFinding = 260

// finding is what is wrong with a line.
type finding struct {
	at   int // byte of the line
	says string
}

// diagnosis reads the line that the parser has refused once more.
type diagnosis struct {
	before string // the lines before
	text   string // the line
	number int
	scheme model.ValidationScheme
	parser string // what it says

	at    int             // what is left begins there
	value int             // where the sample's value begins, or else the line
	seen  map[string]bool // the label names so far, if one is there twice
}

func newDiagnosis(text string, s model.ValidationScheme, refused expfmt.ParseError) *diagnosis {
	d := &diagnosis{scheme: s, parser: refused.Msg, number: 1}
	begin := 0
	for d.number < refused.Line {
		end := strings.IndexByte(text[begin:], '\n')
		if end < 0 || begin+end+1 == len(text) {
			break // the last line
		}
		begin += end + 1
		d.number++
	}
	d.before = text[:begin]
	d.text, _, _ = strings.Cut(text[begin:], "\n")
	d.skipBlanks()
	d.value = d.at
	return d
}

// line returns what is wrong with the line, nil if that is not found.
func (d *diagnosis) line() *finding {
	if d.peek() == '#' {
		return d.comment()
	}
	return d.sample()
}

// says makes a finding at a byte of the line.
func (d *diagnosis) says(at int, format string, args ...any) *finding {
	return &finding{at: at, says: fmt.Sprintf(format, args...)}
}

// unclear leaves the word to the parser.
func (d *diagnosis) unclear() *finding { return &finding{at: d.at, says: d.parser} }

// unknown is for a line that looks well: what the parser minds is then the value, or the line as a whole.
func (d *diagnosis) unknown() *finding {
	if strings.HasPrefix(d.parser, "negative ") {
		return d.says(d.value, "%s: write a number that is 0 or more", d.parser)
	}
	return &finding{at: d.value, says: d.parser}
}

const lineEnd = 0x0a // what peek returns there; the line has no newline

// peek returns the next byte.
func (d *diagnosis) peek() byte {
	if d.at == len(d.text) {
		return lineEnd
	}
	return d.text[d.at]
}

// take skips the next byte if it is c.
func (d *diagnosis) take(c byte) bool {
	if d.at == len(d.text) || d.text[d.at] != c {
		return false
	}
	d.at++
	return true
}

func (d *diagnosis) skipBlanks() {
	for d.at < len(d.text) && isBlank(d.text[d.at]) {
		d.at++
	}
}

// word returns what stands before the next blank, and skips it.
func (d *diagnosis) word() string {
	from := d.at
	if n := strings.IndexAny(d.text[from:], " \t"); n >= 0 {
		d.at += n
	} else {
		d.at = len(d.text)
	}
	return d.text[from:d.at]
}

// plainName returns the name without quotes that stands next, and skips it.
func (d *diagnosis) plainName(colons bool) string {
	from := d.at
	for d.at < len(d.text) && (isPlainName(d.text[d.at:d.at+1], colons) || d.at > from && isDigit(d.text[d.at])) {
		d.at++
	}
	return d.text[from:d.at]
}

// quoted reads a name or a label's value in double quotes. A message calls it by the subject.
func (d *diagnosis) quoted(subject string) (content string, found *finding) {
	opening := d.at
	d.at++
	for {
		n := strings.IndexAny(d.text[d.at:], `"\`)
		if n < 0 {
			hint := ""
			if strings.Contains(d.text[opening:], `\"`) {
				hint = `; \" is a quote within it, and a backslash is written \\`
			}
			return "", d.says(opening, "%s has no closing quote%s", subject, hint)
		}
		if d.at += n; d.text[d.at] == '"' {
			d.at++
			return d.text[opening+1 : d.at-1], nil
		}
		if found := d.escape(); found != nil {
			return "", found
		}
	}
}

// escape skips a backslash and what it escapes.
func (d *diagnosis) escape() *finding {
	if d.at+1 == len(d.text) {
		return d.says(d.at, `the line ends in a single backslash: write \\ for a backslash`)
	}
	if !strings.ContainsRune(`\"n`, rune(d.text[d.at+1])) {
		c, _ := utf8.DecodeRuneInString(d.text[d.at+1:])
		return d.says(d.at, `\%c means nothing, only \\, \" and \n do: write \\%[1]c for a backslash before it`,
			printable(c))
	}
	d.at += 2
	return nil
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// earlier returns the number of the first line before this one for which is returns true, 0 if there is none.
func (d *diagnosis) earlier(is func(line string) bool) int {
	number := 0
	for line := range strings.Lines(d.before) {
		number++
		if is(strings.TrimSuffix(line, "\n")) {
			return number
		}
	}
	return 0
}
