package expo

import "bytes"

// byteOrderMark is U+FEFF in UTF-8, which editors and shells on Windows write before a text.
var byteOrderMark = []byte("\xef\xbb\xbf")

// Tidy returns a pushed text without what is no part of its lines, however it came there: a byte order mark before the
// first line, carriage returns before the end of a line, blanks after a value. Nothing that is left out means anything,
// so no text that the parser takes means something else afterwards, but for one thing: it takes a carriage return for
// the last letter of a HELP.
//
// The result is a part of body, whose memory it changes. A text that is tidy, as most are, costs a few searches for
// bytes that are not there.
func Tidy(body []byte) []byte {
	for bytes.HasPrefix(body, byteOrderMark) {
		body = body[len(byteOrderMark):]
	}
	first := firstUntidy(body)
	if first < 0 {
		return body
	}
	rest := body[bytes.LastIndexByte(body[:first], '\n')+1:]
	tidy := body[:len(body)-len(rest)]
	for len(rest) > 0 {
		line, after, ended := bytes.Cut(rest, newline)
		tidy = append(tidy, tidyLine(line)...) // in place, never beyond what has been read
		if ended {
			tidy = append(tidy, '\n')
		}
		rest = after
	}
	return tidy
}

// firstUntidy returns where there may be something to leave out, -1 if there is nothing.
func firstUntidy(body []byte) int {
	first := bytes.IndexByte(body, '\r')
	for _, ending := range [][]byte{{' ', '\n'}, {'\t', '\n'}} {
		before := body
		if first >= 0 {
			before = body[:first]
		}
		if at := bytes.Index(before, ending); at >= 0 {
			first = at
		}
	}
	if last := len(body) - 1; first < 0 && last >= 0 && isBlank(body[last]) {
		return last
	}
	return first
}

// tidyLine returns a line without what follows its last letter. A comment may end in blanks: those of a HELP are its
// text, and only behind a type they surely mean nothing.
func tidyLine(line []byte) []byte {
	line = bytes.TrimRight(line, "\r")
	trimmed := bytes.TrimRight(line, "\r \t")
	if rest := bytes.TrimLeft(trimmed, " \t"); len(rest) > 0 && rest[0] == '#' && !endsInType(rest[1:]) {
		return line
	}
	return trimmed
}

// endsInType tells whether a comment, without its sign, is a TYPE line with a name and a type.
func endsInType(comment []byte) bool {
	rest, isType := bytes.CutPrefix(bytes.TrimLeft(comment, " \t"), []byte("TYPE"))
	name := bytes.TrimLeft(rest, " \t")
	// A name in quotes may have blanks of its own.
	return isType && len(name) < len(rest) && bytes.ContainsAny(name, " \t") && name[len(name)-1] != '"'
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }
