//go:build race

package expo

// underRace tells whether the tests are built with the race detector.
const underRace = true
