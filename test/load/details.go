package main

import (
	"fmt"
	"slices"
	"time"
)

// tally is what all windows of one service at one concurrency came to.
type tally struct {
	service, work string
	rates         []float64 // of each window
	samples       samples
	serverCPU     time.Duration // of all of its processes
	clientCPU     time.Duration // of the generator
}

func (t *tally) add(o outcome, server, client time.Duration) {
	t.rates = append(t.rates, o.rate())
	t.samples = append(t.samples, o.samples...)
	t.serverCPU += server
	t.clientCPU += client
}

// rate is the median of the windows' rates.
func (t *tally) rate() figure { return figure{median(t.rates), perSecond} }

func (t *tally) quantile(q float64) figure { return duration(t.samples.quantile(q)) }

// details is what lies behind the table: every load that was put on anyone.
type details struct{ tallies []*tally }

func (d *details) tally(s service, work string) *tally {
	i := slices.IndexFunc(d.tallies, func(t *tally) bool { return t.service == s.title() && t.work == work })
	if i >= 0 {
		return d.tallies[i]
	}
	t := &tally{service: s.title(), work: work}
	d.tallies = append(d.tallies, t)
	return t
}

func (d *details) markdown() string {
	lines := [][]string{{"pushes", "into", "rate", "p50", "p99", "most", "servers' CPU a push", "generator's"}}
	for _, t := range d.tallies {
		if len(t.samples) == 0 {
			continue
		}
		sorted := t.samples.sorted()
		n := time.Duration(len(sorted))
		lines = append(lines, []string{
			t.work, t.service, t.rate().String(),
			duration(quantile(sorted, 0.5)).String(), duration(quantile(sorted, 0.99)).String(),
			duration(sorted[n-1]).String(),
			fmt.Sprintf("%d µs", (t.serverCPU / n).Microseconds()),
			fmt.Sprintf("%d µs", (t.clientCPU / n).Microseconds()),
		})
	}
	if len(lines) == 1 {
		return ""
	}
	return grid(lines)
}
