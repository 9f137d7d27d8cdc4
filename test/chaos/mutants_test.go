package main

import (
	"os"
	"strings"
	"testing"
)

// TestEveryMutantFitsTheSource is the early warning: `make chaos-mutants` would refuse a mutant that does not.
func TestEveryMutantFitsTheSource(t *testing.T) {
	for _, m := range mutants() {
		for _, e := range m.edits {
			text, err := os.ReadFile("../../" + e.file)
			if err != nil {
				t.Error(err)
				continue
			}
			if n := strings.Count(string(text), e.old); n != 1 {
				t.Errorf("mutant %s: %s holds %d times and not once:\n%s", m.name, e.file, n, e.old)
			}
		}
	}
}

func TestAMutantThatDoesNotFitIsRefused(t *testing.T) {
	m := mutant{name: "misfit", edits: []edit{{"cluster/doc.go", "this is not there", ""}}}
	if _, err := m.build(t.Context(), "../..", t.TempDir()); err == nil ||
		!strings.Contains(err.Error(), "no longer fits cluster/doc.go") {
		t.Errorf("a mutant that does not fit: %v", err)
	}
}
