package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// problem is an answer other than success: a status code that tells whose fault it is, and a line of text.
type problem struct {
	code int
	text string
}

// wirePool holds the memory of most bodies: values of *wireBuffer.
var wirePool = sync.Pool{New: func() any { return new(wireBuffer) }}

// wireBuffer has room for a usual body, and for the byte more with which its end is seen.
type wireBuffer [8 << 10]byte

// body is a request's body, complete as it came over the wire, and not decompressed yet.
type body struct {
	memory   bodyMemory
	pooled   *wireBuffer // nil: wire has memory of its own
	wire     []byte
	coding   *coding // nil: wire is what was pushed
	encoding string  // what the header says, if it cannot be decoded; wire is then taken for what was pushed
	limit    int64   // bytes, on the wire and decompressed
	timeout  time.Duration
	waited   time.Duration // for its memory
}

// openBody reads r's body from the wire, to be decompressed according to its Content-Encoding. A body in an unknown
// encoding is left as it is, as by the Pushgateway: the parser then judges the bytes. The caller recycles the body and
// frees its memory, also with a problem.
func (a *API) openBody(w http.ResponseWriter, r *http.Request) (*body, *problem) {
	b := &body{memory: bodyMemory{in: a.inFlight}, limit: a.cfg.MaxBodyBytes, timeout: a.cfg.PushTimeout}
	b.coding, b.encoding = contentCoding(r.Header)
	if r.ContentLength > b.limit {
		p := b.tooLarge()
		return b, p
	}
	if p := b.receive(w, r); p != nil {
		return b, p
	}
	markBodyRead(w)
	// ServeHTTP's deadline would otherwise end the request's context while the push is being replicated.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return b, nil
}

// receive reads the body. The memory for one of known length is taken before its first byte is read; one of unknown
// length takes more as it grows.
func (b *body) receive(w http.ResponseWriter, r *http.Request) *problem {
	size := max(int64(len(wireBuffer{})), r.ContentLength+1)
	began := time.Now()
	if p := b.memory.reserve(r.Context(), size); p != nil {
		return p
	}
	if b.waited = time.Since(began); b.waited > b.timeout/100 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(b.timeout))
	}
	var buffer []byte
	if size == int64(len(wireBuffer{})) {
		b.pooled = wirePool.Get().(*wireBuffer)
		buffer = b.pooled[:0]
	} else {
		buffer = make([]byte, 0, size)
	}
	var p *problem
	b.wire, p = b.readAll(http.MaxBytesReader(w, r.Body, b.limit), buffer, func(int) *problem { return nil },
		b.readProblem)
	return p
}

// readAll reads all of r, into buffer as long as it fits. Before it allocates a larger one it acquires the memory for
// it. It calls grown with each size that is exceeded, and failed with an error that ends the reading too soon.
func (b *body) readAll(
	r io.Reader, buffer []byte, grown func(n int) *problem, failed func(error) *problem,
) ([]byte, *problem) {
	for {
		if len(buffer) == cap(buffer) {
			if p := grown(len(buffer)); p != nil {
				return nil, p
			}
			size := max(int64(cap(buffer))+1, min(2*int64(cap(buffer)), b.limit+1))
			if p := b.memory.resize(b.memory.n + size); p != nil {
				return nil, p
			}
			old := int64(cap(buffer))
			buffer = append(make([]byte, 0, size), buffer...)
			if p := b.memory.resize(b.memory.n - old); p != nil {
				return nil, p
			}
		}
		n, err := r.Read(buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+n]
		switch {
		case int64(len(buffer)) > b.limit:
			return nil, b.tooLarge()
		case err == io.EOF:
			return buffer, nil
		case err != nil:
			return nil, failed(err)
		}
	}
}

// recycle gives the buffer to the next body. Nothing may still point into it.
func (b *body) recycle() {
	if b.pooled != nil {
		wirePool.Put(b.pooled)
	}
	b.pooled, b.wire = nil, nil
}

// decompressed returns what was pushed, valid until recycle. It holds a small decode slot as long as the body is small.
// Reading stops at the limit, so that a small body that expands to a huge one costs no more than one of the limit.
func (b *body) decompressed(ctx context.Context, slot *decodeSlot) ([]byte, *problem) {
	if p := slot.acquireDecodeSlot(ctx, len(b.wire) > smallBody); p != nil {
		return nil, p
	}
	if b.coding == nil {
		return b.wire, nil
	}
	decoder, err := b.coding.open(bytes.NewReader(b.wire))
	if err != nil {
		return nil, b.undecodable(err)
	}
	first := min(max(4*int64(len(b.wire)), 1<<10), smallBody+1)
	if p := b.memory.resize(b.memory.n + first); p != nil {
		return nil, p
	}
	return b.readAll(io.LimitReader(decoder, b.limit+1), make([]byte, 0, first), func(n int) *problem {
		if n <= smallBody {
			return nil
		}
		return slot.acquireDecodeSlot(ctx, true)
	}, b.undecodable)
}

func (b *body) undecodable(err error) *problem {
	return &problem{http.StatusBadRequest, b.coding.fault(b.wire, err)}
}

func (b *body) readProblem(err error) *problem {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return b.tooLarge()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &problem{http.StatusBadRequest, "the body ended before all of it had come"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &problem{http.StatusRequestTimeout, fmt.Sprintf(
			"the body did not arrive within %s: send it faster, or raise --push.timeout", b.timeout,
		)}
	}
	return &problem{http.StatusBadRequest, err.Error()}
}

func (b *body) tooLarge() *problem {
	return &problem{
		http.StatusRequestEntityTooLarge,
		fmt.Sprintf("the body is larger than %d bytes, compressed or decompressed: "+
			"push less at once, or raise --push.max-body-size", b.limit),
	}
}
