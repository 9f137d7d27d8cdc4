package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// row is what came of an attack, or of what came after.
type row struct {
	name           string
	attack, normal codes
	scrape, push   time.Duration // the slowest of the normal client's
	charged, rss   int64         // the most of any replica
	took           time.Duration
	endless        bool // the attack was never refused
	err            error
}

// table is told row by row: a run takes minutes.
type table struct {
	out  io.Writer
	room room
	rows []row
}

func newTable(out io.Writer, r room) *table {
	t := &table{out: out, room: r}
	given := []string{fmt.Sprintf("%d replicas", r.replicas), fmt.Sprintf("%d MB of memory each", r.memory/megabyte)}
	if r.cpus > 0 {
		given = append(given, fmt.Sprintf("%g of a processor each", r.cpus))
	}
	if r.disk > 0 {
		given = append(given, fmt.Sprintf("a file system of %d MB each", r.disk/megabyte))
	}
	t.line("")
	t.line("%s: %s; a normal client is answered within %s", r.name, strings.Join(given, ", "), r.within)
	t.line("%-17s %8s %8s %9s %9s %6s  %-40s %-28s %s", "attack", "scrape", "push", "memory", "own", "took",
		"attackers", "normal client",
		"verdict")
	return t
}

func (t *table) line(format string, args ...any) { _, _ = fmt.Fprintf(t.out, format+"\n", args...) }

func (t *table) add(r row) {
	t.rows = append(t.rows, r)
	verdict := "good"
	if r.endless {
		verdict = "good, but never full"
	}
	if r.err != nil {
		verdict = "BAD"
	}
	t.line("%-17s %8s %8s %6d MB %6d MB %4.0f s  %-40s %-28s %s", r.name, milliseconds(r.scrape), milliseconds(r.push),
		r.charged/megabyte, r.rss/megabyte, r.took.Seconds(), r.attack, r.normal, verdict)
	if r.err != nil {
		t.line("    %s", strings.ReplaceAll(r.err.Error(), "\n", "\n    "))
	}
}

func milliseconds(d time.Duration) string {
	if d == 0 {
		return "–"
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

func (t *table) bad() (n int) {
	for _, r := range t.rows {
		if r.err != nil {
			n++
		}
	}
	return n
}
