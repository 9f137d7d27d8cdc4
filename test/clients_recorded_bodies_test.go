package test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// bodyForms are what a recording can say under "body", a list with commas: how the text that it holds is sent.
var bodyForms = map[string]func(t testing.TB, text string) string{
	"no last newline": func(_ testing.TB, text string) string { return strings.TrimSuffix(text, "\n") },
	"crlf":            func(_ testing.TB, text string) string { return strings.ReplaceAll(text, "\n", "\r\n") },
	"bom":             func(_ testing.TB, text string) string { return "\ufeff" + text },
	"utf-16": func(_ testing.TB, text string) string {
		var out []byte
		for _, unit := range utf16.Encode([]rune(text)) {
			out = append(out, byte(unit), byte(unit>>8))
		}
		return string(out)
	},
	"protobuf": textToProtobuf,
	"gzip": func(t testing.TB, text string) string {
		return compressed(t, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) }, text)
	},
	"snappy": func(t testing.TB, text string) string {
		return compressed(t, func(w io.Writer) io.WriteCloser { return snappy.NewBufferedWriter(w) }, text)
	},
}

// content is the body as it is sent, but for the chunks.
func (x exchange) content(t testing.TB) string {
	t.Helper()
	content := x.body
	for _, name := range x.forms() {
		if strings.HasPrefix(name, chunksOf) {
			continue
		}
		form := bodyForms[name]
		if form == nil {
			t.Fatalf("no form of a body is called %q", name)
		}
		content = form(t, content)
	}
	return content
}

func (x exchange) forms() []string {
	if list := x.one("body", ""); list != "" {
		return strings.Split(list, ", ")
	}
	return nil
}

const chunksOf = "chunks of "

// chunked is the content in chunks of the size that is said, or in one.
func (x exchange) chunked(t testing.TB, content string) string {
	t.Helper()
	size := max(1, len(content))
	for _, name := range x.forms() {
		if n, ok := strings.CutPrefix(name, chunksOf); ok {
			var err error
			if size, err = strconv.Atoi(n); err != nil || size < 1 {
				t.Fatalf("%q is no size of chunks", n)
			}
		}
	}
	var out strings.Builder
	for chunk := range slices.Chunk([]byte(content), size) {
		fmt.Fprintf(&out, "%x\r\n%s\r\n", len(chunk), chunk)
	}
	return out.String() + "0\r\n\r\n"
}

func textToProtobuf(t testing.TB, text string) string {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("the text of a protobuf body: %v", err)
	}
	var out bytes.Buffer
	encoder := expfmt.NewEncoder(&out, expfmt.NewFormat(expfmt.TypeProtoDelim))
	for _, name := range slices.Sorted(maps.Keys(families)) {
		if err := encoder.Encode(families[name]); err != nil {
			t.Fatalf("encode %s: %v", name, err)
		}
	}
	return out.String()
}
