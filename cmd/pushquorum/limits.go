package main

import (
	"fmt"

	"github.com/alecthomas/units"

	"pushquorum/fsm"
)

const (
	processMemory = 64 << 20 // what a process takes that stores nothing, with the requests it remembers
	leastState    = 8 << 20  // what may be stored however little memory there is
	stateShares   = 4        // into how many parts the rest is divided, of which the state may take one
)

// stateShare is what the state may take of so many bytes of memory, unless --limit.state-bytes says otherwise. The rest is
// for what comes with a state of that size: garbage between two collections, the pages of scrapes, the snapshot that is
// being written or restored beside the state, the log that is replayed. 0, for no limit, where it is not known how much
// there is.
func stateShare(memory int64) int64 {
	if memory <= 0 {
		return 0
	}
	return max(leastState, (memory-processMemory)/stateShares)
}

// stateBytes is the value of --limit.state-bytes.
type stateBytes int64

const noStateLimit stateBytes = -1

// Set implements kingpin.Value.
func (s *stateBytes) Set(text string) error {
	if text == "off" {
		*s = noStateLimit
		return nil
	}
	n, err := units.ParseBase2Bytes(text)
	if err != nil || n < 0 {
		return fmt.Errorf("--limit.state-bytes=%s is no size: write one such as 512MB, 0 for a share of the memory, or off for no limit", text)
	}
	*s = stateBytes(n)
	return nil
}

// String implements kingpin.Value.
func (s *stateBytes) String() string {
	switch *s {
	case noStateLimit:
		return "off"
	case 0:
		return "0"
	default:
		return units.Base2Bytes(*s).String()
	}
}

// limit is what it comes to with so many bytes of memory.
func (s stateBytes) limit(memory int64) int64 {
	switch s {
	case noStateLimit:
		return 0
	case 0:
		return stateShare(memory)
	default:
		return int64(s)
	}
}

// checkLimits refuses limits that are none.
func checkLimits(l fsm.Limits) error {
	for flag, n := range map[string]int{"groups": l.Groups, "series": l.Series, "series-per-group": l.SeriesPerGroup} {
		if n < 0 {
			return fmt.Errorf("--limit.%s=%d is no limit: write how many may be stored, or 0 for no limit", flag, n)
		}
	}
	return nil
}
