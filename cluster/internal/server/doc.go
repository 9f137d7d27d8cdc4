// Package server is how a replica is written into Raft's configuration. It is a leaf, because the data directory reads
// such an address, and so does whoever dials one.
package server
