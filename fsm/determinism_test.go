package fsm

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// anyOrder begins the comment that says why an order cannot show; the reason follows. Behind code it excuses its line,
// on a line of its own the line after the comment.
const anyOrder = "// any order: "

const messages = "google.golang.org/protobuf/reflect/protoreflect"

// TestNothingThatApplyReachesRangesOverAMap, nor takes another order from the runtime, because each replica would see
// another one. Clock, chance and environment are forbidigo's: see .golangci.yml.
func TestNothingThatApplyReachesRangesOverAMap(t *testing.T) {
	exports := exportsOf(t, ".", "../expo")
	for _, dir := range []string{".", "../expo"} {
		for _, found := range anyOrders(t, exports, dir, sourcesOf(t, dir)) {
			t.Errorf("%s: make an order, or say why none shows: %s…", found, anyOrder)
		}
	}
}

func TestALoopOverAMapIsFound(t *testing.T) {
	const loop = "for range m { }"
	exports := exportsOf(t, "maps", "reflect", "slices", "sync", messages)
	for _, row := range []struct {
		name, code string
		found      int
	}{
		{"a map", "for k := range m { _ = k }", 1},
		{"a named map", "type names map[string]int; for range names(m) { }", 1},
		{"a map of which nothing is kept", loop, 1},
		{"a map of a type parameter", "for range g { }", 1},
		{"a map of a type parameter with a named constraint", "for range h { }", 1},
		{"a map's keys", "for k := range maps.Keys(m) { _ = k }", 1},
		{"a map's values, collected", "_ = slices.Collect(maps.Values(m))", 1},
		{"a function of a map's keys", "keys := maps.Keys[map[string]int]; _ = slices.Collect(keys(m))", 1},
		{"a function of a map's values, sorted", "v := maps.Values[map[string]int]; _ = slices.Sorted(v(m))", 1},
		{"a function of all of a map", "var all func(map[string]int) iter.Seq2[string, int] = maps.All; _ = all", 1},
		{"a map from which some is deleted", "maps.DeleteFunc(m, func(string, int) bool { return true })", 1},
		{"maps that are compared", "_ = maps.EqualFunc(m, m, func(int, int) bool { return true })", 1},
		{"a map of package sync", "var s sync.Map; s.Range(func(_, _ any) bool { return true })", 1},
		{"a method of a map of package sync", "var s sync.Map; _ = s.Range; _ = (*sync.Map).Range", 2},
		{"a map by reflection", "_ = reflect.ValueOf(m).MapKeys()", 1},
		{"a map's range by reflection", "_ = reflect.ValueOf(m).MapRange()", 1},
		{"sequences by reflection", "_ = reflect.ValueOf(m).Seq(); _ = reflect.ValueOf(m).Seq2()", 2},
		{"the fields of a message", "p.Range(nil)", 1},
		{"a map of a message", "var e protoreflect.Map; e.Range(nil)", 1},
		{"one of two that are ready", "select {\ncase <-c:\ncase c <- 1:\n}", 1},
		{"whether one is ready", "select {\ncase <-c:\ndefault:\n}", 1},
		{"a goroutine", "go func() { }()", 1},
		{"a comment without a reason", loop + " " + anyOrder, 1},
		{"a reason behind the line before", loop + anyOrder + "it is copied\n" + loop, 1},
		{"a reason before the line before", anyOrder + "it is copied\n" + loop + "\n" + loop, 1},
		{"a reason of the loop around it", anyOrder + "it is copied\n for range m {\n" + loop + "\n}", 1},
		{"a reason too far before it", anyOrder + "it is copied\n\n" + loop, 1},
		{"a reason that is a text", "_ = \"" + anyOrder + "it is copied\"; " + loop, 1},
		{"a slice", "for i := range []int{1} { _ = i }", 0},
		{"a slice of a type parameter", "for range l { }", 0},
		{"sorted keys", "for _, k := range slices.Sorted(maps.Keys(m)) { _ = k }", 0},
		{"sorted values", "_ = slices.SortedFunc((maps.Values(m)), cmp.Compare[int])", 0},
		{"sorted keys of named types", "_ = slices.Sorted[string](maps.Keys[map[string]int, string, int](m))", 0},
		{"one that is waited for", "select {\ncase <-c:\n}", 0},
		{"a reason beside it", loop + anyOrder + "it is copied", 0},
		{"a reason before it", anyOrder + "it is copied\n" + loop, 0},
		{"a reason of two lines before it", anyOrder + "it is\n// copied\n" + loop, 0},
	} {
		source := `package x
import ("cmp"; "iter"; "maps"; "reflect"; "slices"; "sync"; "` + messages + `")
var _, _, _, _ = maps.Clone[map[int]int], reflect.ValueOf, slices.Sorted[int], new(sync.Map)
var _, _ = cmp.Compare[int], iter.Pull[int]
type mapped interface{ ~map[string]int }
func f[G ~map[string]int, H interface{ mapped }, L ~[]int](
	m map[string]int, g G, h H, l L, c chan int, p protoreflect.Message,
) {
` + row.code + "\n}\n"
		if found := anyOrders(t, exports, "x", map[string][]byte{"x.go": []byte(source)}); len(found) != row.found {
			t.Errorf("%s: found %q", row.name, found)
		}
	}
}

// anyOrders returns the places in a package where an order may show that the runtime makes: of maps, and of what is
// ready at once.
func anyOrders(t *testing.T, exports map[string]string, name string, sources map[string][]byte) (found []string) {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	reasons := map[string]bool{} // by place
	for path, source := range sources {
		file, err := parser.ParseFile(fset, path, source, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
		for _, line := range excused(fset, file, source) {
			reasons[fmt.Sprintf("%s:%d", path, line)] = true
		}
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	lookup := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", lookup)}
	if _, err := config.Check(name, fset, files, info); err != nil {
		t.Fatal(err)
	}
	sorted := map[*ast.Ident]bool{} // names of functions whose calls are what is sorted
	report := func(at ast.Node, what string) {
		p := fset.Position(at.Pos())
		if place := fmt.Sprintf("%s:%d", p.Filename, p.Line); !reasons[place] {
			found = append(found, place+": "+what)
		}
	}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.RangeStmt:
				if mayBeMap(info.Types[n.X].Type) {
					report(n, "a loop over a map")
				}
			case *ast.SelectStmt:
				if len(n.Body.List) > 1 {
					report(n, "a choice of what is ready")
				}
			case *ast.GoStmt:
				report(n, "a goroutine")
			case *ast.CallExpr:
				if strings.HasPrefix(fullName(info, nameOf(n.Fun)), "slices.Sorted") {
					if inner, ok := ast.Unparen(n.Args[0]).(*ast.CallExpr); ok {
						sorted[nameOf(inner.Fun)] = true
					}
				}
			case *ast.Ident:
				if f := fullName(info, n); slices.Contains(unordered, f) && !sorted[n] {
					report(n, f)
				}
			}
			return true
		})
	}
	slices.Sort(found)
	return found
}

// excused returns the lines of a file for which a comment says why no order shows.
func excused(fset *token.FileSet, file *ast.File, source []byte) (lines []int) {
	for _, group := range file.Comments {
		for _, c := range group.List {
			if reason, ok := strings.CutPrefix(c.Text, anyOrder); !ok || strings.TrimSpace(reason) == "" {
				continue
			}
			at := fset.Position(c.Pos())
			before := source[at.Offset-(at.Column-1) : at.Offset]
			if len(bytes.TrimSpace(before)) > 0 {
				lines = append(lines, at.Line)
			} else {
				lines = append(lines, fset.Position(group.End()).Line+1)
			}
		}
	}
	return lines
}

// mayBeMap tells whether a type is a map, or one of those that a type parameter stands for.
func mayBeMap(t types.Type) bool {
	switch t := t.Underlying().(type) {
	case *types.Map:
		return true
	case *types.Interface:
		for embedded := range t.EmbeddedTypes() {
			if mayBeMap(embedded) {
				return true
			}
		}
	case *types.Union:
		for term := range t.Terms() {
			if mayBeMap(term.Type()) {
				return true
			}
		}
	}
	return false
}

// unordered are the functions that give what is in a map, or a message, in its order, or call a function in it.
var unordered = []string{
	"maps.All", "maps.Keys", "maps.Values", "maps.DeleteFunc", "maps.EqualFunc",
	"(*sync.Map).Range",
	"(reflect.Value).MapRange", "(reflect.Value).MapKeys", "(reflect.Value).Seq", "(reflect.Value).Seq2",
	"(" + messages + ".Message).Range", "(" + messages + ".Map).Range",
	"google.golang.org/protobuf/proto.RangeExtensions",
}

// nameOf returns what names the function in a call, nil if nothing does.
func nameOf(fun ast.Expr) *ast.Ident {
	switch fun := ast.Unparen(fun).(type) {
	case *ast.Ident:
		return fun
	case *ast.SelectorExpr:
		return fun.Sel
	case *ast.IndexExpr:
		return nameOf(fun.X)
	case *ast.IndexListExpr:
		return nameOf(fun.X)
	}
	return nil
}

// fullName returns the full name of a function that is used, "" for anything else.
func fullName(info *types.Info, name *ast.Ident) string {
	f, ok := info.Uses[name].(*types.Func)
	if !ok {
		return ""
	}
	return f.FullName()
}

// exportsOf returns the files that say what is in the packages and in all that they import.
func exportsOf(t *testing.T, packages ...string) map[string]string {
	t.Helper()
	args := append([]string{"list", "-export", "-deps", "-json=ImportPath,Export"}, packages...)
	out, err := exec.CommandContext(t.Context(), "go", args...).Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports := map[string]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p struct{ ImportPath, Export string }
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
	}
	return exports
}

// sourcesOf returns the files of a package without its tests.
func sourcesOf(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no sources in %s: %v", dir, err)
	}
	sources := map[string][]byte{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		if sources[path], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return sources
}
