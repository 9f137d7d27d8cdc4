package page

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"

	"pushquorum/expo"
)

// A page is compressed piece by piece, each piece on its own, so that one of them can be replaced. In gzip a piece is a
// few whole deflate blocks that end at a byte, in zstd it is a frame. The trailer of gzip is computed from the pieces'
// sizes and checksums.

// packed is a piece of a page as it goes out.
type packed struct {
	content []byte
	// size is the number of bytes before they were packed. sum is their CRC-32 and shift is crcShift(size): gzip alone
	// needs these two.
	size       int
	sum, shift uint32
}

// addTo returns the CRC-32 of some bytes, of which sum is the CRC-32, followed by those of the piece.
func (p *packed) addTo(sum uint32) uint32 {
	if p.shift == 0 {
		return sum
	}
	return crcMultiply(sum, p.shift) ^ p.sum
}

// packer packs one piece after the other. It is pooled for its memory: it holds nothing else that the next piece could
// see.
type packer struct {
	deflate *flate.Writer
	zstd    *zstd.Encoder
	raw     []byte // for the caller, to collect the next piece in
	lines   []span // for the caller, where the lines of each part are in raw
	out     bytes.Buffer
	frame   []byte
}

// packerPool holds memory and nothing else.
var packerPool = sync.Pool{New: func() any { return new(packer) }}

func takePacker() *packer { return packerPool.Get().(*packer) }

// maxPackerBuffer is the largest buffer that is kept for the next piece, in bytes: a few pieces are far larger than the
// others.
const maxPackerBuffer = 16 * expo.PieceBytes

func (p *packer) giveBack() {
	if cap(p.raw) > maxPackerBuffer {
		p.raw, p.lines = nil, nil
	}
	if cap(p.frame) > maxPackerBuffer {
		p.frame = nil
	}
	if p.out.Cap() > maxPackerBuffer {
		p.out = bytes.Buffer{}
	}
	packerPool.Put(p)
}

func checkEncoding(encoding string) error {
	switch encoding {
	case Identity, Gzip, Zstd:
		return nil
	}
	return fmt.Errorf("unknown encoding %s: use %s, %s or %s", expo.Quote(encoding), Identity, Gzip, Zstd)
}

// pack returns raw in one of the encodings that NegotiateEncoding returns.
func (p *packer) pack(raw []byte, encoding string) (packed, error) {
	out := packed{size: len(raw)}
	switch encoding {
	case Gzip:
		if p.deflate == nil {
			var err error
			// Scrapes are frequent, and text is easy to compress: DESIGN.md compares the levels.
			if p.deflate, err = flate.NewWriter(nil, flate.BestSpeed); err != nil {
				return out, fmt.Errorf("making a deflate writer: %w", err)
			}
		}
		p.out.Reset()
		p.deflate.Reset(&p.out)
		if _, err := p.deflate.Write(raw); err != nil {
			return out, fmt.Errorf("compressing: %w", err)
		}
		if err := p.deflate.Flush(); err != nil {
			return out, fmt.Errorf("compressing: %w", err)
		}
		out.content = bytes.Clone(p.out.Bytes())
		out.sum, out.shift = crc32.ChecksumIEEE(raw), crcShift(len(raw))
	case Zstd:
		if p.zstd == nil {
			var err error
			p.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
				zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(512<<10), zstd.WithLowerEncoderMem(true))
			if err != nil {
				return out, fmt.Errorf("making a zstd encoder: %w", err)
			}
		}
		p.frame = p.zstd.EncodeAll(raw, p.frame[:0])
		out.content = slices.Clone(p.frame)
	default:
		out.content = bytes.Clone(raw)
	}
	return out, nil
}

// around returns what stands before and after the pieces of a page. size and sum are the length in bytes and the CRC-32
// of the page before it was packed.
func around(encoding string, size int64, sum uint32) (before, after []byte) {
	if encoding != Gzip {
		return nil, nil
	}
	// The method is deflate, there is no time, it was compressed fast, by an unknown system (RFC 1952).
	before = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255}
	after = []byte{3, 0} // a last block without content (RFC 1951)
	after = binary.LittleEndian.AppendUint32(after, sum)
	return before, binary.LittleEndian.AppendUint32(after, uint32(size)) // modulo 2^32, as it is defined
}
