package main

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"
	"github.com/prometheus/common/promslog"
)

// mistake makes of kingpin's error, which often names neither the flag nor what could be written instead, one that
// does.
func mistake(app *kingpin.Application, args []string, err error) error {
	text := err.Error()
	if name, ok := strings.CutSuffix(text, " cannot be repeated"); ok {
		return fmt.Errorf("--%s is given more than once: write it once", unquoted(name, "flag "))
	}
	if parsed, perr := app.ParseContext(args); perr == nil {
		for _, element := range parsed.Elements {
			flag, ok := element.Clause.(*kingpin.FlagClause)
			if !ok || element.Value == nil {
				continue
			}
			if model := flag.Model(); model.Value.Set(*element.Value) != nil {
				return badValue(model, *element.Value, model.Value.Set(*element.Value))
			}
		}
	}
	switch {
	case strings.HasPrefix(text, "unknown long flag "):
		return unknownFlag(app, unquoted(text, "unknown long flag "))
	case strings.HasPrefix(text, "unknown short flag "):
		for _, arg := range args {
			name, _, _ := strings.Cut(strings.TrimPrefix(arg, "-"), "=")
			if len(name) > 1 && !strings.HasPrefix(arg, "--") && app.GetFlag(name) != nil {
				return fmt.Errorf("%s has one dash: write it with two, -%s", shown(arg), shown(arg))
			}
		}
		return fmt.Errorf("%s is no flag: --help lists them", unquoted(text, "unknown short flag "))
	case strings.HasPrefix(text, "unexpected "):
		return unexpected(app, args, strings.TrimPrefix(text, "unexpected "))
	}
	return fmt.Errorf("%s: --help lists commands and flags", text)
}

func unquoted(text, prefix string) string {
	return strings.Trim(strings.TrimPrefix(text, prefix), "'")
}

// unknownFlag looks for the flag that was probably meant.
func unknownFlag(app *kingpin.Application, given string) error {
	name := strings.TrimPrefix(strings.TrimPrefix(given, "--"), "no-")
	if app.GetCommand("recover").GetFlag(name) != nil {
		return fmt.Errorf("--%s is a flag of the command recover alone: write it after that word, recover --%[1]s",
			name)
	}
	best, least := "", 3 // edits, of which so many make another word
	for _, flag := range slices.Concat(app.Model().Flags, app.GetCommand("recover").Model().Flags) {
		if d := edits(name, flag.Name); d < least {
			best, least = flag.Name, d
		}
	}
	if best != "" {
		return fmt.Errorf("%s is no flag: write --%s, or see --help", shown(given), best)
	}
	return fmt.Errorf("%s is no flag: --help lists them", shown(given))
}

// edits is how many letters must be added, taken away or exchanged to make one word of another (Levenshtein, 1965).
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			least := min(row[j], row[j+1]) + 1
			if a[i] == b[j] {
				least = min(least, diagonal)
			} else {
				least = min(least, diagonal+1)
			}
			diagonal, row[j+1] = row[j+1], least
		}
	}
	return row[len(b)]
}

// unexpected explains a word that is no command, which may be the value of a flag that takes none.
func unexpected(app *kingpin.Application, args []string, word string) error {
	for i, arg := range args {
		name, value, whole := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if !whole && i+1 < len(args) {
			value = args[i+1]
		}
		flag := app.GetFlag(strings.TrimPrefix(name, "no-"))
		if !strings.HasPrefix(arg, "--") || flag == nil || value != word || !flag.Model().IsBoolFlag() {
			continue
		}
		is := given(name, word)
		return fmt.Errorf("%s: this flag takes no value: write --%s, or --no-%[2]s", is, flag.Model().Name)
	}
	return fmt.Errorf("%s is no command: write flags with two dashes, and values with blanks in quotes; "+
		"the commands are serve, which may be left out, and recover",
		shown(word))
}

// badValue says what a flag cannot be, and gives an example of what it can.
func badValue(flag *kingpin.FlagModel, value string, why error) error {
	text, example := why.Error(), ""
	if strings.HasPrefix(text, "--") {
		return why // it is one of ours, which says everything
	}
	if len(flag.Default) > 0 {
		example = fmt.Sprintf("such as --%s=%s", flag.Name, flag.Default[0])
	} else if flag.Name == "persistence.interval" { // the only one of these kinds without a default
		example = "such as --persistence.interval=5m"
	}
	is := given(flag.Name, value)
	if choices, ok := strings.CutPrefix(text, "enum value must be one of "); ok {
		choices, _, _ = strings.Cut(choices, ", got ")
		return fmt.Errorf("%s is not known: write one of %s", is, strings.ReplaceAll(choices, ",", ", "))
	}
	if _, ok := flag.Value.(*promslog.Level); ok {
		return fmt.Errorf("%s is not known: write one of %s", is, strings.Join(promslog.LevelFlagOptions, ", "))
	}
	if _, ok := flag.Value.(*promslog.Format); ok {
		return fmt.Errorf("%s is not known: write one of %s", is, strings.Join(promslog.FormatFlagOptions, ", "))
	}
	if getter, ok := flag.Value.(kingpin.Getter); ok {
		switch getter.Get().(type) {
		case time.Duration:
			return fmt.Errorf("%s is no duration: write a number and its unit (ms, s, m, h), %s", is, example)
		case units.Base2Bytes:
			return fmt.Errorf("%s is no size: write a number and its unit (B, KB, MB, GB), %s", is, example)
		case int, uint64:
			return fmt.Errorf("%s is no whole number: write one, %s", is, example)
		case float64:
			return fmt.Errorf("%s is no number: write one, %s", is, example)
		case *url.URL:
			_, reason, _ := strings.Cut(text, `": `)
			return fmt.Errorf("%s is no URL (%s): write one such as --%s=http://push.example.org/prefix", is, reason,
				flag.Name)
		}
	}
	return fmt.Errorf("%s: %s; see --help", is, text)
}

// given is a flag as it was written, in what can stand in a line.
func given(flag, value string) string { return "--" + flag + "=" + shown(value) }

// shown is what was written, in what can stand in a line.
func shown(text string) string {
	text = cut(text)
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) || r == unicode.ReplacementChar }) {
		return fmt.Sprintf("%q", text)
	}
	return text
}

// whole is the value of a flag that is a whole number. kingpin's own takes 1.5 for 1.
type whole int

// Set implements kingpin.Value.
func (w *whole) Set(text string) error {
	n, err := strconv.Atoi(text)
	*w = whole(n)
	return err
}

// String implements kingpin.Value.
func (w *whole) String() string { return strconv.Itoa(int(*w)) }

// Get implements kingpin.Getter.
func (w *whole) Get() any { return int(*w) }
