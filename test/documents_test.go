package test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// repository is what documents can name.
type repository struct {
	paths     map[string]bool // files and folders, from the top, with slashes
	basenames map[string]bool
	tests     map[string]bool // TestX, FuzzX, BenchmarkX
	targets   map[string]bool // of make
}

var (
	testFunction = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)\(`)
	makeTarget   = regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`)
)

// readRepository looks at the files of the project, and not at what was built or is data.
func readRepository(t *testing.T) repository {
	t.Helper()
	r := repository{
		paths: map[string]bool{}, basenames: map[string]bool{}, tests: map[string]bool{}, targets: map[string]bool{},
	}
	err := filepath.WalkDir("..", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel("..", name)
		if err != nil {
			return err
		}
		switch below = filepath.ToSlash(below); {
		case below == ".git" || below == "bin" || below == "data":
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			r.paths[below] = true
			return nil
		}
		r.paths[below], r.basenames[path.Base(below)] = true, true
		if strings.HasSuffix(below, "_test.go") || below == "Makefile" {
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			names, found := r.tests, testFunction
			if below == "Makefile" {
				names, found = r.targets, makeTarget
			}
			for _, match := range found.FindAllSubmatch(text, -1) {
				names[string(match[1])] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.tests) < 100 || len(r.targets) < 10 {
		t.Fatalf("only %d tests and %d targets were found", len(r.tests), len(r.targets))
	}
	return r
}

var (
	codeBlock  = regexp.MustCompile("(?s)(?:^|\n)```.*?\n```")
	codeSpan   = regexp.MustCompile("`([^`\n]+)`")
	fileName   = regexp.MustCompile(`^[\w.][\w./-]*\.(?:go|md|proto|golden|tpl|yml)$`)
	folderName = regexp.MustCompile(`^[\w.][\w./-]*/$`)
	testName   = regexp.MustCompile(`^((?:Test|Fuzz|Benchmark)[A-Z]\w*)(?:/.*)?$`)
	makeCall   = regexp.MustCompile(`^(?:sudo )?make ((?:[a-z][a-z0-9-]*)(?: [a-z][a-z0-9-]*)*)`)
	link       = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)`)
)

// TestWhatDocumentsNameIsThere: files, folders, tests and targets of make that any document of the project names, and
// what its links lead to. A file is named from the top, from the document's own folder, or by its last part alone.
func TestWhatDocumentsNameIsThere(t *testing.T) {
	t.Parallel()
	r := readRepository(t)
	documents, named := 0, 0
	for name := range r.paths {
		if !strings.HasSuffix(name, ".md") {
			continue
		}
		text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		documents++
		named += r.check(t, name, string(text))
	}
	if documents < 10 || named < 100 {
		t.Fatalf("only %d names were found in %d documents", named, documents)
	}
}

// check returns how many names it has found in a document.
func (r repository) check(t *testing.T, document, text string) int {
	t.Helper()
	folder, named := path.Dir(document), 0
	has := func(name string) bool {
		name = strings.TrimSuffix(name, "/")
		return r.paths[name] || r.paths[path.Join(folder, name)] || r.basenames[name]
	}
	calls := func(line string) {
		match := makeCall.FindStringSubmatch(line)
		if match == nil {
			return
		}
		for _, target := range strings.Fields(match[1]) {
			if named++; !r.targets[target] {
				t.Errorf("%s calls make %s, and the Makefile has no such target", document, target)
			}
		}
	}
	for _, block := range codeBlock.FindAllString(text, -1) {
		for line := range strings.Lines(block) {
			calls(line)
		}
	}
	for _, match := range codeSpan.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
		span := match[1]
		calls(span)
		top, _, _ := strings.Cut(span, "/")
		switch test := testName.FindStringSubmatch(span); {
		case test != nil:
			if named++; !r.tests[test[1]] {
				t.Errorf("%s names %s, and there is no such test", document, test[1])
			}
		case fileName.MatchString(span), folderName.MatchString(span) && r.paths[top]:
			if named++; !has(span) {
				t.Errorf("%s names %s, which is neither at the top nor below %s", document, span, folder)
			}
		}
	}
	for _, match := range link.FindAllStringSubmatch(text, -1) {
		if to := match[1]; !strings.Contains(to, "://") && !strings.HasPrefix(to, "mailto:") {
			if named++; !r.paths[path.Join(folder, to)] {
				t.Errorf("%s links to %s, which is not there", document, to)
			}
		}
	}
	return named
}
