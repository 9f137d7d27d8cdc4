package expo

import (
	"crypto/sha256"

	dto "github.com/prometheus/client_model/go"
)

// SeriesID stands for a series: the first 16 bytes of the SHA-256 of its name and its
// sorted labels, each ended by a byte that UTF-8 does not have. Two IDs are equal exactly
// when the series are; that holds against an adversary, too.
type SeriesID [16]byte

// SeriesIDOf returns the ID of the series with these labels, which are sorted. scratch
// is used for the bytes that are hashed, and returned for the next call.
func SeriesIDOf(scratch []byte, name string, labels []*dto.LabelPair) (SeriesID, []byte) {
	scratch = append(scratch[:0], name...)
	scratch = append(scratch, separator)
	for _, l := range labels {
		scratch = append(scratch, l.GetName()...)
		scratch = append(scratch, separator)
		scratch = append(scratch, l.GetValue()...)
		scratch = append(scratch, separator)
	}
	return hashSeries(scratch), scratch
}

// hashSeries returns the ID for the bytes described there.
func hashSeries(b []byte) SeriesID {
	sum := sha256.Sum256(b)
	return SeriesID(sum[:len(SeriesID{})])
}
