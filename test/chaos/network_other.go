//go:build !linux

package main

import (
	"errors"
	"math/rand/v2"
)

// network is the network of namespaces, on Linux alone.
type network struct{ ports []*port }

type port struct{ thread *thread }

var errNoNetwork = errors.New("network namespaces are used on Linux only")

func newNetwork(int, *rand.Rand) (*network, error) { return nil, errNoNetwork }
func tryNetwork() error                            { return errNoNetwork }
func (*network) readdress(int) error               { return errNoNetwork }
func (*network) set(int, int, weather)             {}
func (*network) addr(int) string                   { return "" }
func (*network) close()                            {}
