//go:build race

package test

// underRace: the replicas are built with the race detector when the tests are.
const underRace = true
