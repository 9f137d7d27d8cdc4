// Package fsm is the replicated state machine: the commands that stand in the Raft log, and the store of pushed groups
// that applying them in order makes.
//
// It is deterministic. Applying reads no clock, no flag, no random source and never lets the order of a Go map show, so
// that replicas which applied the same log hold the same state, write the same exposition and have the same state hash.
// It knows nothing of HTTP or of the network; Raft reaches it through raft.FSM, readers through View.
//
// DESIGN.md says why it is shaped as it is.
package fsm
