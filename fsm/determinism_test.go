package fsm

import (
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

// anyOrder begins the comment, on its line or the one before, of a loop over a map whose order cannot show. The reason
// follows.
const anyOrder = "// any order: "

// TestNothingThatApplyReachesRangesOverAMap, because each replica would see another order. Clock, chance and
// environment are forbidigo's: see .golangci.yml.
func TestNothingThatApplyReachesRangesOverAMap(t *testing.T) {
	exports := exportsOf(t, ".", "../expo")
	for _, dir := range []string{".", "../expo"} {
		for _, found := range mapOrders(t, exports, dir, sourcesOf(t, dir)) {
			t.Errorf("%s: sort the keys, or say why no order shows: %s…", found, anyOrder)
		}
	}
}

func TestALoopOverAMapIsFound(t *testing.T) {
	for _, row := range []struct {
		name, code string
		found      bool
	}{
		{"a map", "for k := range m { _ = k }", true},
		{"a named map", "type names map[string]int; for range names(m) { }", true},
		{"a map of which nothing is kept", "for range m { }", true},
		{"a map's keys", "for k := range maps.Keys(m) { _ = k }", true},
		{"a map's values, collected", "_ = slices.Collect(maps.Values(m))", true},
		{"a map of package sync", "var s sync.Map; s.Range(func(_, _ any) bool { return true })", true},
		{"a map by reflection", "_ = reflect.ValueOf(m).MapKeys()", true},
		{"a comment without a reason", "for k := range m { _ = k } " + anyOrder, true},
		{"a slice", "for i := range []int{1} { _ = i }", false},
		{"sorted keys", "for _, k := range slices.Sorted(maps.Keys(m)) { _ = k }", false},
		{"a reason beside it", "for k := range m { _ = k } " + anyOrder + "it is copied", false},
		{"a reason before it", anyOrder + "it is copied\n for k := range m { _ = k }", false},
	} {
		source := "package x\nimport (\"maps\"; \"reflect\"; \"slices\"; \"sync\")\n" +
			"var _, _, _, _ = maps.Clone[map[int]int], reflect.ValueOf, slices.Sorted[int], new(sync.Map)\n" +
			"func f(m map[string]int) {\n" + row.code + "\n}\n"
		exports := exportsOf(t, "maps", "reflect", "slices", "sync")
		if found := mapOrders(t, exports, "x", map[string][]byte{"x.go": []byte(source)}); (len(found) > 0) != row.found {
			t.Errorf("%s: found %q", row.name, found)
		}
	}
}

// mapOrders returns the places in a package where the order of a map may show.
func mapOrders(t *testing.T, exports map[string]string, name string, sources map[string][]byte) (found []string) {
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
		for i, line := range strings.Split(string(source), "\n") {
			if _, reason, ok := strings.Cut(line, anyOrder); ok && strings.TrimSpace(reason) != "" {
				reasons[fmt.Sprintf("%s:%d", path, i+1)] = true
				reasons[fmt.Sprintf("%s:%d", path, i+2)] = true
			}
		}
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	lookup := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", lookup)}
	if _, err := config.Check(name, fset, files, info); err != nil {
		t.Fatal(err)
	}
	sorted := map[ast.Expr]bool{} // arguments of what sorts them
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
				if _, isMap := info.Types[n.X].Type.Underlying().(*types.Map); isMap {
					report(n, "a loop over a map")
				}
			case *ast.CallExpr:
				if f := calledBy(info, n); strings.HasPrefix(f, "slices.Sorted") {
					sorted[n.Args[0]] = true
				} else if slices.Contains(unordered, f) && !sorted[n] {
					report(n, f)
				}
			}
			return true
		})
	}
	slices.Sort(found)
	return found
}

// unordered are the functions that give what is in a map in its order.
var unordered = []string{
	"maps.All", "maps.Keys", "maps.Values", "(*sync.Map).Range", "(reflect.Value).MapRange", "(reflect.Value).MapKeys",
}

// calledBy returns the full name of the function that is called, "" if it has none.
func calledBy(info *types.Info, call *ast.CallExpr) string {
	fun := ast.Unparen(call.Fun)
	if index, ok := fun.(*ast.IndexExpr); ok {
		fun = index.X
	}
	selector, ok := fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	f, ok := info.Uses[selector.Sel].(*types.Func)
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
