package expo

import (
	"strings"
	"unicode/utf8"

	"github.com/prometheus/common/model"
)

// sample reads a line such as `name{label="value"} 1` or `{"name",label="value"} 1`.
func (d *diagnosis) sample() *finding {
	if strings.HasPrefix(d.parser, parserFault) && d.peek() == '{' {
		return d.says(d.at, "the name of a histogram's sample, or summary's, cannot be in the braces: "+
			"write it before them")
	}
	begin := d.at
	named := d.peek() != '{'
	if named {
		if _, found := d.metricName(); found != nil {
			return found
		}
		if c := d.peek(); !isBlank(c) && c != '{' && d.at < len(d.text) {
			// A value may follow without a blank between, as in `a-1`.
			end := d.at
			err := checkFloat(d.word())
			if d.at = end; err != nil {
				return d.notInName(begin, true)
			}
		}
		d.skipBlanks()
	}
	if d.take('{') {
		if found := d.labels(named); found != nil {
			return found
		}
		d.skipBlanks()
	}
	return d.justValue(begin)
}

// metricName reads a name, in quotes or not.
func (d *diagnosis) metricName() (string, *finding) {
	begin := d.at
	if d.peek() == '"' {
		name, found := d.quoted("a name")
		if found == nil {
			found = d.checkName(begin, name)
		}
		return name, found
	}
	name := d.plainName(true)
	if name == "" && d.at < len(d.text) {
		return "", d.notAtBegin(true)
	}
	if d.peek() == '"' { // The parser takes some quotes within a name.
		return "", d.unclear()
	}
	return name, nil
}

// checkName looks at a metric's name that was in quotes.
func (d *diagnosis) checkName(begin int, name string) *finding {
	switch {
	case strings.Contains(name, `\`):
		return nil // what is written is not the name
	case name == "":
		return d.says(begin, "a metric name is empty")
	case !d.scheme.IsValidMetricName(name):
		return d.says(begin, "the metric name %s is not valid: write %s%s",
			Quote(name), suggested(name, true), d.utf8Names(""))
	}
	return nil
}

// labels reads from behind the opening brace to behind the closing one.
func (d *diagnosis) labels(named bool) *finding {
	for {
		d.skipBlanks()
		begin := d.at
		if d.take('}') {
			if !named {
				return d.says(begin, "there is no metric name: write it before the brace")
			}
			return nil
		}
		name, found := d.labelName()
		if found != nil {
			return found
		}
		d.skipBlanks()
		if c := d.peek(); !named && c != '=' {
			if c != ',' && c != '}' {
				return d.notThere("after the name "+Quote(name)+" in braces there must be ',', '}' or '='",
					`; a sample is name{label="value"} 1`)
			}
			if found := d.checkName(begin, name); found != nil {
				return found
			}
			named = true
			if d.at++; c == '}' {
				return nil
			}
			continue
		}
		if d.peek() != '=' {
			return d.noEquals(begin, name)
		}
		if found := d.checkLabelName(begin, name); found != nil {
			return found
		}
		d.at++
		if found := d.labelValue(name); found != nil {
			return found
		}
		d.skipBlanks()
		switch begin := d.at; {
		case d.take(','):
		case d.take('}'):
			if !named {
				return d.says(begin, "there is no metric name: write it before the brace")
			}
			return nil
		default:
			hint := `; a double quote within a value is written \"`
			if isBlank(d.text[d.at-1]) {
				hint = "; labels are separated by commas"
			}
			return d.notThere("after the value of label "+Quote(name)+" there must be ',' or '}'", hint)
		}
	}
}

func (d *diagnosis) labelName() (string, *finding) {
	begin := d.at
	if d.peek() == '"' {
		name, found := d.quoted("a name")
		if found == nil && name == "" {
			found = d.says(begin, "a label name is empty")
		}
		return name, found
	}
	name := d.plainName(false)
	if name == "" {
		switch c := d.peek(); {
		case d.at == len(d.text):
			return "", d.notClosed()
		case c == ',':
			return "", d.says(d.at, "there is no label before the comma: leave the comma out")
		case c == '=':
			return "", d.says(d.at, "there is no label name before the '='")
		}
		return "", d.notAtBegin(false)
	}
	if d.peek() == '"' {
		return "", d.unclear()
	}
	return name, nil
}

// noEquals is about a label name that no '=' follows.
func (d *diagnosis) noEquals(begin int, name string) *finding {
	if d.at == len(d.text) {
		return d.notClosed()
	}
	rest := d.text[d.at:]
	end := strings.IndexAny(rest, `=,}"{ `+"\t")
	if end > 0 && rest[end] == '=' && rest[0] != ':' && !isBlank(d.text[d.at-1]) {
		return d.notInName(begin, false)
	}
	if c := d.peek(); c == ',' || c == '}' {
		return d.says(d.at, `label %s has no value: write %s="…"`, Quote(name), suggested(name, false))
	}
	return d.notThere("after the label name "+Quote(name)+" there must be '='", "")
}

func (d *diagnosis) checkLabelName(begin int, name string) *finding {
	if strings.Contains(name, `\`) {
		return nil // what is written is not the name
	}
	if name == model.MetricNameLabel {
		return d.says(begin, "the label name %s is reserved: write the metric's name before the braces", name)
	}
	if !d.scheme.IsValidLabelName(name) {
		return d.says(begin, "the label name %s is not valid: write %s%s",
			Quote(name), suggested(name, false), d.utf8Names(""))
	}
	if !strings.HasPrefix(d.parser, "duplicate label names") {
		return nil
	}
	if d.seen == nil {
		d.seen = map[string]bool{}
	}
	if d.seen[name] {
		return d.says(begin, "label %s is given twice: keep one of them", Quote(name))
	}
	d.seen[name] = true
	return nil
}

func (d *diagnosis) labelValue(name string) *finding {
	d.skipBlanks()
	begin := d.at
	if d.peek() != '"' {
		return d.unquoted(name)
	}
	value, found := d.quoted("the value of label " + Quote(name))
	if found != nil {
		return found
	}
	if !utf8.ValidString(value) {
		at := firstInvalid(value)
		return d.says(begin+1+at, "byte 0x%02x in the value of label %s is not UTF-8: send UTF-8",
			value[at], Quote(name))
	}
	if numbers, ok := numbered[name]; ok && strings.Contains(d.parser, "for '"+name+"' label") {
		if err := checkFloat(value); err != nil {
			return d.says(begin, "label %s of a %s must be a number, not %s: write, for example, %s",
				name, numbers.kind, Quote(value), numbers.example)
		}
	}
	return nil
}

// firstInvalid returns where a text that is not UTF-8 ceases to be.
func firstInvalid(s string) int {
	at := 0
	for {
		c, size := utf8.DecodeRuneInString(s[at:])
		if c == utf8.RuneError && size <= 1 {
			return at
		}
		at += size
	}
}

// numbered are the labels whose values are numbers, in some types.
var numbered = map[string]struct{ kind, example string }{
	model.BucketLabel:   {"histogram", `le="0.5" or le="+Inf"`},
	model.QuantileLabel: {"summary", `quantile="0.5"`},
}

// unquoted is about a label's value that does not begin with a double quote.
func (d *diagnosis) unquoted(name string) *finding {
	rest := d.text[d.at:]
	c, size := utf8.DecodeRuneInString(rest)
	label := suggested(name, false)
	switch {
	case rest == "" || c == ',' || c == '}':
		return d.says(d.at, `label %s has no value: write %s="…"`, Quote(name), label)
	case c == '\'' || c == '“' || c == '”' || c == '„' || c == '‘' || c == '’' || c == '«' || c == '`':
		value := rest[size:]
		if end := strings.IndexAny(value, `'“”‘’»,}`+"`"); end >= 0 {
			value = value[:end]
		}
		return d.says(d.at, `a label's value is in double quotes ("), not in %c: write %s="%s"`,
			c, label, inQuotes(value))
	}
	value := rest
	if end := strings.IndexAny(rest, ",} \t"); end >= 0 {
		value = rest[:end]
	}
	return d.says(d.at, `the value of label %s is not in double quotes: write %s="%s"`,
		Quote(name), label, inQuotes(value))
}

func (d *diagnosis) notClosed() *finding {
	return d.says(d.at, "the labels have no closing brace: write } after the last one")
}

// notThere is about the next character, which cannot be there.
func (d *diagnosis) notThere(wanted, hint string) *finding {
	if d.at == len(d.text) {
		return d.notClosed()
	}
	return d.says(d.at, "%s, not %s%s", wanted, d.character(), hint)
}
