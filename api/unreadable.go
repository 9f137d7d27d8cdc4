package api

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"pushquorum/expo"
)

// unreadable is the answer to a body that no parser takes, for the reason. It says what the body looks like and what to
// send instead, where that can be told. raw is what was pushed, decompressed. It is asked last, so that what can be
// read is read, however wrong its headers are.
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

// unaffordable is the answer to a body for which there is no memory, as p says. If there never will be, and the body is
// no text, it says what the body looks like, because such bytes can pass for a great many series.
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
			text = fmt.Sprintf("what comes out of the body's %s looks like %s: compress it once", b.coding.name,
				kind.name)
		}
	}
	return &problem{http.StatusBadRequest, text}
}

// aboutText adds to a parser's reason what the headers, or the form of the text, say about the mistake.
func aboutText(contentType string, raw []byte, reason string) string {
	mediaType, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	switch mediaType = strings.TrimSpace(mediaType); {
	case expo.BodyFormatOf(contentType) == expo.FormatProtobuf:
		return "the body is text, but Content-Type says protobuf: send it without that header, or as text/plain (" +
			reason + ")"
	case mediaType == "application/openmetrics-text", bytes.HasSuffix(bytes.TrimSpace(raw), []byte("\n# EOF")):
		return reason + " (OpenMetrics is taken only as far as it can be read as the text format 0.0.4, " +
			"and this cannot: write # TYPE and # HELP with the name that the samples have, such as x_total, " +
			"no exemplars, no # EOF, gauge for info and stateset, and untyped for unknown)"
	case mediaType == "application/x-www-form-urlencoded" && isJoined(raw):
		return reason + " (the body is a single line: if it was more, use curl --data-binary @file, " +
			"because -d takes the line breaks away)"
	}
	return reason
}

// isJoined tells whether a body is a single line with more than a name and a value.
func isJoined(raw []byte) bool {
	return !bytes.ContainsAny(bytes.TrimSpace(raw), "\r\n") && len(bytes.Fields(beginning(raw, sniffedBytes))) > 2
}
