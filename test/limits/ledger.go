package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// ledger is what was acknowledged: series, as a page in text shows them, and the values that each may have there. All
// of it has to be on every page that is asked for later.
type ledger struct {
	mu     sync.Mutex
	groups map[string]map[string]*booked // path of the group → series
}

// booked is what a series may show: the value that was acknowledged last, or one of those whose outcome is unknown,
// which may be applied at any later time.
type booked struct {
	value   string // "" any
	unknown []string
	maybe   bool // it may be there or not
}

func newLedger() *ledger { return &ledger{groups: map[string]map[string]*booked{}} }

// pushed books a push that was acknowledged.
func (l *ledger) pushed(path, series, value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.of(path, series)
	b.value, b.maybe = value, false
}

// mayBe books a push whose outcome is unknown.
func (l *ledger) mayBe(path, series, value string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := l.groups[path][series] != nil
	b := l.of(path, series)
	b.unknown = append(b.unknown, value)
	b.maybe = b.maybe || !known
}

func (l *ledger) of(path, series string) *booked {
	if l.groups[path] == nil {
		l.groups[path] = map[string]*booked{}
	}
	if l.groups[path][series] == nil {
		l.groups[path][series] = &booked{}
	}
	return l.groups[path][series]
}

// deletes says that the group is being deleted: until that is known, it may be there or not.
func (l *ledger) deletes(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.groups[path] {
		b.maybe = true
	}
}

// deleted books a delete that was acknowledged.
func (l *ledger) deleted(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.groups, path)
}

// clear forgets all: nothing is stored any more, or nothing can be said of it.
func (l *ledger) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.groups)
}

// paths are those of the groups that are booked and begin with the prefix, sorted.
func (l *ledger) paths(prefix string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Sorted(maps.Keys(l.groups))
	return slices.DeleteFunc(all, func(path string) bool { return !strings.HasPrefix(path, prefix) })
}

// check says what a page lacks, or shows otherwise than it was acknowledged. Nobody may be writing.
func (l *ledger) check(page string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	missing := map[string]*booked{}
	for _, series := range l.groups {
		maps.Copy(missing, series)
	}
	all := len(missing)
	var wrong []string
	for line := range strings.Lines(page) {
		end := strings.LastIndexByte(line, ' ')
		if end < 0 || line[0] == '#' {
			continue
		}
		b := missing[line[:end]]
		if b == nil {
			continue
		}
		delete(missing, line[:end])
		value := strings.TrimSpace(line[end:])
		if b.value != "" && b.value != value && !slices.Contains(b.unknown, value) {
			wrong = append(wrong, fmt.Sprintf("%s shows %s after %s was acknowledged", line[:end], value, b.value))
		}
	}
	for series, b := range missing {
		if !b.maybe {
			wrong = append(wrong, series+" was acknowledged and is not there")
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	return fmt.Errorf("of %d series that were acknowledged, %d are wrong: %s", all, len(wrong),
		strings.Join(wrong[:min(3, len(wrong))], "; "))
}
