package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
)

// acceptedEncodings is what a body may be compressed with, for an Accept-Encoding header.
const acceptedEncodings = "gzip, snappy"

// coding is a way to compress a body that can be undone.
type coding struct {
	name string
	// open makes a decoder, which takes some memory of its own.
	open func(io.Reader) (io.Reader, error)
	// fault says what is wrong with a body that came over the wire, of which decoding failed with err.
	fault func(wire []byte, err error) string
}

// contentCoding returns how a body is compressed, nil if it is not; or, with other codings than those, what the headers
// say. By RFC 9110, 8.4, they are lists in any case of letters, x-gzip is gzip, and identity says nothing. A body that
// is compressed more than once is not decoded: what comes out first may be a thousand times as much as went in.
func contentCoding(h http.Header) (c *coding, other string) {
	headers := h.Values("Content-Encoding")
	var names []string
	for _, header := range headers {
		for name := range strings.SplitSeq(header, ",") {
			if name = strings.ToLower(strings.TrimSpace(name)); name != "" && name != "identity" {
				names = append(names, name)
			}
		}
	}
	switch {
	case len(names) == 0:
		return nil, ""
	case len(names) > 1:
	case names[0] == "gzip", names[0] == "x-gzip":
		open := func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }
		return &coding{"gzip", open, gzipFault}, ""
	case names[0] == "snappy":
		open := func(r io.Reader) (io.Reader, error) { return snappy.NewReader(r), nil }
		return &coding{"snappy", open, snappyFault}, ""
	}
	return nil, strings.Join(headers, ", ")
}

const (
	gzipMagic   = "\x1f\x8b\x08"
	snappyMagic = "\xff\x06\x00\x00sNaPpY"
)

func gzipFault(wire []byte, err error) string {
	n := len(wire)
	switch {
	case n == 0:
		return "the body is empty, though Content-Encoding says gzip: " +
			"leave the header out to push nothing, or compress that, too (it becomes 20 bytes or more)"
	case !beginsLike(wire, gzipMagic):
		return foreign(wire, "gzip", "gzip", "compress it with gzip")
	case errors.Is(err, io.ErrUnexpectedEOF), err == io.EOF: //nolint:errorlint // the end itself
		return fmt.Sprintf("the body is gzip that is cut off after %d bytes: send all of it, and nothing after it", n)
	case errors.Is(err, gzip.ErrChecksum):
		return fmt.Sprintf("the body is gzip of %d bytes that do not fit their checksum: "+
			"they have been changed since they were compressed", n)
	case errors.Is(err, gzip.ErrHeader):
		return fmt.Sprintf("the body has %d bytes, and is gzip only at its beginning: "+
			"send nothing after the end of what is compressed", n)
	}
	return fmt.Sprintf("the body begins like gzip, and is damaged somewhere in its %d bytes: "+
		"send it as it was compressed, in binary", n)
}

func snappyFault(wire []byte, _ error) string {
	switch {
	case !beginsLike(wire, snappyMagic):
		return foreign(wire, "snappy", "framed snappy", "compress it with snappy in the framed format")
	case snappyCutOff(wire):
		return fmt.Sprintf("the body is framed snappy that is cut off after %d bytes: send all of it", len(wire))
	}
	return fmt.Sprintf("the body begins like framed snappy, and is damaged somewhere in its %d bytes, "+
		"or has a checksum mismatch: send it as it was compressed, in binary", len(wire))
}

// foreign says that a body is not what Content-Encoding says.
func foreign(wire []byte, encoding, formatName, advice string) string {
	text := fmt.Sprintf("the body does not begin like %s, though Content-Encoding says %s: ", formatName, encoding)
	if kind := sniff(wire); kind != nil {
		return text + "it looks like " + kind.name + "; " + kind.advice
	}
	if isText(wire) {
		return text + "it is plain text; send it without the header"
	}
	return text + advice + ", or send it without the header"
}

// beginsLike tells whether b begins with magic, as far as there is something of b.
func beginsLike(b []byte, magic string) bool {
	n := min(len(b), len(magic))
	return n > 0 && string(b[:n]) == magic[:n]
}

// snappyCutOff tells whether framed snappy ends within one of its chunks, which have a type and a length before them.
func snappyCutOff(wire []byte) bool {
	const head = 4
	for len(wire) > 0 {
		if len(wire) < head {
			return true
		}
		n := head + (int(wire[1]) | int(wire[2])<<8 | int(wire[3])<<16)
		if n > len(wire) {
			return true
		}
		wire = wire[n:]
	}
	return false
}

// unsupported is the answer to a body that is no text of metrics, in an encoding that cannot be decoded. reason is
// what is wrong with it if it is taken as it is, which is what a Pushgateway does.
func unsupported(encoding string, raw []byte, reason error) *problem {
	p := &problem{http.StatusUnsupportedMediaType, fmt.Sprintf(
		"a body cannot be decoded with Content-Encoding %q: send it with gzip or snappy, once, or without that header",
		shorten(encoding),
	)}
	if isText(bytes.TrimSpace(raw)) {
		p.text += "; taken as text it cannot be read either: " + reason.Error()
	}
	return p
}
