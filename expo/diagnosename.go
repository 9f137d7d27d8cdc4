package expo

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/common/model"
)

// inQuotes returns a label's value as it is written between quotes, cut.
func inQuotes(s string) string {
	short := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(cut(s, maxQuoted))
	if len(s) > maxQuoted {
		short += "…"
	}
	return short
}

// suggested returns a name like this one that needs no quotes, cut.
func suggested(name string, colons bool) string {
	var b strings.Builder
	for i, c := range cut(name, maxQuoted) {
		switch {
		case c < utf8.RuneSelf && isPlainName("a"+string(c), colons):
			if i == 0 && '0' <= c && c <= '9' {
				b.WriteByte('_')
			}
			b.WriteRune(c)
		default:
			b.WriteByte('_')
		}
	}
	if len(name) > maxQuoted {
		b.WriteString("…")
	}
	return b.String()
}

// kindOf is what a name is called.
func kindOf(metric bool) string {
	if metric {
		return "metric name"
	}
	return "label name"
}

// notAtBegin is about a name that begins with what it must not begin with.
func (d *diagnosis) notAtBegin(metric bool) *finding {
	if found := d.foreign(); found != nil {
		return found
	}
	c, _ := utf8.DecodeRuneInString(d.text[d.at:])
	begins := "a letter or _"
	if metric {
		begins = "a letter, _ or :"
	}
	hint := ""
	if c == '-' || c == '.' || unicode.IsLetter(c) || unicode.IsDigit(c) {
		name := d.written(d.at, metric)
		hint = fmt.Sprintf(": write %s%s", suggested(name, metric), d.utf8Names(d.inBraces(name, metric)))
	}
	return d.says(d.at, "a %s begins with %s, not with %s%s", kindOf(metric), begins, d.character(), hint)
}

// notInName is about the next character, which is not allowed in the name that begins there.
func (d *diagnosis) notInName(begin int, metric bool) *finding {
	c := d.peek()
	switch {
	case d.text[begin] == '"':
		return d.says(d.at, "%s follows the name: write a blank between them", d.character())
	case metric && c == ',':
		return d.says(d.at, `',' is not allowed in a metric name: labels stand in braces, as in name{label="value"} 1`)
	case metric && c == '=':
		return d.says(d.at, "'=' is not allowed in a metric name: write a blank between name and value, as in name 1")
	}
	if found := d.foreign(); found != nil {
		return found
	}
	name := d.written(begin, metric)
	return d.says(d.at, "%s is not allowed in a %s: write %s%s", d.character(), kindOf(metric), suggested(name, metric),
		d.utf8Names(d.inBraces(name, metric)))
}

// foreign is about a next character that has come with the whole text.
func (d *diagnosis) foreign() *finding {
	switch d.peek() {
	case '\r':
		return d.says(d.at, carriageReturn)
	case 0:
		return d.says(d.at, "a NUL byte: send text in UTF-8, not UTF-16 or other bytes")
	}
	return nil
}

const carriageReturn = `a carriage return within a line: end each line with \n or \r\n`

// written returns what the client may have meant for a name: all before what must follow one.
func (d *diagnosis) written(begin int, metric bool) string {
	after := "={,} \t"
	if metric {
		after = "{ \t"
	}
	name := d.text[begin:]
	if end := strings.IndexAny(name, after); end >= 0 {
		name = name[:end]
	}
	return name
}

// inBraces returns how a name is written that is not allowed without quotes, "" if that cannot be shown.
func (d *diagnosis) inBraces(name string, metric bool) string {
	quoted := `"` + cut(name, maxQuoted) + `"`
	if len(name) > maxQuoted || strconv.Quote(name) != quoted {
		return "" // the parser does not know all of Go's escapes
	}
	if metric && !strings.HasPrefix(strings.TrimLeft(d.text, " \t"), "#") {
		return "{" + quoted + "}"
	}
	return quoted
}

// utf8Names tells under which flag a name is valid, or that it is, if it is written like that.
func (d *diagnosis) utf8Names(written string) string {
	hint := ""
	if d.scheme == model.LegacyValidation {
		hint = ", or start with --push.enable-utf8-names"
		if written != "" {
			hint += " and write " + written
		}
	} else if written != "" {
		hint = ", or " + written
	}
	return hint
}

// character names the next character.
func (d *diagnosis) character() string {
	c, size := utf8.DecodeRuneInString(d.text[d.at:])
	switch {
	case c == utf8.RuneError && size == 1:
		return fmt.Sprintf("byte 0x%02x (not UTF-8)", d.text[d.at])
	case c == '\r':
		return "a carriage return"
	case c == ' ':
		return "a blank"
	case c == '\u00a0':
		return "a no-break space"
	case c == '\ufeff':
		return "a byte order mark"
	}
	return strconv.QuoteRune(c)
}

// printable returns a character that a message can hold.
func printable(c rune) rune {
	if unicode.IsPrint(c) {
		return c
	}
	return utf8.RuneError
}
