package expo

import (
	"fmt"
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

// Quote returns s quoted for a message, cut to maxQuoted bytes: what a client sends
// may be megabytes long, and must not come back whole in an answer or a log line.
func Quote(s string) string {
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
func oneLine(s string) string { return OneLine(s, maxMessage) }

// OneLine returns a text that has something foreign in it on one line, printable, and cut to most bytes.
func OneLine(s string, most int) string {
	if len(s) > most {
		s = cut(s, most) + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// Shorten returns a text that has more than most bytes cut to that, without splitting a character, and says how long it
// was.
func Shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes)", cut(s, most), len(s))
}

// Some lists what a message has room for: as many of the items as fit into so many bytes, one at least, and how many
// more there are of the total.
func Some(items []string, total, room int) string {
	n, size := 0, 0
	for n < len(items) && (n == 0 || size+len(items[n]) <= room) {
		size += len(items[n]) + len(", ")
		n++
	}
	list := strings.Join(items[:n], ", ")
	if total > n {
		return fmt.Sprintf("%s and %d more", list, total-n)
	}
	return list
}
