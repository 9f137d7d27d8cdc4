// Package wal keeps a replica's log in segments, with raft-wal and what is mended around it: the list of the segments
// has a checksum, what a crash or a full disk leaves of a segment's end is completed or taken away, entries are encoded
// in memory that is used again, and a log that cannot be opened any more can be read and cut. It knows entries and
// files, but neither what an entry means nor how entries hang together, nor that there are other replicas.
package wal
