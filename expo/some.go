package expo

import (
	"fmt"
	"strings"
)

// Some lists what a message has room for: as many of the items as fit into so many bytes, one at least, and how many
// more there are of the total.
func Some(items []string, total, room int) string {
	n, size := 0, 0
	for n < len(items) && (n == 0 || size+len(items[n]) <= room) {
		size += len(items[n]) + len(", ")
		n++
	}
	list := strings.Join(items[:n], ", ")
	if total > n {
		return fmt.Sprintf("%s and %d more", list, total-n)
	}
	return list
}
