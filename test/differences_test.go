package test

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDifferences has every row of the conformance tables with a real Pushgateway and with PushQuorum, also those that
// the conformance test holds PushQuorum alone to, and prints where they differ. `make differences` runs it.
//
// A row that differs says why, and one that says why differs: else it fails.
func TestDifferences(t *testing.T) {
	if os.Getenv("PUSHQUORUM_DIFFERENCES") != "1" {
		t.Skip("prints for people; make differences runs it")
	}
	flags := []string{"--web.enable-admin-api", "--log.level=error"}
	peer := startPushgateway(t, flags...)
	var bases []string
	if os.Getenv("PUSHQUORUM_REPLICAS") == "3" {
		for _, r := range startCluster(t, flags...).replicas {
			bases = append(bases, r.url(""))
		}
	} else {
		bases = []string{startReplica(t, flags...).url("")}
	}
	version := peerVersion(t, peer)

	var report strings.Builder
	rows, different := everyRow(t), 0
	for _, row := range rows {
		for _, base := range []string{peer.url(""), bases[0]} {
			mustDo(t, http.StatusAccepted, request{method: http.MethodPut, url: base + "/api/v1/admin/wipe"})
		}
		theirs, ours := observe(t, row.steps, peer.url("")), observe(t, row.steps, bases...)
		lines := theirs.against(ours)
		if len(lines) > 0 && !theirs.broken {
			_ = attempt(settles, func() error { // with an error they do differ
				theirs.read(t, peer.url(""))
				if lines = theirs.against(ours); len(lines) > 0 {
					return errors.New("they differ")
				}
				return nil
			})
		}
		if len(lines) > 0 {
			different++
			report.WriteString(row.told(lines))
		}
		if fault := row.fault(len(lines) > 0, version); fault != "" {
			t.Errorf("%s: %s\n%s", row.name, fault, strings.Join(lines, "\n"))
		}
		if theirs.broken {
			peer.kill()
			peer = startPushgateway(t, flags...)
		}
	}
	fmt.Printf("\nA Pushgateway %s and PushQuorum (replicas: %d) differ in %d of %d rows.\n%s",
		version, len(bases), different, len(rows), &report)
}

// settles is how long a Pushgateway may take to do what it has answered: it answers a DELETE before it has done it.
const settles = 300 * time.Millisecond

// outcome is what somebody has seen of a conversation, and of what was stored by it.
type outcome struct {
	statuses []int
	told     []string // of each step: where it was sent instead, and whether a refusal was silent
	lines    []string // of the scrape, in order
	query    string
	broken   bool // it cannot be scraped any more
}

// observe has a conversation, with the bases in turn.
func observe(t *testing.T, steps []step, bases ...string) outcome {
	t.Helper()
	var seen outcome
	var answers []answer
	seen.statuses, answers = converse(t, steps, bases...)
	for _, a := range answers {
		seen.told = append(seen.told, a.header.Get("Location"))
	}
	seen.read(t, bases[len(steps)%len(bases)])
	return seen
}

// read is what is seen of what is stored.
func (o *outcome) read(t *testing.T, base string) {
	t.Helper()
	scrape, err := do(request{url: base + "/metrics"})
	if err != nil {
		t.Fatal(err)
	}
	if scrape.status != http.StatusOK {
		o.broken, o.lines = true, []string{fmt.Sprintf("(the scrape is answered %d)", scrape.status)}
		return
	}
	o.lines, o.query = inOrder(withoutTimes(pushedLines(scrape.body))), query(t, base)
}

// against says in lines how two outcomes differ, the peer's and ours.
func (o outcome) against(ours outcome) (lines []string) {
	if !slices.Equal(o.statuses, ours.statuses) {
		lines = append(lines, fmt.Sprintf("answers: peer %v, ours %v", o.statuses, ours.statuses))
	}
	if !slices.Equal(o.told, ours.told) {
		lines = append(lines, fmt.Sprintf("Location: peer %q, ours %q", o.told, ours.told))
	}
	switch {
	case !slices.Equal(o.lines, ours.lines):
		lines = append(lines, "the scrape afterwards (- peer, + ours):")
		for line := range strings.Lines(diffLines(o.lines, ours.lines)) {
			if line = strings.TrimRight(line, "\n"); strings.HasPrefix(line, "-") || strings.HasPrefix(line, "+") {
				lines = append(lines, "  "+line)
			}
		}
	case !o.broken && o.query != ours.query:
		lines = append(lines, "/api/v1/metrics, peer: "+o.query, "/api/v1/metrics, ours: "+ours.query)
	}
	return lines
}

// fault is what is wrong with a row that differs or does not from a Pushgateway of that version, or "".
func (r row) fault(differs bool, version string) string {
	expected := r.differsFrom(version)
	switch {
	case differs && r.differs == "":
		return "it differs, and its row does not say why"
	case differs && !expected:
		return fmt.Sprintf(
			"it differs from %s, though its row says that it does not from that version (since %q, from %q: %s)",
			version, r.since, r.from, r.differs)
	case !differs && expected:
		return fmt.Sprintf("it does not differ from %s, though its row says that it does (%s)", version, r.differs)
	}
	return ""
}

// told is a row for people.
func (r row) told(lines []string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "\n%s\n", r.name)
	for _, s := range r.steps {
		fmt.Fprintf(&out, "    %s %s", s.method, s.path)
		for name, value := range s.header {
			fmt.Fprintf(&out, "  %s: %s", name, value)
		}
		if s.body != "" {
			fmt.Fprintf(&out, "  %.120q", s.body)
		}
		out.WriteString("\n")
	}
	for _, line := range lines {
		fmt.Fprintf(&out, "  %s\n", line)
	}
	fmt.Fprintf(&out, "  because: %s\n", cmp.Or(r.differs, "(its row does not say)"))
	return out.String()
}

func TestARowSaysWhyItDiffersExactlyWhenItDoes(t *testing.T) {
	for name, c := range map[string]struct {
		row     row
		differs bool
		version string
		want    string // in the fault; "": none
	}{
		"the same":                       {row{}, false, "1.11.3", ""},
		"it differs and nobody says why": {row{}, true, "1.11.3", "does not say why"},
		"it differs as it says":          {row{differs: "x"}, true, "1.11.3", ""},
		"it says so and does not":        {row{differs: "x"}, false, "1.11.3", "though its row says that it does"},
		"it differs from an older one":   {row{differs: "x", since: "1.6.0"}, true, "1.5.1", ""},
		"it should differ from an older one": {
			row{differs: "x", since: "1.6.0"}, false, "1.5.1", "though its row says that it does",
		},
		"a newer one does the same": {row{differs: "x", since: "1.6.0"}, false, "1.11.3", ""},
		"a newer one should have done so too": {
			row{differs: "x", since: "1.6.0"}, true, "1.11.3", "though its row says that it does not",
		},
		"an older one did the same": {row{differs: "x", from: "1.6.0"}, false, "1.5.1", ""},
		"an older one is said to have done": {
			row{differs: "x", from: "1.6.0"}, true, "1.5.1", "though its row says that it does not",
		},
		"the one from which on it differs": {row{differs: "x", from: "1.6.0"}, true, "1.6.0", ""},
	} {
		if got := c.row.fault(c.differs, c.version); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: want a fault with %q, got %q", name, c.want, got)
		}
	}
}

// TestNoTableIsForgotten looks for tables of rows that everyRow does not have.
func TestNoTableIsForgotten(t *testing.T) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	tables, used := map[string]string{}, map[string]bool{}
	ofRows := func(e ast.Expr) bool {
		list, ok := e.(*ast.ArrayType)
		if !ok {
			return false
		}
		kind, ok := list.Elt.(*ast.Ident)
		return ok && kind.Name == "row"
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.Name == "everyRow" {
					ast.Inspect(d.Body, func(n ast.Node) bool {
						if name, ok := n.(*ast.Ident); ok {
							used[name.Name] = true
						}
						return true
					})
				} else if d.Type.Results != nil && len(d.Type.Results.List) == 1 &&
					ofRows(d.Type.Results.List[0].Type) {
					tables[d.Name.Name] = file
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					value, ok := s.(*ast.ValueSpec)
					if !ok || len(value.Values) != 1 {
						continue
					}
					if literal, ok := value.Values[0].(*ast.CompositeLit); ok && ofRows(literal.Type) {
						tables[value.Names[0].Name] = file
					}
				}
			}
		}
	}
	if len(tables) < 8 {
		t.Errorf("only %d tables were found: %v", len(tables), tables)
	}
	for table, file := range tables {
		if !used[table] {
			t.Errorf("%s: the rows of %s are asked of nobody: name it in everyRow", file, table)
		}
	}
}
