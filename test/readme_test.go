package test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestTheReadmeListsEveryFlagWithItsDefault holds the table of the README against --help, both ways.
func TestTheReadmeListsEveryFlagWithItsDefault(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	rows := regexp.MustCompile("(?m)^\\| `--([a-z0-9.-]+)` \\|(?: `([^`]*)`)? \\|")
	for _, row := range rows.FindAllStringSubmatch(string(readme), -1) {
		if _, twice := listed[row[1]]; twice {
			t.Errorf("README.md lists --%s twice", row[1])
		}
		listed[row[1]] = row[2]
	}

	_, help, _ := runProcess(t, "", binary(t), "--help")
	found := 0
	flags := regexp.MustCompile(`(?m)^ {2,6}(?:-h, )?--(\[no-\])?([a-z0-9.-]+)(?:=(\S+))?`)
	for _, flag := range flags.FindAllStringSubmatch(help, -1) {
		name, value := flag[2], strings.Trim(flag[3], `"`)
		if name == "help" || name == "version" || strings.HasPrefix(name, "help-") {
			continue
		}
		found++
		if flag[1] != "" {
			value = strconv.FormatBool(name == "auto-gomemlimit") // --help does not say which switches are on
		}
		if strings.EqualFold(value, name) {
			value = "" // a placeholder: there is no default
		}
		got, ok := listed[name]
		delete(listed, name)
		switch {
		case !ok:
			t.Errorf("README.md lacks --%s", name)
		case got != value:
			t.Errorf("README.md says that --%s is %q by default, --help says %q", name, got, value)
		}
	}
	if found < 20 {
		t.Fatalf("only %d flags were found in --help:\n%s", found, help)
	}
	for name := range listed {
		t.Errorf("README.md lists --%s, which there is not", name)
	}
}
