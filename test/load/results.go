package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"
)

const resultsTitle = `# Results

What ` + "`make bench` and `make bench-scale`" + ` measured last. README.md says what each figure is. ` +
	`Only ratios carry over to another
machine, and only those of one run.
`

const (
	benchSection = "## Beside the peers"
	scaleSection = "## Scale"
)

// keepResults writes one section of the file again and leaves the others as they are.
func keepResults(file, section, text string) error {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(file, []byte(withSection(string(old), section, text)), 0o644)
}

// withSection is the results with one section replaced. Sections begin with their heading, and always stand in one
// order.
func withSection(results, section, text string) string {
	out := resultsTitle
	for _, name := range []string{benchSection, scaleSection} {
		body := text
		if name != section {
			body = sectionOf(results, name)
		}
		if body = strings.TrimSpace(body); body != "" {
			out += "\n" + name + "\n\n" + body + "\n"
		}
	}
	return out
}

// sectionOf is what stands below a heading, up to the next one of its kind.
func sectionOf(results, section string) string {
	_, after, found := strings.Cut("\n"+results, "\n"+section+"\n")
	if !found {
		return ""
	}
	body, _, _ := strings.Cut(after, "\n## ")
	return body
}
