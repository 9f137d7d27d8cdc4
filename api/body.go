package api

import (
	"bytes"
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

// wireHint is how much memory is set aside for a body on the word of its Content-Length. Bytes.
const wireHint = 64 << 10

// problem is what is answered instead of what was asked for: a status code that tells whose fault it is, and a line of text.
type problem struct {
	code int
	text string
}

// wirePool holds the memory of bodies, each at most wireHint large, and nothing else.
var wirePool sync.Pool

// body is a request's body, complete as it came over the wire, and not decompressed yet.
type body struct {
	wire    *bytes.Buffer
	decoder io.Reader // nil: wire is what was pushed
	limit   int64     // bytes, on the wire and decompressed
	timeout time.Duration
}

// openBody takes r's body from the wire and prepares to decompress it according to its Content-Encoding. An encoding that is
// not known is left as it is, as the Pushgateway does: the parser then judges the bytes.
func (a *API) openBody(w http.ResponseWriter, r *http.Request) (*body, *problem) {
	b := &body{limit: a.cfg.MaxBodyBytes, timeout: a.cfg.PushTimeout}
	var ok bool
	if b.wire, ok = wirePool.Get().(*bytes.Buffer); !ok {
		b.wire = &bytes.Buffer{}
	}
	if r.ContentLength > b.limit {
		w.Header().Set("Connection", "close") // rather than read what nobody wants
		return nil, b.tooLarge()
	}
	b.wire.Grow(int(max(0, min(r.ContentLength, wireHint))) + bytes.MinRead)
	if _, err := b.wire.ReadFrom(http.MaxBytesReader(w, r.Body, b.limit)); err != nil {
		return nil, b.problem(err)
	}
	// ServeHTTP's deadline would otherwise end the request's context while the push is being replicated.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	switch strings.ToLower(r.Header.Get("Content-Encoding")) {
	case "gzip":
		z, err := gzip.NewReader(b.wire)
		if err != nil {
			return nil, b.problem(err)
		}
		b.decoder = z
	case "snappy":
		b.decoder = snappy.NewReader(b.wire)
	}
	return b, nil
}

// release gives the body's memory to the next one: nothing that was made of it may still point there.
func (b *body) release() {
	if b.wire.Cap() <= wireHint {
		b.wire.Reset()
		wirePool.Put(b.wire)
	}
	b.wire, b.decoder = nil, nil
}

// decompressed returns what was pushed, until release. Reading stops one byte after the limit, so that a small body which expands to a huge one costs
// no more than one of the limit.
func (b *body) decompressed() ([]byte, *problem) {
	if b.decoder == nil {
		return b.wire.Bytes(), nil
	}
	raw, err := io.ReadAll(io.LimitReader(b.decoder, b.limit+1))
	switch {
	case int64(len(raw)) > b.limit:
		return nil, b.tooLarge()
	case err != nil:
		return nil, b.problem(err)
	}
	return raw, nil
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
