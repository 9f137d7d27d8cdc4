// Package raftnet is how replicas talk to one another: one peer port, at which each connection says what it is for and
// whom it is meant for; the streams and the transport of Raft; and calls between replicas. It knows no state machine
// and none of the questions that are asked: those and their answers it carries as they are, and hands on.
//
// Why a connection names the replica that it is meant for, and when one is given up, is told in DESIGN.md, beside this
// file.
package raftnet
