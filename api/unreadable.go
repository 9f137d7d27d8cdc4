package api

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"pushquorum/expo"
)

// unreadable is the answer to a body that cannot be read for some reason, with what it looks like and what to send
// instead, where that can be told. raw is what was pushed, decompressed. Only what no parser takes comes here: so
// however wrong its headers are, what can be read is.
func (b *body) unreadable(contentType string, raw []byte, reason error) *problem {
	if b.encoding != "" {
		return unsupported(b.encoding, raw, reason)
	}
	if kind := sniff(raw); kind != nil {
		return b.looksLike(kind)
	}
	text := reason.Error()
	if isText(raw) {
		text = aboutText(contentType, raw, text)
	}
	return &problem{http.StatusBadRequest, text}
}

// unaffordable is the answer to a body that there is no memory to read for, as a problem says. One that would never be
// read is told what it looks like: bytes that are no text can look like a great many series.
func (b *body) unaffordable(raw []byte, p *problem) *problem {
	if p.code == http.StatusRequestEntityTooLarge && b.encoding == "" && !isText(raw) {
		if kind := sniff(raw); kind != nil {
			return b.looksLike(kind)
		}
	}
	return p
}

// looksLike is the answer to a body that has turned out to be something else than metrics.
func (b *body) looksLike(kind *bodyKind) *problem {
	text := fmt.Sprintf("the body looks like %s: %s", kind.name, kind.advice)
	if b.coding != nil {
		text = fmt.Sprintf("what comes out of the body's %s looks like %s: %s", b.coding.name, kind.name, kind.advice)
		if strings.Contains(kind.advice, "Content-Encoding") {
			text = fmt.Sprintf("what comes out of the body's %s looks like %s: compress it once", b.coding.name, kind.name)
		}
	}
	return &problem{http.StatusBadRequest, text}
}

// aboutText adds to what a parser says of a text what its headers, or its form, let expect of it.
func aboutText(contentType string, raw []byte, reason string) string {
	mediaType, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	switch mediaType = strings.TrimSpace(mediaType); {
	case expo.BodyFormatOf(contentType) == expo.FormatProtobuf:
		return "the body is text, but Content-Type says protobuf: send it without that header, or as text/plain (" +
			reason + ")"
	case mediaType == "application/openmetrics-text", bytes.HasSuffix(bytes.TrimSpace(raw), []byte("\n# EOF")):
		return reason + " (OpenMetrics is taken only as far as it can be read as the text format 0.0.4, " +
			"and this cannot: write # TYPE and # HELP with the name that the samples have, such as x_total, no exemplars, no # EOF, " +
			"gauge for info and stateset, and untyped for unknown)"
	case mediaType == "application/x-www-form-urlencoded" && isJoined(raw):
		return reason + " (the body is a single line: if it was more, use curl --data-binary @file, " +
			"because -d takes the line breaks away)"
	}
	return reason
}

// isJoined tells whether a body is a single line, and more than a name and a value.
func isJoined(raw []byte) bool {
	return !bytes.ContainsAny(bytes.TrimSpace(raw), "\r\n") && len(bytes.Fields(beginning(raw, sniffedBytes))) > 2
}
