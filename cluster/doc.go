// Package cluster makes one replicated log out of several replicas: who is there (gossip), what is agreed
// (Raft), where a command goes (forwarding) and when a read may be answered (read barrier).
//
// A [Replica] owns one data directory and one [fsm.FSM]. [Open] checks every byte of the directory that matters
// and starts Raft; [Replica.Run] does the background work; [Replica.Apply] replicates a command from any replica,
// at most once; [Replica.ReadBarrier] returns when the local FSM holds everything that was acknowledged anywhere
// before the call. Without a listen address the same code is a cluster of one that opens no port.
//
// What may fail and what then still holds is told in DESIGN.md, beside this file.
package cluster
