// Package powerfs is a file system in memory that can lose its power: what was written and not fsynced is then lost, in
// part or whole, as POSIX allows. It is mounted with FUSE as the data directory of a replica, and can also be made slow
// or full.
//
// What survives a power loss:
//
//   - of a file, what it held at its last fsync, and of what was written since a random choice of its 512-byte sectors:
//     a disk may write them in any order, and it writes a sector whole or not at all;
//   - of the directories, what they held at their last fsync, and of the changes since a random number of the first
//     ones: file systems keep a journal of these. Fsyncing a file does not make its name durable; fsyncing its
//     directory does.
package powerfs
