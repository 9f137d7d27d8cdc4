package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
)

// bodyKind is something that a body that cannot be read may turn out to be, and what to do instead.
type bodyKind struct {
	name, advice string
	is           func([]byte) bool
}

const (
	protobufContentType = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
	// sniffedBytes is how much of a body is examined where its beginning is enough.
	sniffedBytes = 4 << 10
	// sniffedTextBytes is the same for texts that have to be parsed.
	sniffedTextBytes = 64 << 10

	curlMend  = "with curl --data-binary @file"
	textMend  = `push the text format instead, "name value" on each line`
	blockMend = "compress them in the framed format (application/x-snappy-framed), with the header " +
		"Content-Encoding: snappy, or not at all"
	remoteMend = "this is not a remote-write endpoint: let remote_write send to a Prometheus or another store " +
		"that receives it, and push the text format here"
	typeMend = "with the header Content-Type: " + protobufContentType
)

// sniff returns the kind of a body, or nil if it is none of those that are known. It verifies more than the first few
// bytes, which could be anything. It examines a bounded part of the body, except for a search or two, and allocates
// some hundred kilobytes at most. Brotli is not among the kinds, because it has no magic number.
func sniff(raw []byte) *bodyKind {
	kinds := []bodyKind{
		{"gzip", "send it with the header Content-Encoding: gzip", isGzip},
		{"framed snappy", "send it with the header Content-Encoding: snappy", isFramedSnappy},
		{"zstd", "compress it with gzip or snappy, or not at all", isZstd},
		{"zlib (deflate)", "compress it with gzip or snappy, or not at all", isZlib},
		{"UTF-16, which tools of Windows write", `send UTF-8, in PowerShell by "Out-File -Encoding utf8" instead ` +
			`of ">"`, isUTF16},
		{"a remote-write request", remoteMend, isRemoteWrite},
		{"a remote-write request in snappy's block format", remoteMend, isRemoteWriteBlock},
		{"metrics in snappy's block format", blockMend, isSnappyBlock},
		{"delimited protobuf of MetricFamily", "send it " + typeMend, isDelimited},
		{"a protobuf MetricFamily without its length before it", "write each one delimited, " + typeMend, isFamily},
	}
	if isText(raw) {
		kinds = []bodyKind{
			{"JSON", textMend, isJSON},
			{"HTML, perhaps a page that tells of an error", "see what made it, and push the text format", isHTML},
			{"XML", textMend, isXML},
			{"a form with files (multipart/form-data), as curl -F sends it", "send it alone, " + curlMend, isMultipart},
			{
				"percent-encoded text, as forms and curl --data-urlencode have it", "send it plain, " + curlMend,
				isPercentEncoded,
			},
			{"the fields of a form (name=value)", textMend, isForm},
		}
	}
	for i := range kinds {
		if kinds[i].is(raw) {
			return &kinds[i]
		}
	}
	return nil
}

// beginning is at most the first n bytes.
func beginning(b []byte, n int) []byte { return b[:min(n, len(b))] }

// isText tells whether a body begins with text, and not with what only resembles it for a few letters.
func isText(b []byte) bool {
	b = beginning(b, sniffedBytes)
	if len(b) == sniffedBytes { // which may have split a character
		for i := 0; i < utf8.UTFMax && !utf8.Valid(b); i++ {
			b = b[:len(b)-1]
		}
	}
	return len(b) > 0 && utf8.Valid(b) && !bytes.ContainsFunc(b, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f
	})
}

// opens tells whether a decoder makes something of the beginning of a body.
func opens(b []byte, open func(io.Reader) (io.ReadCloser, error)) bool {
	r, err := open(bytes.NewReader(b))
	if err != nil {
		return false
	}
	_, err = io.CopyN(io.Discard, r, sniffedBytes)
	cutOff := errors.Is(err, io.ErrUnexpectedEOF) && len(b) > 64 // and no other format for that
	return err == nil || err == io.EOF || cutOff                 //nolint:errorlint // the end itself
}

func isGzip(b []byte) bool {
	return bytes.HasPrefix(b, []byte(gzipMagic)) &&
		opens(b, func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) })
}

func isZlib(b []byte) bool {
	const deflate, fits = 8, 31 // the method, and what a header of two bytes can be divided by
	return len(b) > 2 && b[0]&0xf == deflate && b[0]>>4 < 8 && (int(b[0])<<8|int(b[1]))%fits == 0 &&
		opens(b, zlib.NewReader)
}

func isZstd(b []byte) bool {
	var header zstd.Header
	return bytes.HasPrefix(b, []byte("\x28\xb5\x2f\xfd")) && header.Decode(b) == nil && header.FirstBlock.OK
}

func isFramedSnappy(b []byte) bool { return bytes.HasPrefix(b, []byte(snappyMagic)) }

// isUTF16 looks for a byte order mark, or zeros as every other byte, and then for text.
func isUTF16(b []byte) bool {
	b = beginning(b, sniffedBytes)
	if len(b)%2 != 0 || len(b) < 4 {
		return false
	}
	low := 0 // the place of the lower byte of each two
	switch {
	case b[0] == 0xfe && b[1] == 0xff, b[0] == 0 && b[2] == 0:
		low = 1
	case b[0] == 0xff && b[1] == 0xfe, b[1] == 0 && b[3] == 0:
	default:
		return false
	}
	units := make([]uint16, 0, len(b)/2)
	for ; len(b) > 0; b = b[2:] {
		units = append(units, uint16(b[low])|uint16(b[1-low])<<8)
	}
	text := []byte(string(utf16.Decode(units)))
	return isText(text) && !bytes.ContainsRune(text, utf8.RuneError)
}

// isJSON tells whether a body begins with an object or an array, and goes on like one.
func isJSON(b []byte) bool {
	whole := len(b) <= sniffedTextBytes
	b = bytes.TrimSpace(beginning(b, sniffedTextBytes))
	if len(b) == 0 || b[0] != '{' && b[0] != '[' {
		return false
	}
	decoder := json.NewDecoder(bytes.NewReader(b))
	for n := range 100 {
		if _, err := decoder.Token(); err != nil {
			ends := err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF)
			return ends && (n > 2 || whole && json.Valid(b))
		}
	}
	return true
}

func isHTML(b []byte) bool {
	b = bytes.ToLower(bytes.TrimSpace(beginning(b, sniffedBytes)))
	return slices.ContainsFunc([]string{"<!doctype html", "<html", "<head>", "<body"}, func(tag string) bool {
		return bytes.HasPrefix(b, []byte(tag))
	})
}

// isXML looks for a declaration, or for a first element that ends.
func isXML(b []byte) bool {
	start := bytes.TrimSpace(beginning(b, sniffedBytes))
	if bytes.HasPrefix(start, []byte("<?xml ")) {
		return true
	}
	if len(start) < 2 || start[0] != '<' {
		return false
	}
	n := bytes.IndexAny(start, " \t\r\n/>")
	return n > 1 && bytes.Contains(b, slices.Concat([]byte("</"), start[1:n], []byte(">")))
}

func isMultipart(b []byte) bool {
	boundary, rest, found := bytes.Cut(beginning(b, sniffedBytes), []byte("\n"))
	return found && bytes.HasPrefix(boundary, []byte("--")) &&
		bytes.HasPrefix(bytes.ToLower(rest), []byte("content-disposition: form-data"))
}

// isPercentEncoded tells whether blanks or newlines are encoded, and none is left.
func isPercentEncoded(b []byte) bool {
	text := strings.TrimRight(string(beginning(b, sniffedTextBytes)), "\r\n")
	decoded, err := url.QueryUnescape(text)
	return err == nil && len(b) <= sniffedTextBytes && strings.Contains(text, "%") &&
		!strings.ContainsAny(text, " \t\r\n{\"") && strings.ContainsAny(decoded, " \n")
}

// isForm tells whether a body is one line of name=value&name=value.
func isForm(b []byte) bool {
	text := strings.TrimRight(string(beginning(b, sniffedTextBytes)), "\r\n")
	if len(b) > sniffedTextBytes || strings.ContainsAny(text, " \t\r\n{\"#") {
		return false
	}
	for field := range strings.SplitSeq(text, "&") {
		if name, _, found := strings.Cut(field, "="); !found || name == "" {
			return false
		}
	}
	return true
}
