package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// ownPrefixes begin the names of what a Pushgateway or a standalone replica tells of itself.
var ownPrefixes = []string{"go_", "process_", "promhttp_", "pushgateway_", "pushquorum_"}

// pushedLines are the lines of a scrape without those about the server itself.
func pushedLines(scrape string) []string {
	lines := strings.Split(strings.TrimSuffix(scrape, "\n"), "\n")
	return slices.DeleteFunc(lines, func(line string) bool {
		name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE ")
		return line == "" || slices.ContainsFunc(ownPrefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	})
}

// withoutTimes replaces the values of the two push times: whether there was one remains, when it was does not.
func withoutTimes(lines []string) []string {
	out := slices.Clone(lines)
	for i, line := range out {
		if strings.HasPrefix(line, "push_time_seconds{") || strings.HasPrefix(line, "push_failure_time_seconds{") {
			series, value := splitSample(line)
			if value != "0" {
				value = "<time>"
			}
			out[i] = series + " " + value
		}
	}
	return out
}

// inOrder sorts the series within each family. A Pushgateway has another order there than the groups have in ours, and
// none is promised; the families are in order of name in both.
func inOrder(lines []string) []string {
	out := slices.Clone(lines)
	for begin := 0; begin < len(out); {
		end := begin + 1
		for end < len(out) && strings.HasPrefix(out[end], "#") == strings.HasPrefix(out[begin], "#") {
			end++
		}
		if !strings.HasPrefix(out[begin], "#") {
			slices.Sort(out[begin:end])
		}
		begin = end
	}
	return out
}

// samples maps each series of a scrape, as written there, to its value, without those of the server itself.
func samples(t testing.TB, scrape string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, line := range pushedLines(scrape) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		series, value := splitSample(line)
		if _, twice := out[series]; twice {
			t.Fatalf("the series %s is twice in one scrape", series)
		}
		out[series] = value
	}
	return out
}

// splitSample takes a line without a timestamp apart; a label value can hold a blank, a sample value cannot.
func splitSample(line string) (series, value string) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 {
		return line, ""
	}
	return line[:i], line[i+1:]
}

// mustHave fails the test when the scrape does not have the series with the value.
func mustHave(t testing.TB, scrape, series, value string) {
	t.Helper()
	if got, ok := samples(t, scrape)[series]; !ok {
		t.Fatalf("no series %s in the scrape:\n%s", series, strings.Join(pushedLines(scrape), "\n"))
	} else if got != value {
		t.Fatalf("%s: want %s, got %s", series, value, got)
	}
}

// mustLack fails the test when a line of the scrape contains the text.
func mustLack(t testing.TB, scrape, text string) {
	t.Helper()
	for _, line := range pushedLines(scrape) {
		if strings.Contains(line, text) {
			t.Fatalf("%s should not be in the scrape any more: %s", text, line)
		}
	}
}

// diff shows the lines that only one of two texts has.
func diff(want, got string) string {
	return diffLines(strings.Split(want, "\n"), strings.Split(got, "\n"))
}

func diffLines(want, got []string) string {
	var out []string
	for _, line := range want {
		if !slices.Contains(got, line) {
			out = append(out, "- "+line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			out = append(out, "+ "+line)
		}
	}
	if len(out) == 0 {
		return fmt.Sprintf("the same %d and %d lines in another order or number", len(want), len(got))
	}
	const most = 60
	if len(out) > most {
		out = append(out[:most], fmt.Sprintf("… and %d more", len(out)-most))
	}
	return strings.Join(out, "\n")
}

func mustContain(t testing.TB, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Fatalf("want %q in:\n%s", part, text)
	}
}
