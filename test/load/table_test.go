package main

import (
	"strings"
	"testing"
	"time"
)

func TestAFigureIsWrittenWithThreeDigits(t *testing.T) {
	for want, f := range map[string]figure{
		"0.420 ms":  duration(420 * time.Microsecond),
		"1.25 ms":   duration(1250 * time.Microsecond),
		"36.2 ms":   duration(36_200 * time.Microsecond),
		"998 ms":    duration(998 * time.Millisecond),
		"1.87 s":    duration(1872 * time.Millisecond),
		"5,566/s":   {5566.4, perSecond},
		"530 MB":    bytesOf(530_000_000),
		"1,234,567": {1_234_567, count},
		"12.0":      {12, count},
		"–":         {},
	} {
		if got := f.String(); got != want {
			t.Errorf("want %s, got %s", want, got)
		}
	}
}

func TestABarIsMetOrNotOrNotMeasured(t *testing.T) {
	rate := func(v float64) figure { return figure{v, perSecond} }
	for name, c := range map[string]struct {
		row  row
		want verdict
	}{
		"fast enough": {
			row{ours: rate(150), theirs: rate(100), bar: bar{kind: atLeastTimes, limit: 1.5}}, met,
		},
		"too slow": {
			row{ours: rate(149), theirs: rate(100), bar: bar{kind: atLeastTimes, limit: 1.5}}, notMet,
		},
		"not too long": {
			row{ours: duration(20), theirs: duration(10), bar: bar{kind: atMostTimes, limit: 2}}, met,
		},
		"too long": {
			row{ours: duration(21), theirs: duration(10), bar: bar{kind: atMostTimes, limit: 2}}, notMet,
		},
		"small enough": {
			row{ours: bytesOf(200), bar: bar{kind: atMost, limit: 200, unit: byteCount}}, met,
		},
		"too large": {
			row{ours: bytesOf(201), bar: bar{kind: atMost, limit: 200, unit: byteCount}}, notMet,
		},
		"a bar of another unit": {
			row{ours: rate(1), bar: bar{kind: atMost, limit: 200, unit: byteCount}}, notMeasured,
		},
		"a peer that is missing": {row{
			ours: rate(150), bar: bar{kind: atLeastTimes, limit: 1.5}, missing: missingPeer{"etcd", "etcd-server", "X"},
		}, notMeasured},
		"a missing peer without bar": {
			row{ours: rate(150), missing: missingPeer{"etcd", "etcd-server", "X"}}, notMeasured,
		},
		"a figure without bar":        {row{ours: rate(150), theirs: rate(100)}, noVerdict},
		"a figure that was not taken": {row{theirs: rate(100), bar: bar{kind: atMostTimes, limit: 2}}, notMeasured},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.row.verdict(); got != c.want {
				t.Errorf("want %s, got %s: %v", c.want, got, c.row.cells())
			}
		})
	}
}

func TestTheTableNamesWhatIsMissingAndWhatFailed(t *testing.T) {
	var all table
	all.add(row{
		name: "push rate", ours: figure{150, perSecond}, peer: "Pushgateway", theirs: figure{100, perSecond},
		bar: bar{kind: atLeastTimes, limit: 1.5},
	})
	for range 2 {
		all.add(row{
			name: "puts", ours: figure{150, perSecond}, peer: "etcd", bar: bar{kind: atLeastTimes, limit: 1},
			missing: missingPeer{"etcd", "etcd-server", "PUSHQUORUM_ETCD"},
		})
	}
	all.failures = append(all.failures, "wipe: a reason")
	got := all.markdown("PushQuorum")
	for _, want := range []string{"1.50 ×", "1 of 3 bars are met", "etcd is missing: apt-get install etcd-server, or " +
		"name a binary with PUSHQUORUM_ETCD", "**Failed:** wipe: a reason"} {
		if strings.Count(got, want) != 1 {
			t.Errorf("want once: %s\n%s", want, got)
		}
	}
	width := 0
	for line := range strings.Lines(got) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		if n := len([]rune(line)); width == 0 {
			width = n
		} else if n != width {
			t.Errorf("a line of %d characters among lines of %d: %s", n, width, line)
		}
	}
}

func TestOneSectionOfTheResultsIsReplaced(t *testing.T) {
	first := withSection("", scaleSection, "old scale")
	both := withSection(first, benchSection, "| a | table |\n\nand more\n")
	again := withSection(both, scaleSection, "new scale\n")
	if want := resultsTitle + "\n" + benchSection + "\n\n| a | table |\n\nand more\n\n" + scaleSection +
		"\n\nnew scale\n"; again != want {
		t.Errorf("want:\n%s\ngot:\n%s", want, again)
	}
	if again != withSection(again, scaleSection, "new scale") {
		t.Error("the same section again changes the file")
	}
}
