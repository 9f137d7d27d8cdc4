package api

import (
	"strings"

	"pushquorum/expo"
)

// What one page shows at most, so that it stays usable, and small, however much is stored.
const (
	maxPageGroups = 1000
	maxPageSeries = 20000
	maxPageBytes  = 4 << 20

	maxShownText    = 1 << 10 // bytes of a label, a name or a help
	maxShownValue   = 8 << 10 // of a value: a histogram has a line for each bucket
	maxShownLink    = 8 << 10 // of a group's path: few servers take longer ones
	maxShownMetric  = 8 << 10 // as it is stored: a larger one is not decoded
	maxShownBuckets = 256     // of a native histogram: they take about maxShownValue
)

// About how many bytes of the page there are beside the texts.
const (
	groupMarkup  = 600
	familyMarkup = 250
	seriesMarkup = 60
)

// pageRoom is what there is left of a page.
type pageRoom struct{ groups, series, bytes int }

func newPageRoom() *pageRoom { return &pageRoom{maxPageGroups, maxPageSeries, maxPageBytes} }

// take takes room for something, if there is any left. The last thing that fits may be larger than what is left.
func (room *pageRoom) take(count *int, bytes int) bool {
	if *count == 0 || room.bytes <= 0 {
		return false
	}
	*count--
	room.bytes -= bytes
	return true
}

func (room *pageRoom) group() bool     { return room.take(&room.groups, groupMarkup) }
func (room *pageRoom) oneSeries() bool { return room.take(&room.series, seriesMarkup) }

func (room *pageRoom) family() bool {
	if room.bytes <= 0 {
		return false
	}
	room.bytes -= familyMarkup
	return true
}

func (room *pageRoom) text(s string) string { return room.cut(s, maxShownText, 1) }
func (room *pageRoom) long(s string) string { return room.cut(s, maxShownValue, 1) }

// twice is text that the page says twice.
func (room *pageRoom) twice(s string) string { return room.cut(s, maxShownText, 2) }

// link returns a path, or none if it is too long: half of it leads nowhere.
func (room *pageRoom) link(path string) string {
	if len(path) > maxShownLink {
		return ""
	}
	return room.cut(path, maxShownLink, 1)
}

// cut returns s, or its beginning and how long it is, and takes the room for it.
func (room *pageRoom) cut(s string, most, times int) string {
	s = expo.Shorten(s, most)
	room.bytes -= times * htmlLen(s)
	return s
}

// htmlLen is about how many bytes a text has in HTML.
func htmlLen(s string) int {
	n := len(s)
	for _, special := range []string{"&", "<", ">", "\"", "'", "+", "\x00"} {
		n += 4 * strings.Count(s, special)
	}
	return n
}
