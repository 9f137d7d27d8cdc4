package main

import (
	"fmt"

	"github.com/alecthomas/kingpin/v2"
	"github.com/alecthomas/units"
)

// autoBytes is the value of a flag that is a number of bytes, 0 for no bound, or auto for what suits the machine.
type autoBytes struct {
	flag  string
	auto  bool
	bytes int64
}

// autoBytesFlag defines a flag of that kind, which is auto by default.
func autoBytesFlag(app *kingpin.Application, name, help string) *autoBytes {
	b := &autoBytes{flag: name}
	app.Flag(name, help).Default("auto").SetValue(b)
	return b
}

// Set implements kingpin.Value.
func (b *autoBytes) Set(text string) error {
	switch text {
	case "auto":
		b.auto, b.bytes = true, 0
		return nil
	case "0":
		b.auto, b.bytes = false, 0
		return nil
	}
	n, err := units.ParseBase2Bytes(text)
	if err != nil || n < 0 {
		return fmt.Errorf("--%s=%s is no size: write auto, 0, or bytes such as --%s=500MB", b.flag, text, b.flag)
	}
	b.auto, b.bytes = false, int64(n)
	return nil
}

// String implements kingpin.Value.
func (b *autoBytes) String() string {
	switch {
	case b.auto:
		return "auto"
	case b.bytes == 0:
		return "0"
	}
	return units.Base2Bytes(b.bytes).String()
}

// or is the number of bytes, or what is given for auto.
func (b *autoBytes) or(suitable int64) int64 {
	if b.auto {
		return suitable
	}
	return b.bytes
}
