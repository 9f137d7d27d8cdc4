package test

import (
	"testing"

	"pushquorum/test/local"
)

var ports local.Ports

// freePort is a port p of 127.0.0.1 where nothing listened a moment ago, neither on p nor on p+1, with TCP or UDP. No
// test gets one that another test of this run had; another program may still take it, and then the start is tried
// again.
func freePort(t testing.TB) int {
	t.Helper()
	port, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
