package expo

import (
	"errors"
	"strconv"
	"strings"
	"unicode"
)

// justValue reads what follows the name and the labels: the value, and nothing else.
func (d *diagnosis) justValue(begin int) *finding {
	at := d.at
	d.value = at
	token := d.word()
	if token == "" {
		return d.says(at, "the value is missing: write a number after the name and its labels")
	}
	if err := checkFloat(token); err != nil {
		if n := strings.IndexByte(token, '\r'); n >= 0 {
			return d.says(at+n, carriageReturn)
		}
		return d.says(at, "%s", d.notANumber(begin, at, token, err))
	}
	d.skipBlanks()
	if d.at == len(d.text) {
		return nil
	}
	at = d.at
	next := d.word()
	_, err := strconv.ParseInt(next, 10, 64)
	d.skipBlanks()
	switch {
	case next[0] == '#':
		return d.says(at, "a comment or an exemplar cannot follow the value: "+
			"write comments on lines of their own, and no exemplars")
	case err == nil && d.at == len(d.text):
		return nil // a timestamp, which is refused later
	case err == nil:
		return d.says(d.at, "%s follows the value and a timestamp: write each sample on a line of its own, without one",
			Quote(d.text[d.at:]))
	}
	if err := checkFloat(next); err == nil {
		return d.says(at, "%s follows the value: write one number; pushed samples have no timestamps", Quote(next))
	}
	return d.says(at, "%s follows the value: write each sample on a line of its own", Quote(next))
}

// checkFloat returns why the parser does not take s for a value.
func checkFloat(s string) error {
	if strings.ContainsAny(s, "pP_") {
		return strconv.ErrSyntax
	}
	_, err := strconv.ParseFloat(s, 64)
	return err
}

// notANumber says what is wrong with a value.
func (d *diagnosis) notANumber(begin, at int, token string, err error) string {
	if errors.Is(err, strconv.ErrRange) {
		return Quote(token) + " is too large for a 64-bit float: write +Inf or -Inf for what is without bound"
	}
	if write, ok := spellings[strings.ToLower(cut(token, maxQuoted))]; ok {
		return Quote(token) + " is not a number: write " + write
	}
	if inner := strings.Trim(token, `"'`); inner != token {
		if err := checkFloat(inner); err == nil {
			return "the value " + inQuotes(inner) + " is in quotes: write it without"
		}
	}
	if write, ok := separated(token); ok {
		return Quote(token) + " is not a number: write " + write
	}
	if number := withoutUnit(token); number != "" {
		return Quote(token) + " is not a number: write it without a unit, as " + inQuotes(number)
	}
	if token == "=" || token == ":" {
		return Quote(token) + " stands where the value should: write a blank alone between name and value, as in name 1"
	}
	hint := ", as in name 1"
	if d.at < len(d.text) && strings.IndexByte(d.text[begin:at], '{') < 0 && isPlainName(token, true) {
		hint = "; a name has no blanks, write _ for them"
	}
	return Quote(token) + " stands where the value should, and is not a number: write one" + hint
}

// spellings are what stands for a number elsewhere.
var spellings = map[string]string{
	"-nan": "NaN", "+nan": "NaN", "nan(ind)": "NaN", "-nan(ind)": "NaN", "1.#qnan": "NaN", "1.#ind": "NaN",
	"-1.#ind": "NaN",
	"null":    noValue, "nil": noValue, "none": noValue, "undefined": noValue,
	"na": noValue, "n/a": noValue, "-": noValue,
	"infinite": "+Inf", "∞": "+Inf", "+∞": "+Inf", "1.#inf": "+Inf",
	"-infinite": "-Inf", "-∞": "-Inf", "-1.#inf": "-Inf",
	"true": "1", "false": "0", "yes": "1", "no": "0", "on": "1", "off": "0",
}

const noValue = "NaN, or leave the line out"

// separated returns how to write a number with a decimal comma, or with something between its thousands.
func separated(token string) (write string, ok bool) {
	if len(token) > maxQuoted || strings.ContainsAny(token, "eEpPxX") {
		return "", false
	}
	number := strings.NewReplacer(",", "", "_", "", "'", "").Replace(token)
	if err := checkFloat(number); err != nil || number == token || strings.ContainsFunc(number, unicode.IsLetter) {
		return "", false
	}
	whole, fraction, comma := strings.Cut(token, ",")
	if !comma || strings.ContainsAny(fraction, ".,_'") || strings.ContainsAny(whole, "._'") {
		return number + ", without anything between thousands", true
	}
	point := whole + "." + fraction
	if len(fraction) == 3 {
		return point + " or " + number + ", whichever is meant", true
	}
	return point + ", with a point before the fraction", true
}

// withoutUnit returns the number that a unit follows in the token, "" if that is not what the token is.
func withoutUnit(token string) string {
	unit := strings.TrimLeft(token, "+-.0123456789")
	number := token[:len(token)-len(unit)]
	if unit == "" || len(unit) > 12 || strings.ContainsAny(unit[:1], "eExX_") {
		return ""
	}
	for _, c := range unit {
		if !unicode.IsLetter(c) && !strings.ContainsRune("%°/$€", c) {
			return ""
		}
	}
	if err := checkFloat(number); err != nil {
		return ""
	}
	return number
}
