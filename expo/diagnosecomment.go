package expo

import (
	"slices"
	"strings"
)

// comment reads a HELP or TYPE line; other comments may say anything.
func (d *diagnosis) comment() *finding {
	d.at++
	d.skipBlanks()
	keyword := d.word()
	if keyword != "HELP" && keyword != "TYPE" {
		return nil
	}
	d.skipBlanks()
	if d.at == len(d.text) {
		return nil
	}
	begin := d.at
	name, found := d.metricName()
	if found != nil || d.at == len(d.text) {
		return found
	}
	if !isBlank(d.peek()) {
		return d.notInName(begin, true)
	}
	d.skipBlanks()
	if d.at == len(d.text) {
		return nil
	}
	if strings.HasPrefix(d.parser, "second "+keyword+" line") {
		return d.second(begin, keyword, name)
	}
	if keyword == "HELP" {
		return d.help()
	}
	return d.familyType(begin, name)
}

// second is about a HELP or TYPE line that comes too late.
func (d *diagnosis) second(begin int, keyword, name string) *finding {
	for _, family := range []string{name, familyOf(name)} {
		if first := d.earlier(func(line string) bool { return isAbout(line, keyword, family) }); first > 0 {
			return d.says(begin, "a second %s line for %s, after that in line %d: keep one of them",
				keyword, Quote(name), first)
		}
		first := d.earlier(func(line string) bool { return isSampleOf(line, family) })
		if first > 0 && keyword == "TYPE" {
			return d.says(begin, "the TYPE of %s comes after its first sample, in line %d: write it before that",
				Quote(name), first)
		}
	}
	return d.unclear()
}

func (d *diagnosis) help() *finding {
	for {
		n := strings.IndexByte(d.text[d.at:], '\\')
		if n < 0 {
			return nil
		}
		d.at += n
		if found := d.escape(); found != nil {
			return found
		}
	}
}

func (d *diagnosis) familyType(begin int, name string) *finding {
	t := d.text[d.at:]
	known := strings.ToLower(strings.TrimRight(cut(t, maxQuoted), " \t\r"))
	switch {
	case strings.Contains(t, `\`): // The parser passes over it.
		return d.unclear()
	case known == "unknown":
		return d.says(d.at, "%s is a type of OpenMetrics: write untyped, or leave the line out", Quote(t))
	case known == "info" || known == "stateset":
		return d.says(d.at, "%s is a type of OpenMetrics that the text format does not have: write gauge", Quote(t))
	case slices.Contains(textTypes, known):
		return nil
	case slices.Contains(textTypes, strings.ToLower(cut(name, maxQuoted))):
		return d.says(begin, "the name comes before the type: write # TYPE %s %s",
			suggested(t, true), strings.ToLower(name))
	}
	return d.says(d.at, "there is no type %s: write counter, gauge, histogram, summary or untyped", Quote(t))
}

// textTypes are the types that the parser knows, in any case.
var textTypes = []string{"counter", "gauge", "histogram", "summary", "untyped", "gauge_histogram", "gaugehistogram"}

// isAbout tells whether a line is a HELP, or TYPE, line of that family, and says something.
func isAbout(line, keyword, family string) bool {
	comment, ok := strings.CutPrefix(strings.TrimLeft(line, " \t"), "#")
	if !ok {
		return false
	}
	rest, ok := strings.CutPrefix(strings.TrimLeft(comment, " \t"), keyword)
	about := strings.TrimLeft(rest, " \t")
	if !ok || len(about) == len(rest) {
		return false
	}
	text, ok := afterName(about, family)
	return ok && text != "" && isBlank(text[0]) && strings.TrimLeft(text, " \t") != ""
}

// isSampleOf tells whether a line is a sample of that name.
func isSampleOf(line, name string) bool {
	line = strings.TrimLeft(line, " \t")
	if inBraces, ok := strings.CutPrefix(line, "{"); ok {
		rest, ok := afterName(strings.TrimLeft(inBraces, " \t"), name)
		rest = strings.TrimLeft(rest, " \t")
		return ok && rest != "" && (rest[0] == ',' || rest[0] == '}')
	}
	rest, ok := afterName(line, name)
	return ok && rest != "" && !isPlainName(rest[:1], true) && !isDigit(rest[0])
}

// afterName returns what follows a name, in quotes or not, that s begins with.
func afterName(s, name string) (rest string, ok bool) {
	s, quoted := strings.CutPrefix(s, `"`)
	rest, ok = strings.CutPrefix(s, name)
	if ok && quoted {
		rest, ok = strings.CutPrefix(rest, `"`)
	}
	return rest, ok
}

// familyOf returns the family that a line with that name is about if there is none of the name itself: a histogram, or
// a summary, is meant by the names of its samples, too.
func familyOf(name string) string {
	for _, suffix := range []string{"_count", "_sum", "_bucket"} {
		if family, ok := strings.CutSuffix(name, suffix); ok && family != "" {
			return family
		}
	}
	return name
}
