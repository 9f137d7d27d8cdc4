package expo

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"

	"pushquorum/expo/internal/expotest"
)

func TestLabelsAreSortedAndFoundByName(t *testing.T) {
	m := map[string]string{"job": "x", "a": "", "zone": "é"}
	ls := NewLabels(m)
	if got, want := ls.String(), `{a="",job="x",zone="é"}`; got != want {
		t.Errorf("String: got %s, want %s", got, want)
	}
	if !maps.Equal(ls.Map(), m) {
		t.Errorf("Map: got %v, want %v", ls.Map(), m)
	}
	if v, ok := ls.Get("job"); v != "x" || !ok {
		t.Errorf("Get(job): %q, %v", v, ok)
	}
	if v, ok := ls.Get("jo"); v != "" || ok {
		t.Errorf("Get(jo): %q, %v", v, ok)
	}
}

func TestNoTwoLabelSetsHaveTheSameKey(t *testing.T) {
	seen := map[string]Labels{}
	for _, m := range []map[string]string{
		{},
		{"a": ""},
		{"a": "b"},
		{"a": "b", "c": ""},
		{"a": "", "b": ""},
		{"ab": ""},
		{"a": "bc"},
		{"a": "b", "c": "d"},
		{"a": "bcd"},
		{"abcd": ""},
	} {
		ls := NewLabels(m)
		if other, ok := seen[ls.Key()]; ok {
			t.Errorf("%v and %v have the same key", ls, other)
		}
		seen[ls.Key()] = ls
		if same := AppendLabels(nil, ls.Key()); !slices.Equal(same, ls) {
			t.Errorf("the key of %v is read as %v", ls, same)
		}
	}
}

func TestGroupingLabelsAreValidated(t *testing.T) {
	many := map[string]string{}
	for i := range MaxLabels {
		many[strings.Repeat("a", i+1)] = ""
	}
	table := []struct {
		name         string
		labels       map[string]string
		legacy, utf8 string // part of the error, "" for none
	}{
		{"ordinary", map[string]string{"job": "x", "a": ""}, "", ""},
		{"a value that is not UTF-8", map[string]string{"l": "\xff"}, "not valid UTF-8", "not valid UTF-8"},
		{"a name with a dot", map[string]string{"a.b": ""}, "must match", ""},
		{"a name with a colon", map[string]string{"a:b": ""}, "must match", "colon"},
		{"an empty name", map[string]string{"": "x"}, "must match", "not empty"},
		{"a reserved name", map[string]string{"__a": "x"}, "reserved", "reserved"},
		{"the metric name's label", map[string]string{"__name__": "x"}, "reserved", "reserved"},
		{"a name that is not UTF-8", map[string]string{"a\xff": ""}, "must match", "must be valid UTF-8"},
		{"NUL and newline in a value", map[string]string{"a": "\x00\n"}, "", ""},
		{"too many", many, "at most 127", "at most 127"},
	}
	for _, row := range table {
		for scheme, want := range map[model.ValidationScheme]string{
			model.LegacyValidation: row.legacy, model.UTF8Validation: row.utf8,
		} {
			expotest.ExpectError(t, row.name+" "+scheme.String(), NewLabels(row.labels).Validate(scheme), want)
		}
	}
	expotest.ExpectError(
		t, "out of order", Labels{{"b", ""}, {"a", ""}}.Validate(model.UTF8Validation), "twice or out of order",
	)
	expotest.ExpectError(
		t, "twice", Labels{{"a", ""}, {"a", ""}}.Validate(model.UTF8Validation), "twice or out of order",
	)
}

func TestLabelsInAMessageAreBounded(t *testing.T) {
	m := map[string]string{}
	for i := range 100 {
		m[strings.Repeat("n", i+100)] = strings.Repeat("é\n", 1<<16)
	}
	if s := NewLabels(m).String(); len(s) > 700 || strings.Contains(s, "\n") {
		t.Errorf("%d bytes: %s", len(s), s)
	}
}

func TestLabelsOfSortsAndKeepsTheLast(t *testing.T) {
	got := LabelsOf([]Label{{"b", "1"}, {"a", "1"}, {"b", "2"}, {"c", "1"}, {"a", ""}, {"b", "3"}})
	if want := (Labels{{"a", ""}, {"b", "3"}, {"c", "1"}}); !slices.Equal(got, want) {
		t.Errorf("the labels are %v, want %v", got, want)
	}
	if got := LabelsOf(nil); len(got) != 0 {
		t.Errorf("no pairs give %v", got)
	}
}
