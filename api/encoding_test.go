package api

import (
	"net/http"
	"strings"
	"testing"
)

func TestEncodingsOfABody(t *testing.T) {
	const line = "m 1\n"
	zipped, snapped := gzipped(t, line), snappyFramed(t, line)
	lines := strings.Repeat("m{l=\"some value\"} 42\nn{l=\"another value\"} 4.2\n", 30)
	for name, test := range map[string]struct {
		encoding string
		body     string
		want     int
		says     string
	}{
		"gzip":                     {"gzip", zipped, http.StatusOK, ""},
		"gzip in capitals":         {"GZIP", zipped, http.StatusOK, ""},
		"x-gzip":                   {"x-gzip", zipped, http.StatusOK, ""},
		"x-gzip in capitals":       {"X-GZIP", zipped, http.StatusOK, ""},
		"gzip with blanks":         {" gzip ", zipped, http.StatusOK, ""},
		"gzip and identity":        {"gzip, identity", zipped, http.StatusOK, ""},
		"identity and gzip":        {"identity,gzip", zipped, http.StatusOK, ""},
		"gzip and nothing":         {"gzip,", zipped, http.StatusOK, ""},
		"snappy":                   {"snappy", snapped, http.StatusOK, ""},
		"identity":                 {"identity", line, http.StatusOK, ""},
		"an empty header":          {"", line, http.StatusOK, ""},
		"commas alone":             {" , ", line, http.StatusOK, ""},
		"gzip of nothing":          {"gzip", gzipped(t, ""), http.StatusOK, ""},
		"gzip in two members":      {"gzip", gzipped(t, "m 1\n") + gzipped(t, "n 1\n"), http.StatusOK, ""},
		"snappy of nothing":        {"snappy", snappyMagic, http.StatusOK, ""},
		"snappy of nothing, by Go": {"snappy", snappyFramed(t, ""), http.StatusOK, ""},
		"another, and text":        {"br", line, http.StatusOK, ""},
		"gzip twice, and text":     {"gzip, gzip", line, http.StatusOK, ""},
		"another": {
			"br", "\x0b\x01\x80m 1\n\x03", http.StatusUnsupportedMediaType,
			`Content-Encoding "br": send it with gzip or snappy, once, or without that header` + "\n",
		},
		"zstd": {
			"zstd", zstded(t, lines), http.StatusUnsupportedMediaType,
			`Content-Encoding "zstd"`,
		},
		"deflate": {
			"deflate", zlibbed(t, lines), http.StatusUnsupportedMediaType,
			`Content-Encoding "deflate"`,
		},
		"gzip twice": {
			"gzip, gzip", gzipped(t, zipped), http.StatusUnsupportedMediaType,
			`Content-Encoding "gzip, gzip"`,
		},
		"gzip and snappy": {
			"gzip, snappy", snappyFramed(t, zipped), http.StatusUnsupportedMediaType,
			`"gzip, snappy": send it with gzip or snappy, once`,
		},
		"another, and a wrong text": {
			"utf-8", "m one\n", http.StatusUnsupportedMediaType,
			"taken as text it cannot be read either: ",
		},
		"one with bytes of its own": {"\x80\xff\"", "\x00", http.StatusUnsupportedMediaType, `"\x80\xff\""`},
		"a long one": {
			strings.Repeat("x", 10_000), "\x00", http.StatusUnsupportedMediaType,
			"(10000 bytes)",
		},
		"no gzip but nothing": {
			"gzip", "", http.StatusBadRequest,
			"the body is empty, though Content-Encoding says gzip",
		},
		"no gzip but text": {
			"gzip", line, http.StatusBadRequest,
			"does not begin like gzip, though Content-Encoding says gzip: it is plain text; send it without the " +
				"header",
		},
		"no gzip but zstd": {
			"gzip", zstded(t, lines), http.StatusBadRequest,
			"it looks like zstd; compress it with gzip or snappy",
		},
		"no gzip but snappy": {
			"x-gzip", snapped, http.StatusBadRequest,
			"it looks like framed snappy; send it with the header Content-Encoding: snappy",
		},
		"no gzip but bytes": {
			"gzip", "\x00\x01\x02", http.StatusBadRequest,
			"does not begin like gzip, though Content-Encoding says gzip: compress it with gzip, or send it without " +
				"the header",
		},
		"gzip cut in its header": {
			"gzip", zipped[:5], http.StatusBadRequest,
			"gzip that is cut off after 5 bytes",
		},
		"gzip cut in its first bytes": {
			"gzip", zipped[:1], http.StatusBadRequest,
			"gzip that is cut off after 1 bytes",
		},
		"gzip cut in its data": {
			"gzip", gzipped(t, lines)[:40], http.StatusBadRequest,
			"gzip that is cut off after 40 bytes",
		},
		"gzip cut in its checksum": {"gzip", zipped[:len(zipped)-3], http.StatusBadRequest, "cut off after"},
		"gzip that was changed": {
			"gzip", zipped[:len(zipped)-8] + "\x00\x00\x00\x00\x04\x00\x00\x00",
			http.StatusBadRequest, "do not fit their checksum",
		},
		"gzip with more after it": {"gzip", zipped + lines, http.StatusBadRequest, "is gzip only at its beginning"},
		"gzip that went through text": {
			"gzip", strings.ToValidUTF8(gzipped(t, lines), "\ufffd"),
			http.StatusBadRequest, "gzip",
		},
		"no snappy but text": {
			"snappy", line, http.StatusBadRequest,
			"does not begin like framed snappy, though Content-Encoding says snappy: it is plain text; send it " +
				"without the header",
		},
		"no snappy but gzip": {
			"snappy", zipped, http.StatusBadRequest,
			"it looks like gzip; send it with the header Content-Encoding: gzip",
		},
		"no snappy but bytes": {
			"snappy", "\x00\x01\x02", http.StatusBadRequest,
			"compress it with snappy in the framed format",
		},
		"snappy of blocks": {
			"snappy", block(lines), http.StatusBadRequest,
			"metrics in snappy's block format; compress them in the framed format",
		},
		"snappy cut in its magic": {
			"snappy", snapped[:4], http.StatusBadRequest,
			"framed snappy that is cut off after 4 bytes",
		},
		"snappy cut in a chunk": {
			"snappy", snapped[:len(snapped)-1], http.StatusBadRequest,
			"framed snappy that is cut off after",
		},
		"snappy that was changed": {
			"snappy", snapped[:len(snapped)-1] + "x", http.StatusBadRequest,
			"checksum mismatch",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			a := g.must(test.want, "PUT", "/metrics/job/a", test.body, "Content-Encoding", test.encoding)
			accepted := ""
			switch test.want {
			case http.StatusOK:
				return
			case http.StatusUnsupportedMediaType:
				accepted = "gzip, snappy"
			}
			mustBeALine(t, a.body)
			if !strings.Contains(a.body, test.says) || a.header.Get("Accept-Encoding") != accepted {
				t.Errorf("want %q and Accept-Encoding %q, got %q and %q", test.says, accepted, a.body,
					a.header.Get("Accept-Encoding"))
			}
			if n := g.replica.applied(); n != 0 {
				t.Errorf("%d commands were replicated, want none", n)
			}
		})
	}
}

// TestEncodingsMayStandInSeveralHeaders, which are one list.
func TestEncodingsMayStandInSeveralHeaders(t *testing.T) {
	for _, test := range []struct {
		headers []string
		want    string
		other   string
	}{
		{nil, "", ""},
		{[]string{"gzip", "identity"}, "gzip", ""},
		{[]string{"identity", "Snappy"}, "snappy", ""},
		{[]string{"gzip", "gzip"}, "", "gzip, gzip"},
		{[]string{"snappy", "br"}, "", "snappy, br"},
	} {
		c, other := contentCoding(http.Header{"Content-Encoding": test.headers})
		got := ""
		if c != nil {
			got = c.name
		}
		if got != test.want || other != test.other {
			t.Errorf("%q: want %q and %q, got %q and %q", test.headers, test.want, test.other, got, other)
		}
	}
}
