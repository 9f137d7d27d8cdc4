package golden

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// longest is how long an error may be: what a terminal shows of it without hiding the rest. Bytes.
const longest = 700

// Line is one error as its reader gets it, and what it has to contain.
type Line struct {
	Text string
	// Value is the value in question, as far as it must occur; "" where there is none.
	Value string
	// Mend are the words that say what to do: a flag, a header, an input that would have been taken.
	Mend string
}

// Check returns in what a line breaks the rule: one line of prose, that names the value in question and says what to
// do.
func (l Line) Check() error {
	text := strings.TrimSuffix(l.Text, "\n")
	first, _ := utf8.DecodeRuneInString(text)
	switch {
	case text == "":
		return errors.New("there is no text")
	case !utf8.ValidString(text):
		return fmt.Errorf("it is not valid UTF-8: %q", text)
	case strings.ContainsFunc(text, unicode.IsControl):
		return fmt.Errorf("it has more than one line, or a control character: %q", text)
	case len(text) > longest:
		return fmt.Errorf("it has %d bytes, want at most %d", len(text), longest)
	case strings.TrimSpace(text) != text:
		return fmt.Errorf("it begins or ends with a blank: %q", text)
	case strings.ContainsAny(text[len(text)-1:], ",:;"):
		return fmt.Errorf("it ends in the middle: %q", text)
	case !unicode.IsLower(first) && !strings.HasPrefix(text, "-"):
		return fmt.Errorf("it begins with %q, want lower-case prose, or a flag", first)
	case l.Value != "" && !strings.Contains(text, l.Value):
		return fmt.Errorf("it does not name the value in question, %s", l.Value)
	case l.Mend == "":
		return errors.New("the row does not say which words tell what to do")
	case !strings.Contains(text, l.Mend):
		return fmt.Errorf("it does not say what to do: there is no %q in it", l.Mend)
	}
	return nil
}
