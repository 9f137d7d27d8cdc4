package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
)

// problem is an error with the status code that tells the client whose it is.
type problem struct {
	code int
	text string
}

func (p *problem) Error() string { return p.text }

// body is a request's body, complete as it came over the wire, to be decompressed while it is read: reading stops one byte after
// the limit, so that a small body which expands to a huge one costs no more than one of the limit. It keeps the first error,
// because parsers do not pass it on in a form that can be told apart.
type body struct {
	decoded io.Reader
	limit   int64 // bytes, decompressed
	timeout time.Duration
	read    int64 // bytes, decompressed
	err     error
}

// openBody takes r's body from the wire and prepares to decompress it according to its Content-Encoding. An encoding that is
// not known is left as it is, as the Pushgateway does: the parser then judges the bytes.
func (a *API) openBody(w http.ResponseWriter, r *http.Request) (*body, *problem) {
	b := &body{limit: a.cfg.MaxBodyBytes, timeout: a.cfg.PushTimeout}
	if r.ContentLength > b.limit {
		w.Header().Set("Connection", "close") // rather than read what nobody wants
		return nil, b.tooLarge()
	}
	var wire bytes.Buffer
	if _, err := wire.ReadFrom(http.MaxBytesReader(w, r.Body, b.limit)); err != nil {
		return nil, b.problem(err)
	}
	// ServeHTTP's deadline would otherwise end the request's context while the push is being replicated.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	switch strings.ToLower(r.Header.Get("Content-Encoding")) {
	case "gzip":
		z, err := gzip.NewReader(&wire)
		if err != nil {
			return nil, b.problem(err)
		}
		b.decoded = z
	case "snappy":
		b.decoded = snappy.NewReader(&wire)
	default:
		b.decoded = &wire
	}
	return b, nil
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if room := b.limit - b.read + 1; int64(len(p)) > room {
		p = p[:room]
	}
	n, err := b.decoded.Read(p)
	b.read += int64(n)
	switch {
	case b.read > b.limit:
		b.err = b.tooLarge()
		return 0, b.err
	case err != nil && !errors.Is(err, io.EOF):
		b.err = err
	}
	return n, err
}

// finish reads what a parser may have left, so that a checksum or a broken end is not missed. It returns what went wrong while
// reading, if anything did, or else parseErr as a problem, or nil.
func (b *body) finish(parseErr error) *problem {
	if b.err == nil && parseErr == nil {
		_, _ = io.Copy(io.Discard, b) // its error is b.err
	}
	if b.err != nil {
		return b.problem(b.err)
	}
	if parseErr != nil {
		return b.problem(parseErr)
	}
	return nil
}

func (b *body) problem(err error) *problem {
	var p *problem
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
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
