package durable

import "hash/crc32"

// Castagnoli is the table of CRC-32C, the checksum of whatever this program writes to a disk.
func Castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }
