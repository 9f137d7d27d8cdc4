package expo

import (
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// The pools hold memory and nothing else: a writer is reset before it is used again. A
// compressor is hundreds of kilobytes, too much to allocate for every scrape.
var (
	gzipPool sync.Pool
	zstdPool sync.Pool
)

// Compress returns a writer that encodes what is written to it with one of the encodings
// that NegotiateEncoding returns, and writes it to w. Its Close ends the encoding and
// must be called; it does not close w.
func Compress(w io.Writer, encoding string) (io.WriteCloser, error) {
	switch encoding {
	case Identity, "":
		return plainWriter{w}, nil
	case Gzip:
		z, ok := gzipPool.Get().(*gzip.Writer)
		if !ok {
			var err error
			// Scrapes are frequent and text is easy: the fastest level halves the time of
			// the default one for a tenth more bytes.
			if z, err = gzip.NewWriterLevel(w, gzip.BestSpeed); err != nil {
				return nil, fmt.Errorf("making a gzip writer: %w", err)
			}
		}
		z.Reset(w)
		return &pooledWriter{resetWriter: z, pool: &gzipPool}, nil
	case Zstd:
		z, ok := zstdPool.Get().(*zstd.Encoder)
		if !ok {
			var err error
			// One goroutine and a small window: a scrape must not cost more memory than the
			// megabyte or so that gzip takes.
			if z, err = zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest),
				zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(512<<10), zstd.WithLowerEncoderMem(true)); err != nil {
				return nil, fmt.Errorf("making a zstd writer: %w", err)
			}
		}
		z.Reset(w)
		return &pooledWriter{resetWriter: z, pool: &zstdPool}, nil
	}
	return nil, fmt.Errorf("unknown encoding %s: use %s, %s or %s", quote(encoding), Identity, Gzip, Zstd)
}

type plainWriter struct{ io.Writer }

// Close implements io.Closer.
func (plainWriter) Close() error { return nil }

type resetWriter interface {
	io.WriteCloser
	Reset(w io.Writer)
}

// pooledWriter gives its compressor back when it is closed.
type pooledWriter struct {
	resetWriter
	pool *sync.Pool
}

// Write implements io.Writer.
func (p *pooledWriter) Write(b []byte) (int, error) {
	if p.resetWriter == nil {
		return 0, io.ErrClosedPipe
	}
	return p.resetWriter.Write(b)
}

// Close implements io.Closer. A second call does nothing.
func (p *pooledWriter) Close() error {
	if p.resetWriter == nil {
		return nil
	}
	err := p.resetWriter.Close()
	p.Reset(nil) // Lets go of the response.
	p.pool.Put(p.resetWriter)
	p.resetWriter = nil
	return err
}
