package expo

import (
	"fmt"
	"io"

	"github.com/prometheus/common/expfmt"
)

// textGuard is between the body and the text parser. It keeps the error that ended the
// body, and it ends the body itself at a line with more labels than a series may have,
// because the parser's time for a line is quadratic in its labels.
type textGuard struct {
	r   io.Reader
	err error // what ended the body, other than io.EOF
	bad error // why the guard ended it

	line     int  // complete lines seen
	commas   int  // outside quotes, on the current line
	begun    bool // something other than blanks was seen on the current line
	comment  bool // the current line is a comment, in which commas and quotes mean nothing
	inQuotes bool
	escaped  bool // the last byte was a backslash inside quotes
}

// Read implements io.Reader.
func (g *textGuard) Read(p []byte) (int, error) {
	if g.bad != nil {
		return 0, g.bad
	}
	if g.err != nil {
		return 0, g.err
	}
	n, err := g.r.Read(p)
	if g.bad = g.scan(p[:n]); g.bad != nil {
		return 0, g.bad
	}
	if err != nil && !isEnd(err) {
		g.err = err
	}
	return n, err
}

// isEnd tells whether err is the regular end of a reader. A reader's contract is to
// return io.EOF itself for that; an error that wraps it is something else.
func isEnd(err error) bool {
	return err == io.EOF //nolint:errorlint // see above
}

// scan looks for the commas between labels. Inside a comment neither commas nor quotes
// mean anything.
func (g *textGuard) scan(p []byte) error {
	for _, c := range p {
		if c == '\n' {
			g.line++
			g.commas, g.begun, g.comment, g.inQuotes, g.escaped = 0, false, false, false, false
			continue
		}
		if !g.begun && c != ' ' && c != '\t' {
			g.begun, g.comment = true, c == '#'
		}
		switch {
		case g.comment:
		case g.escaped:
			g.escaped = false
		case g.inQuotes && c == '\\':
			g.escaped = true
		case c == '"':
			g.inQuotes = !g.inQuotes
		case c == ',' && !g.inQuotes:
			// A line of n labels has up to n+1 commas: one after a name in braces, and one
			// after the last label.
			if g.commas++; g.commas > MaxLabels+1 {
				return expfmt.ParseError{
					Line: g.line + 1, Msg: fmt.Sprintf("more than %d labels: use fewer", MaxLabels),
				}
			}
		}
	}
	return nil
}
