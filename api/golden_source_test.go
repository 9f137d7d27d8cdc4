package api

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// answered are the sources whose error texts reach a client.
var answered = []string{
	"*.go",
	"../expo/canonical.go", "../expo/clash.go", "../expo/guard.go", "../expo/labels.go", "../expo/parse.go",
	"../expo/duplicate.go", "../expo/value.go",
	"../fsm/check.go", "../fsm/holders.go", "../fsm/limits.go", "../fsm/reason.go", "../fsm/requests.go",
}

// unanswered are texts there that no row can show, and why.
var unanswered = map[string]string{
	"api: Replica, Store, Registerer and Gatherer are required": "a mistake of the caller",
	"api: EnableLifecycle needs Quit":                           "a mistake of the caller",
	"read consistency %q is unknown: use %s, %s or %s":          "the command line is checked before",
	"--web.telemetry-path=%s is a path at which something else is served: choose another, such as " +
		"--web.telemetry-path=/metrics": "said at the start, see cmd/pushquorum/testdata/start.golden",

	"Requesting termination... Goodbye!":              "no refusal",
	"registering the metrics of the API: %w":          "a mistake of the caller",
	"the page does not fit into --web.max-page-bytes": "then it is made while it is sent",
	"the limit %s is reached":                         "logged",
	"the client does not read its answer":             "its connection is cut",
	"metric family %s is given twice, with the types %s and %s: give it once, with " +
		"one type": "a body that was parsed has each once",
	"metric family %s is given twice: give it once, with all its " +
		"series": "a body that was parsed has each once",
	"metric family %s has the type %s here and %s elsewhere": "logged",
	"the body ended before all of it had come":               "the client has gone",
	"%s cannot be encoded: %s": "what can be encoded " +
		"has been checked before",
	"reading the body: %w": "it is in memory",
	"a group may take %d bytes: it takes %d, and with this push it would take %d; push fewer series, or to more " +
		"groups": "takes a group of hundreds of megabytes; see fsm's tests",

	"the client went away while it waited for %v": "nobody reads it",
	"label %s is given twice or out of order":     "the labels of a path have been sorted, and each is there once",
}

// TestEveryRefusalIsInARow reads the sources, and looks for each text of an error in the golden file: so that whoever
// writes a refusal shows it to a reviewer.
func TestEveryRefusalIsInARow(t *testing.T) {
	content, err := os.ReadFile("testdata/refusals.golden")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	found := 0
	for _, pattern := range answered {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no file (%v)", pattern, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			for _, text := range errorTexts(t, file) {
				known[text.format] = true
				if _, ok := unanswered[text.format]; ok {
					continue
				}
				found++
				if !text.matches(string(content)) {
					t.Errorf("%s: no row of refusals(t) is answered with %q: add one, or say in unanswered why there "+
						"is none", text.at, text.format)
				}
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d texts were found in %v", found, answered)
	}
	for text := range unanswered {
		if !known[text] {
			t.Errorf("unanswered has a text that is nowhere: %q", text)
		}
	}
}

// errorText is a string in the source from which an error is made.
type errorText struct {
	at     token.Position
	format string
}

// errorTexts are the formats of errors and problems in a file. One that only hands on another's text, such as "%w", is
// none.
func errorTexts(t *testing.T, file string) []errorText {
	t.Helper()
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	makers := []string{"errors.New", "fmt.Errorf", "fmt.Sprintf", "http.Error", "io.WriteString"}
	constants := map[string]string{}
	var out []errorText
	add := func(e ast.Expr) {
		if format, ok := literal(e, constants); ok &&
			regexp.MustCompile(`[a-z]{2}`).MatchString(verb.ReplaceAllString(format, "")) {
			out = append(out, errorText{files.Position(e.Pos()), format})
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for i, name := range n.Names {
				if i < len(n.Values) {
					if text, ok := literal(n.Values[i], constants); ok {
						constants[name.Name] = text
					}
				}
			}
		case *ast.CompositeLit:
			if kind, ok := n.Type.(*ast.Ident); ok && kind.Name == "problem" && len(n.Elts) == 2 {
				add(n.Elts[1])
			}
			if kind, ok := n.Type.(*ast.Ident); ok && kind.Name == "Result" {
				for _, element := range n.Elts {
					if pair, ok := element.(*ast.KeyValueExpr); ok && pair.Key.(*ast.Ident).Name == "Reason" {
						add(pair.Value)
					}
				}
			}
		case *ast.CallExpr:
			called, ok := n.Fun.(*ast.SelectorExpr)
			if !ok {
				break
			}
			pkg, ok := called.X.(*ast.Ident)
			if !ok || !slices.Contains(makers, pkg.Name+"."+called.Sel.Name) || called.Sel.Name == "Sprintf" &&
				!refuses(file) {
				break
			}
			add(n.Args[map[string]int{"Error": 1, "WriteString": 1}[called.Sel.Name]])
		}
		return true
	})
	return out
}

// refuses tells whether texts that are made by fmt.Sprintf in a file are refusals: elsewhere they are part of what is
// served.
func refuses(file string) bool {
	return slices.Contains([]string{
		"body.go", "encoding.go", "inflight.go", "lane.go", "outcome.go", "path.go", "push.go", "read.go", "router.go",
		"routes.go", "unreadable.go",
		"check.go", "holders.go", "limits.go", "reason.go", "requests.go",
	}, filepath.Base(file))
}

// literal is a text of which all parts are written there.
func literal(e ast.Expr, constants map[string]string) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil && e.Kind == token.STRING
	case *ast.Ident:
		text, ok := constants[e.Name]
		return text, ok
	case *ast.BinaryExpr:
		left, lok := literal(e.X, constants)
		right, rok := literal(e.Y, constants)
		if !lok && !rok {
			return "", false
		}
		return cond(lok, left) + cond(rok, right), true
	}
	return "", false
}

// cond is a text, or a verb for one that is not written there.
func cond(ok bool, text string) string {
	if ok {
		return text
	}
	return "%v"
}

var verb = regexp.MustCompile(`%[-+# 0]*(?:\[[0-9]+\])?[0-9]*(\.[0-9*]+)?[a-zA-Z]`)

// matches tells whether a line in the content, or a part of one, can have been made of the text.
func (e errorText) matches(content string) bool {
	var pattern strings.Builder
	at := 0
	for _, place := range verb.FindAllStringIndex(e.format, -1) {
		pattern.WriteString(regexp.QuoteMeta(strings.ReplaceAll(e.format[at:place[0]], "%%", "%")) + ".*")
		at = place[1]
	}
	pattern.WriteString(regexp.QuoteMeta(strings.ReplaceAll(e.format[at:], "%%", "%")))
	return regexp.MustCompile(`(?m)^< (|.*(: |; |, |\())` + pattern.String()).MatchString(content)
}
