package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// figure is a number that was measured.
type figure struct {
	value float64
	unit  unit
}

type unit int

const (
	none unit = iota // not measured
	seconds
	perSecond
	byteCount
	count
)

func duration(d time.Duration) figure { return figure{d.Seconds(), seconds} }

func bytesOf(n int64) figure { return figure{float64(n), byteCount} }

// String writes about three digits.
func (f figure) String() string {
	switch f.unit {
	case seconds:
		if f.value >= 1 {
			return digits(f.value) + " s"
		}
		return digits(f.value*1e3) + " ms"
	case perSecond:
		return digits(f.value) + "/s"
	case byteCount:
		if f.value < 1e5 {
			return digits(f.value) + " B"
		}
		return digits(f.value/1e6) + " MB"
	case count:
		return digits(f.value)
	default:
		return "–"
	}
}

// digits writes v with three digits, or all that are before the point, in groups of three.
func digits(v float64) string {
	decimals := 0
	for limit := 100.0; v < limit && decimals < 2; limit /= 10 {
		decimals++
	}
	if v < 1 {
		decimals = 3
	}
	whole, rest, _ := strings.Cut(strconv.FormatFloat(v, 'f', decimals, 64), ".")
	if rest == "" {
		return grouped(whole)
	}
	return grouped(whole) + "." + rest
}

// whole writes a number of things.
func whole(n int) string { return grouped(strconv.Itoa(n)) }

func grouped(digits string) string {
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

// bar is what a figure has to reach. The zero bar is none: the figure is there to be known.
type bar struct {
	kind  barKind
	limit float64
	unit  unit // of an absolute limit
}

type barKind int

const (
	noBar barKind = iota
	atMostTimes
	atLeastTimes
	atMost
)

func (b bar) String() string {
	switch b.kind {
	case atMostTimes:
		if b.limit < 0.5 {
			return fmt.Sprintf("≤ 1/%.0f ×", 1/b.limit)
		}
		return fmt.Sprintf("≤ %.1f ×", b.limit)
	case atLeastTimes:
		return fmt.Sprintf("≥ %.1f ×", b.limit)
	case atMost:
		return "≤ " + figure{b.limit, b.unit}.String()
	default:
		return "–"
	}
}

// row is one figure beside its peer's.
type row struct {
	name string
	ours figure
	// peer names whose figure theirs is: a peer, or a PushQuorum in another state.
	peer   string
	theirs figure
	bar    bar
	// missing says why there is no figure of the peer.
	missing error
}

// ratio is ours to theirs, 0 when there is none.
func (r row) ratio() float64 {
	if r.ours.unit == none || r.theirs.unit == none || r.theirs.value == 0 {
		return 0
	}
	return r.ours.value / r.theirs.value
}

type verdict string

const (
	met         verdict = "yes"
	notMet      verdict = "**no**"
	notMeasured verdict = "**not measured**"
	noVerdict   verdict = "–"
)

func (r row) verdict() verdict {
	var good bool
	switch r.bar.kind {
	case noBar:
		if r.missing != nil {
			return notMeasured
		}
		return noVerdict
	case atMost:
		if r.ours.unit != r.bar.unit {
			return notMeasured
		}
		good = r.ours.value <= r.bar.limit
	case atMostTimes, atLeastTimes:
		ratio := r.ratio()
		if ratio == 0 {
			return notMeasured
		}
		good = ratio <= r.bar.limit
		if r.bar.kind == atLeastTimes {
			good = ratio >= r.bar.limit
		}
	}
	if good {
		return met
	}
	return notMet
}

func (r row) cells() []string {
	ratio := "–"
	if x := r.ratio(); x != 0 {
		ratio = strconv.FormatFloat(x, 'f', 2, 64) + " ×"
		if x < 0.1 {
			ratio = strconv.FormatFloat(x, 'f', 4, 64) + " ×"
		}
	}
	theirs := r.theirs.String()
	if r.missing != nil {
		theirs = "missing"
	}
	return []string{r.name, r.ours.String(), or(r.peer, "–"), theirs, ratio, r.bar.String(), string(r.verdict())}
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

// table is what a run came to.
type table struct {
	rows []row
	// failures are figures that could not be taken, and why.
	failures []string
}

func (t *table) add(r row) { t.rows = append(t.rows, r) }

func (t *table) markdown(ours string) string {
	lines := [][]string{{"what", ours, "against", "its figure", "ratio", "bar", "met"}}
	var missing []string
	bars, reached := 0, 0
	for _, r := range t.rows {
		lines = append(lines, r.cells())
		if r.missing != nil && !strings.Contains(strings.Join(missing, "\n"), r.missing.Error()) {
			missing = append(missing, "**"+r.missing.Error()+"**")
		}
		if r.bar.kind != noBar {
			bars++
		}
		if r.verdict() == met {
			reached++
		}
	}
	out := grid(lines) + fmt.Sprintf("\n%d of %d bars are met.\n", reached, bars)
	for _, m := range missing {
		out += "\n" + m + "\n"
	}
	for _, f := range t.failures {
		out += "\n**Failed:** " + f + "\n"
	}
	return out
}

// grid is a table that reads well both as Markdown and as it is. The first column is text and the others are numbers.
func grid(lines [][]string) string {
	widths := make([]int, len(lines[0]))
	for _, cells := range lines {
		for i, c := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	var out strings.Builder
	for n, cells := range lines {
		for i, c := range cells {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i == 0 {
				out.WriteString("| " + c + pad + " |")
			} else {
				out.WriteString(" " + pad + c + " |")
			}
		}
		out.WriteString("\n")
		if n == 0 {
			for i, w := range widths {
				if i == 0 {
					out.WriteString("| " + strings.Repeat("-", w) + " |")
				} else {
					out.WriteString(" " + strings.Repeat("-", w-1) + ": |")
				}
			}
			out.WriteString("\n")
		}
	}
	return out.String()
}
