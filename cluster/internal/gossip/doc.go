// Package gossip is who is there: memberlist, what replicas tell about themselves, where --cluster.peer leads, and
// which addresses a replica listens on and tells the others. It decides nothing: a vote, a promise or an
// acknowledgement is not its business, and it knows neither Raft nor the disk.
//
// Why clusters whose gossip meets stay apart is told in DESIGN.md, beside this file.
package gossip
