// Command golang pushes with client_golang, as test/clients/README.md has it. It is built twice: with the version that
// the module has, and, by way of golang-1.1.0, with one of 2019.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/push"
)

func main() {
	err := run(os.Args[1:], os.Stdin)
	switch {
	case err == nil:
		fmt.Println("taken")
	case strings.Contains(err.Error(), "unexpected status code"):
		_, rest, _ := strings.Cut(err.Error(), "unexpected status code ")
		fmt.Println("refused", strings.TrimSpace(rest))
		os.Exit(1)
	case strings.Contains(err.Error(), "://"): // as net/http's errors begin, with the URL
		fmt.Println("unanswered", err)
		os.Exit(2)
	default:
		fmt.Println("unsent", err)
		os.Exit(3)
	}
}

func run(args []string, metrics io.Reader) error {
	if len(args) < 3 {
		return errors.New("want push|add|delete URL JOB [LABEL=VALUE…]")
	}
	pusher := push.New(args[1], args[2])
	for _, label := range args[3:] {
		name, value, _ := strings.Cut(label, "=")
		pusher.Grouping(name, value)
	}
	if args[0] == "delete" {
		return pusher.Delete()
	}
	gauges, err := read(metrics)
	if err != nil {
		return err
	}
	for _, gauge := range gauges {
		pusher.Collector(gauge)
	}
	if args[0] == "add" {
		return pusher.Add()
	}
	return pusher.Push()
}

// read makes a gauge of each name.
func read(metrics io.Reader) (map[string]*prometheus.GaugeVec, error) {
	gauges := map[string]*prometheus.GaugeVec{}
	lines := bufio.NewScanner(metrics)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 {
			return nil, fmt.Errorf("want NAME PART VALUE, got %q", lines.Text())
		}
		value, err := strconv.ParseFloat(fields[2], 64)
		if err != nil {
			return nil, err
		}
		gauge := gauges[fields[0]]
		if gauge == nil {
			opts := prometheus.GaugeOpts{Name: fields[0], Help: "A gauge of the clients' tests."}
			gauge = prometheus.NewGaugeVec(opts, []string{"part"})
			gauges[fields[0]] = gauge
		}
		gauge.WithLabelValues(fields[1]).Set(value)
	}
	return gauges, lines.Err()
}
