package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
)

// problem is what is answered instead of what was asked for: a status code that tells whose fault it is, and a line
// of text.
type problem struct {
	code int
	text string
}

// wirePool holds the memory of most bodies, each as large as wireBuffer, and nothing else.
var wirePool = sync.Pool{New: func() any { return new(wireBuffer) }}

// wireBuffer has room for a usual body. A byte more than a body has, and its end is seen.
type wireBuffer [8 << 10]byte

// body is a request's body, complete as it came over the wire, and not decompressed yet.
type body struct {
	hold    hold
	pooled  *wireBuffer // nil: wire has memory of its own
	wire    []byte
	decoder func(io.Reader) (io.Reader, error) // nil: wire is what was pushed
	limit   int64                              // bytes, on the wire and decompressed
	timeout time.Duration
	waited  time.Duration // for its memory
}

// openBody takes r's body from the wire, to be decompressed according to its Content-Encoding. An encoding that is not
// known is left as it is, as the Pushgateway does: the parser then judges the bytes. The body is to be released, also
// with a problem.
func (a *API) openBody(w http.ResponseWriter, r *http.Request) (*body, *problem) {
	b := &body{
		hold: hold{in: a.inFlight}, limit: a.cfg.MaxBodyBytes, timeout: a.cfg.PushTimeout, decoder: decoderOf(r.Header.Get("Content-Encoding")),
	}
	if r.ContentLength > b.limit {
		w.Header().Set("Connection", "close") // rather than read what nobody wants
		p := b.tooLarge()
		return b, p
	}
	if p := b.receive(w, r); p != nil {
		return b, p
	}
	// ServeHTTP's deadline would otherwise end the request's context while the push is being replicated.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return b, nil
}

// decoderOf returns what makes a decoder for a Content-Encoding, which takes some memory of its own; nil: what is on the
// wire is what was pushed.
func decoderOf(encoding string) func(io.Reader) (io.Reader, error) {
	switch strings.ToLower(encoding) {
	case "gzip":
		return func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }
	case "snappy":
		return func(r io.Reader) (io.Reader, error) { return snappy.NewReader(r), nil }
	default:
		return nil
	}
}

// receive reads the body. The memory for one of known length is taken before its first byte is read; one of unknown
// length takes more as it grows.
func (b *body) receive(w http.ResponseWriter, r *http.Request) *problem {
	size := max(int64(len(wireBuffer{})), r.ContentLength+1)
	began := time.Now()
	if p := b.hold.begin(r.Context(), size); p != nil {
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
	b.wire, p = b.readAll(http.MaxBytesReader(w, r.Body, b.limit), buffer, func(int) *problem { return nil })
	return p
}

// readAll reads all of r, into buffer first. Before it makes a larger one it takes the memory for it. It calls grown
// with the size that is exceeded.
func (b *body) readAll(r io.Reader, buffer []byte, grown func(n int) *problem) ([]byte, *problem) {
	for {
		if len(buffer) == cap(buffer) {
			if p := grown(len(buffer)); p != nil {
				return nil, p
			}
			size := max(int64(cap(buffer))+1, min(2*int64(cap(buffer)), b.limit+1))
			if p := b.hold.resize(b.hold.n + size); p != nil {
				return nil, p
			}
			old := int64(cap(buffer))
			buffer = append(make([]byte, 0, size), buffer...)
			if p := b.hold.resize(b.hold.n - old); p != nil {
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
			return nil, b.problem(err)
		}
	}
}

// release gives the body's memory to the next one: nothing that was made of it may still point there.
func (b *body) release() {
	if b.pooled != nil {
		wirePool.Put(b.pooled)
	}
	b.pooled, b.wire = nil, nil
}

// drainTime is for how long the rest of a body is read that nobody wants.
const drainTime = 2 * time.Second

// drain reads what is left of a body that is refused, as far as it would have been read otherwise: most clients send
// all of it before they read the answer, and those whose connection is closed meanwhile never see it.
func (b *body) drain(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength > b.limit {
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(drainTime))
	_, _ = io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, b.limit))
}

// decompressed returns what was pushed, until release, in the lane for small bodies as long as it is one. Reading
// stops at the limit, so that a small body which expands to a huge one costs no more than one of the limit.
func (b *body) decompressed(ctx context.Context, t *turn) ([]byte, *problem) {
	if p := t.begin(ctx, len(b.wire) > smallBody); p != nil {
		return nil, p
	}
	if b.decoder == nil {
		return b.wire, nil
	}
	decoder, err := b.decoder(bytes.NewReader(b.wire))
	if err != nil {
		return nil, b.problem(err)
	}
	first := min(max(4*int64(len(b.wire)), 1<<10), smallBody+1)
	if p := b.hold.resize(b.hold.n + first); p != nil {
		return nil, p
	}
	return b.readAll(io.LimitReader(decoder, b.limit+1), make([]byte, 0, first), func(n int) *problem {
		if n <= smallBody {
			return nil
		}
		return t.begin(ctx, true)
	})
}

func (b *body) problem(err error) *problem {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return b.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &problem{http.StatusRequestTimeout, fmt.Sprintf("the body did not arrive within %s: send it faster, or raise --push.timeout", b.timeout)}
	}
	return &problem{http.StatusBadRequest, err.Error()}
}

func (b *body) tooLarge() *problem {
	return &problem{
		http.StatusRequestEntityTooLarge,
		fmt.Sprintf("the body is larger than %d bytes, compressed or decompressed: push less at once, or raise --push.max-body-size", b.limit),
	}
}
