package golden

import (
	"strings"
	"testing"
)

func TestTheRule(t *testing.T) {
	const good = "--limit.groups=x is no whole number: write one, such as --limit.groups=0"
	for name, row := range map[string]struct {
		line Line
		want string // in the error; "": none
	}{
		"a good line":             {Line{good, "--limit.groups=x", "--limit.groups=0"}, ""},
		"with its newline":        {Line{good + "\n", "", "write"}, ""},
		"nothing":                 {Line{"", "", "write"}, "no text"},
		"two lines":               {Line{"wrong\nwrite", "", "write"}, "more than one line"},
		"a tab":                   {Line{"wrong\twrite", "", "write"}, "control character"},
		"foreign bytes":           {Line{"wrong \xff write", "", "write"}, "UTF-8"},
		"a book":                  {Line{"write " + strings.Repeat("a", longest), "", "write"}, "at most"},
		"half a line":             {Line{"wrong: write,", "", "write"}, "in the middle"},
		"a shout":                 {Line{"Bad: write", "", "write"}, "lower-case"},
		"a blank in front":        {Line{" wrong: write", "", "write"}, "blank"},
		"the value is not named":  {Line{good, "--limit.groups=y", "write"}, "does not name"},
		"nothing to do":           {Line{good, "", "delete"}, "what to do"},
		"a row that does not say": {Line{good, "", ""}, "the row"},
	} {
		err := row.line.Check()
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: want an error with %q, got %v", name, row.want, err)
		}
	}
}
