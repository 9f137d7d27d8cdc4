package api

import (
	"strings"

	"pushquorum/expo"
)

// What one page shows at most, so that it stays small and usable however much is stored.
const (
	maxUIGroups = 1000
	maxUISeries = 20000
	maxUIBytes  = 4 << 20

	maxShownText    = 1 << 10 // bytes of a label, a name or a help
	maxShownValue   = 8 << 10 // of a value: a histogram has a line for each bucket
	maxShownLink    = 8 << 10 // of a group's path: few servers take longer ones
	maxShownMetric  = 8 << 10 // as it is stored: a larger one is not decoded
	maxShownBuckets = 256     // of a native histogram: they take about maxShownValue
)

// About how many bytes of HTML there are beside the texts.
const (
	groupMarkup  = 600
	familyMarkup = 250
	seriesMarkup = 60
)

// uiRoom is how much more the page can show.
type uiRoom struct{ groups, series, bytes int }

func newUIRoom() *uiRoom { return &uiRoom{maxUIGroups, maxUISeries, maxUIBytes} }

// spend takes the room for one thing, and returns whether there was any. The last thing may be larger than what was
// left.
func (room *uiRoom) spend(count *int, bytes int) bool {
	if *count == 0 || room.bytes <= 0 {
		return false
	}
	*count--
	room.bytes -= bytes
	return true
}

func (room *uiRoom) group() bool     { return room.spend(&room.groups, groupMarkup) }
func (room *uiRoom) oneSeries() bool { return room.spend(&room.series, seriesMarkup) }

func (room *uiRoom) family() bool {
	if room.bytes <= 0 {
		return false
	}
	room.bytes -= familyMarkup
	return true
}

func (room *uiRoom) text(s string) string { return room.cut(s, maxShownText, 1) }
func (room *uiRoom) long(s string) string { return room.cut(s, maxShownValue, 1) }

// twice is text that the page shows twice.
func (room *uiRoom) twice(s string) string { return room.cut(s, maxShownText, 2) }

// link returns a path, or "" if it is too long, because a part of it leads nowhere.
func (room *uiRoom) link(path string) string {
	if len(path) > maxShownLink {
		return ""
	}
	return room.cut(path, maxShownLink, 1)
}

// cut returns s, or its beginning and how long it is, and spends the room for it.
func (room *uiRoom) cut(s string, most, times int) string {
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
