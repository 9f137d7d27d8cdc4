package page

import (
	"bufio"
	"io"
	"sync"
)

// A page is collected into large writes, so that there is something to read for whoever reads at the other end while
// the next are collected. How many buffers there are is bounded, because each is kept as long as its reader takes: more
// readers at a time than there are large buffers have small ones, and more than there are of these have none.
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

// flusher is an io.Writer whose last bytes go out with Flush. After an error it writes nothing more, and Flush says it
// again.
type flusher interface {
	io.Writer
	Flush() error
}

// buffered returns a writer to w with the largest buffer that is free, and what gives the buffer back.
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
