package main

import (
	"fmt"

	"github.com/alecthomas/units"
)

// minFree is the value of --storage.min-free, as [cluster.Config] has it.
type minFree int64

// Set implements kingpin.Value.
func (m *minFree) Set(text string) error {
	if text == "auto" {
		*m = 0
		return nil
	}
	n, err := units.ParseBase2Bytes(text)
	if text == "0" {
		n, err = 0, nil
	}
	switch {
	case err != nil || n < 0:
		return fmt.Errorf("--storage.min-free=%s is no size: write auto, 0, or bytes such as --storage.min-free=500MB", text)
	case n == 0:
		*m = -1
	default:
		*m = minFree(n)
	}
	return nil
}

// String implements kingpin.Value.
func (m *minFree) String() string {
	switch {
	case *m == 0:
		return "auto"
	case *m < 0:
		return "0"
	}
	return units.Base2Bytes(*m).String()
}
