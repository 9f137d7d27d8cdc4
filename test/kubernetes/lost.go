package main

import (
	"bufio"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var disturbedLine = regexp.MustCompile(`^disturbed\{(.*)\} (\S+)$`)

// lookFor looks for each acknowledged push on a replica's page.
func (c *clients) lookFor(ctx context.Context, url string) error {
	page, err := freshPage(ctx, url)
	if err != nil {
		return err
	}
	found := map[string]float64{}
	for lines := bufio.NewScanner(strings.NewReader(page)); lines.Scan(); {
		parts := disturbedLine.FindStringSubmatch(lines.Text())
		if parts == nil {
			continue
		}
		label := map[string]string{}
		for _, pair := range strings.Split(parts[1], ",") {
			name, value, _ := strings.Cut(pair, "=")
			label[name] = strings.Trim(value, `"`)
		}
		if value, err := strconv.ParseFloat(parts[2], 64); err == nil && label["job"] == c.job {
			found[fmt.Sprintf("%s/worker/%s/n/%s", label["kind"], label["worker"], label["n"])] = value
		}
	}
	lost, example := 0, ""
	for labels, value := range c.acked {
		if found[labels] != float64(value) {
			lost++
			example = labels
		}
	}
	if lost > 0 {
		return fmt.Errorf("%s lacks %d of %d acknowledged pushes, %s for one", url, lost, len(c.acked), example)
	}
	return nil
}
