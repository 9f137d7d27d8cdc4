package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// row is what clients saw of one disturbance.
type row struct {
	name         string
	sent, failed int           // pushes
	gap          time.Duration // the longest time without an acknowledged push, of any kind of client
	failing      time.Duration // from the first failed push to the last
	scrapes      scraping      // through the Service for clients
	reads        scraping      // through the one for scraping
	reasons      string        // why some have failed
}

// scraping is how a scraper fared.
type scraping struct {
	sent, failed int
	gap          time.Duration // without a page
}

// table is told step by step: a run takes minutes.
type table struct {
	mu     sync.Mutex
	out    io.Writer
	began  time.Time
	rows   []row
	steps  int
	failed []string
}

func newTable(out io.Writer) *table { return &table{out: out, began: time.Now()} }

func (t *table) line(format string, args ...any) {
	_, _ = fmt.Fprintf(t.out, "kubernetes: "+format+"\n", args...)
}

func (t *table) fail(err error) {
	t.line("FAILED: %s", strings.ReplaceAll(err.Error(), "\n", "\n    "))
}

// step says that one is over, and how long it took.
func (t *table) step(name string, took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps++
	verdict := "good"
	if err != nil {
		verdict = "BAD"
		t.failed = append(t.failed, name)
	}
	t.line("%6.1f s  %-4s  %s", took.Seconds(), verdict, name)
	if err != nil {
		t.line("    %s", strings.ReplaceAll(err.Error(), "\n", "\n    "))
	}
}

func (t *table) add(r row) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
	t.line("%s: %d of %d pushes failed%s", r.name, r.failed, r.sent, strings.ReplaceAll(r.reasons, "\n", "\n    "))
}

func (t *table) bad() int { return len(t.failed) }

// summary is the table of disturbances, and how many steps were good.
func (t *table) summary() {
	if len(t.rows) > 0 {
		t.line("")
		t.line("| disturbance | pushes | failed | longest gap | scrapes | failed | longest gap | through -read | " +
			"failed | longest gap |")
		t.line("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	}
	for _, r := range t.rows {
		t.line("| %s | %d | %d | %.2f s | %d | %d | %.2f s | %d | %d | %.2f s |", r.name, r.sent, r.failed,
			r.gap.Seconds(),
			r.scrapes.sent, r.scrapes.failed, r.scrapes.gap.Seconds(),
			r.reads.sent, r.reads.failed, r.reads.gap.Seconds())
	}
	t.line("")
	t.line("%.0f s in all", time.Since(t.began).Seconds())
	t.line("%d passed, %d failed", t.steps-t.bad(), t.bad())
	for _, name := range t.failed {
		t.line("failed: %s", name)
	}
}
