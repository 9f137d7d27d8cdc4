package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// update is a flag of every test binary that imports this package.
var update = flag.Bool("update", false, "write the golden files")

// Compare fails the test when a golden file does not say what came, and shows the lines that differ. With the flag
// -update the file is written instead. Where the test has failed before, what came may not be all, and is not compared.
func Compare(t testing.TB, file, got string) {
	t.Helper()
	if t.Failed() && !*update {
		return
	}
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; write it with: go test . -run '^%s$' -update", err, t.Name())
	}
	if want := string(content); want != got {
		t.Errorf("%s is not what came (- file, + now); if that is as it should be, write it with: go test . -run "+
			"'^%s$' -update\n%s",
			file, t.Name(), difference(want, got))
	}
}

// difference are the lines that one text has and the other has not, in the order of each.
func difference(want, got string) string {
	var out strings.Builder
	only := func(sign, a, b string) {
		have := map[string]int{}
		for line := range strings.Lines(b) {
			have[line]++
		}
		for line := range strings.Lines(a) {
			if have[line]--; have[line] < 0 {
				out.WriteString(sign + strings.TrimSuffix(line, "\n") + "\n")
			}
		}
	}
	only("- ", want, got)
	only("+ ", got, want)
	if out.Len() == 0 {
		return "the same lines, in another order"
	}
	return out.String()
}
