// Package test tries the built binary from outside, as its users do: real processes on loopback, real clients, real
// peers, kill -9. It imports nothing of PushQuorum, so that it can only use what a user can use. README.md says how to
// run one test alone.
package test
