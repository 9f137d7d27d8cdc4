package page

import (
	"bufio"
	"io"
	"sync"
)

// A page is written in large writes, so that its reader has something to read while the next write is collected. The
// number of buffers is bounded, because a reader keeps one for as long as it takes to read. When all large buffers are
// taken, the next reader gets a small one, and when those are taken, none.
var (
	largeBuffers = newBuffers(4, 1<<20)
	smallBuffers = newBuffers(64, 64<<10)
)

// buffers are the write buffers of one size. The pool holds memory and nothing else.
type buffers struct {
	size  int
	taken chan struct{}
	pool  sync.Pool
}

func newBuffers(count, size int) *buffers {
	return &buffers{
		size: size, taken: make(chan struct{}, count),
		pool: sync.Pool{New: func() any { return bufio.NewWriterSize(nil, size) }},
	}
}

// flusher is an io.Writer whose last bytes go out with Flush. After an error it writes nothing more, and Flush returns
// that error.
type flusher interface {
	io.Writer
	Flush() error
}

// buffered returns a writer to w with the largest buffer that is free. release gives the buffer back.
func buffered(w io.Writer) (b flusher, release func()) {
	for _, sized := range []*buffers{largeBuffers, smallBuffers} {
		select {
		case sized.taken <- struct{}{}:
		default:
			continue
		}
		b := sized.pool.Get().(*bufio.Writer)
		b.Reset(w)
		return b, func() {
			b.Reset(nil) // lets go of w
			sized.pool.Put(b)
			<-sized.taken
		}
	}
	return &direct{w: w}, func() {}
}

// direct is a flusher without a buffer.
type direct struct {
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (d *direct) Write(b []byte) (int, error) {
	if d.err != nil || len(b) == 0 {
		return 0, d.err
	}
	var n int
	n, d.err = d.w.Write(b)
	return n, d.err
}

// Flush returns the error that ended the writing.
func (d *direct) Flush() error { return d.err }
