package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// codes counts answers by status; 0 is none.
type codes map[int]int

func (c codes) saw(a answer, err error) {
	if err != nil {
		a.status = 0
	}
	c[a.status]++
}

func (c codes) String() string {
	var out []string
	for _, status := range slices.Sorted(maps.Keys(c)) {
		text := fmt.Sprintf("%d×%d", c[status], status)
		if status == 0 {
			text = fmt.Sprintf("%d×cut", c[status])
		}
		out = append(out, text)
	}
	if len(out) == 0 {
		return "–"
	}
	return strings.Join(out, " ")
}
