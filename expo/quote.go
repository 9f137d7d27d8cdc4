package expo

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxQuoted     = 64  // bytes of a name or value that a message repeats
	maxSeriesText = 256 // bytes of labels after which a message stops listing them
	maxMessage    = 512 // bytes of a parser's message that are passed on
)

// quote returns s quoted for a message, cut to maxQuoted bytes: what a client sends
// may be megabytes long, and must not come back whole in an answer or a log line.
func quote(s string) string {
	if len(s) <= maxQuoted {
		return strconv.Quote(s)
	}
	return strconv.Quote(cut(s, maxQuoted)) + "…"
}

// cut returns at most n bytes of s, without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := n; i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i]
		}
	}
	return s[:n]
}

// oneLine returns a message of foreign origin on one line, printable and bounded.
func oneLine(s string) string {
	if len(s) > maxMessage {
		s = cut(s, maxMessage) + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
