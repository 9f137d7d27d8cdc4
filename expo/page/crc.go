package page

import "hash/crc32"

// The CRC-32 of a text is the remainder of a division by a polynomial over GF(2). So the CRC-32 of two texts, one after
// the other, follows from those of each: crc(a+b) = crc(a)·x^(8·len(b)) + crc(b). The sums are inverted before and
// after; that cancels out. The idea is that of zlib's crc32_combine (M. Adler). Bits are as in hash/crc32: the highest
// one is the coefficient of x^0.

// crcShift returns x^(8n): what a CRC-32 is multiplied by when n bytes follow.
func crcShift(n int) uint32 {
	product, square := uint32(1)<<31, uint32(1)<<23 // x^0 and x^8
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			product = crcMultiply(product, square)
		}
		square = crcMultiply(square, square)
	}
	return product
}

// crcMultiply multiplies two polynomials modulo that of CRC-32.
func crcMultiply(a, b uint32) uint32 {
	var product uint32
	for ; a != 0; a <<= 1 {
		product ^= b & -(a >> 31)
		b = b>>1 ^ crc32.IEEE&-(b&1) // times x
	}
	return product
}
