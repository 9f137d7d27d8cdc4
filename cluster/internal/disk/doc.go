// Package disk is a replica's data directory: who the replica is, its log with what makes it a chain, term and vote,
// and snapshots. A directory is checked from the outside in before it is used, and a damaged one is refused with the
// name of the file. Afterwards it is watched: whether it is still the one that is open, whether it takes writes, and
// how much room there is. It knows no network, no gossip and no state machine: what is in an entry or a snapshot it is
// told by who opens it.
package disk
