package api

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/zstd"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo"
)

func zlibbed(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func zstded(t testing.TB, s string) string {
	t.Helper()
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(z.EncodeAll([]byte(s), nil))
}

func block(s string) string { return string(snappy.Encode(nil, []byte(s))) }

// utf16of is s with a byte order mark, the lower byte first if little.
func utf16of(s string, little, mark bool) string {
	var b []byte
	if mark {
		s = "\ufeff" + s
	}
	for _, unit := range utf16.Encode([]rune(s)) {
		if little {
			b = append(b, byte(unit), byte(unit>>8))
		} else {
			b = append(b, byte(unit>>8), byte(unit))
		}
	}
	return string(b)
}

// message is a protobuf message of one field of bytes for each of the values.
func message(field protowire.Number, values ...string) string {
	var b []byte
	for _, v := range values {
		b = protowire.AppendTag(b, field, protowire.BytesType)
		b = protowire.AppendString(b, v)
	}
	return string(b)
}

// writeRequest is a remote-write request of version 1, of n series.
func writeRequest(n int) string {
	var series []string
	for i := range n {
		label := func(name, value string) string { return message(1, name) + message(2, value) }
		sample := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), 42)
		series = append(series, message(1, label("A_first", "a"), label("__name__", fmt.Sprintf("m_%d", i)))+message(2,
			string(sample)))
	}
	return message(1, series...)
}

// writeRequest2 is one of version 2.
func writeRequest2() string {
	return message(4, "", "__name__", "m", "job", "a") + message(5, "\x0a\x04\x01\x02\x03\x04")
}

func undelimited(t testing.TB, mf *dto.MetricFamily) string {
	t.Helper()
	b, err := proto.Marshal(mf)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestABodyThatCannotBeReadIsToldWhatItLooksLike, and what to send instead.
func TestABodyThatCannotBeReadIsToldWhatItLooksLike(t *testing.T) {
	text := "# TYPE m gauge\n" + strings.Repeat("m{l=\"some value\"} 42\nn{l=\"another value\"} 4.2\n", 30)
	const form = "application/x-www-form-urlencoded"
	const remote = "not a remote-write endpoint"
	for name, test := range map[string]struct {
		body     string
		kind     string // Content-Type
		encoding string // Content-Encoding
		says     []string
		lacks    string
	}{
		"gzip": {body: gzipped(t, text), says: []string{
			"looks like gzip:",
			"Content-Encoding: gzip",
		}},
		"gzip of one line": {body: gzipped(t, "m 1\n"), says: []string{"looks like gzip:"}},
		"gzip as protobuf": {body: gzipped(t, text), kind: protobufType, says: []string{"looks like gzip:"}},
		"gzip twice": {
			body: gzipped(t, gzipped(t, text)), encoding: "gzip",
			says: []string{"what comes out of the body's gzip looks like gzip: compress it once"},
		},
		"gzip in snappy": {
			body: snappyFramed(t, gzipped(t, text)), encoding: "snappy",
			says: []string{"what comes out of the body's snappy looks like gzip: compress it once"},
		},
		"zstd":             {body: zstded(t, text), says: []string{"looks like zstd:", "gzip or snappy"}},
		"zlib":             {body: zlibbed(t, text), says: []string{"looks like zlib", "gzip or snappy"}},
		"zlib of one line": {body: zlibbed(t, "m 1\n"), says: []string{"looks like zlib"}},
		"framed snappy": {body: snappyFramed(t, text), says: []string{
			"looks like framed snappy:",
			"Content-Encoding: snappy",
		}},
		"block snappy": {
			body: block(text),
			says: []string{"in snappy's block format: compress them in the framed format"},
		},
		"block snappy of one line": {body: block("m 1\n"), says: []string{"in snappy's block format:"}},
		"block snappy of protobuf": {
			body: block(delimited(t, gaugeFamily("x"))),
			says: []string{"in snappy's block format:"},
		},
		"block snappy as snappy": {
			body: block(text), encoding: "snappy",
			says: []string{
				"Content-Encoding says snappy",
				"in snappy's block format; compress them in the framed format",
			},
		},
		"JSON": {
			body: `{"metric": "m", "value": 1}`, kind: "application/json",
			says: []string{"looks like JSON:", `"name value" on each line`},
		},
		"an array of JSON": {body: "[\n  {\"m\": 1},\n  {\"m\": 2}\n]\n", says: []string{"looks like JSON:"}},
		"much JSON": {
			body: "[" + strings.Repeat("{\"m\": [1, 2, 3]},\n", 10000) + "{}]",
			says: []string{"looks like JSON:"},
		},
		"JSON of nothing": {body: "{}", says: []string{"looks like JSON:"}},
		"JSON that is compressed": {
			body: gzipped(t, `{"m": 1}`), encoding: "gzip",
			says: []string{"what comes out of the body's gzip looks like JSON: push the text format"},
		},
		"JSON as protobuf": {body: `{"m": 1}`, kind: protobufType, says: []string{"looks like JSON:"}},
		"HTML": {
			body: "<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>\n",
			says: []string{"looks like HTML"},
		},
		"HTML without a doctype": {body: "<html>\r\n<head><title>503 Service Temporarily " +
			"Unavailable</title></head>\r\n", says: []string{"looks like HTML"}},
		"XML": {
			body: "<?xml version=\"1.0\"?>\n<metrics><m>1</m></metrics>\n",
			says: []string{"looks like XML:"},
		},
		"XML without a declaration": {
			body: "<metrics count=\"1\">\n<m>1</m>\n</metrics>\n",
			says: []string{"looks like XML:"},
		},
		"a form with a file": {
			body: "--------------------------d74496d66958873e\r\nContent-Disposition: " +
				"form-data; name=\"file\"; filename=\"m.txt\"\r\nContent-Type: text/plain\r\n\r\nm " +
				"1\n\r\n--------------------------d74496d66958873e--\r\n",
			kind: "multipart/form-data; boundary=------------------------d74496d66958873e",
			says: []string{"multipart/form-data", "curl --data-binary @file"},
		},
		"a form of names and values": {body: "m=1&n=2", kind: form, says: []string{"the fields of a form"}},
		"an encoded form": {body: "m%201%0An+2%0A", kind: form, says: []string{
			"percent-encoded text",
			"--data-binary",
		}},
		"an encoded field of a form": {body: "data=m%201%0A", kind: form, says: []string{
			"percent-encoded text",
			"--data-binary",
		}},
		"lines that -d has joined": {
			body: "m 1n 2o 3", kind: form,
			says: []string{"line 1", "curl --data-binary @file, because -d takes the line breaks away"},
		},
		"protobuf of another type": {
			body: delimited(t, gaugeFamily("x")), kind: "application/x-protobuf",
			says: []string{"looks like delimited protobuf of MetricFamily:", "Content-Type: " + protobufContentType},
		},
		"protobuf of no type": {
			body: delimited(t, gaugeFamily("x"), gaugeFamily("y")),
			says: []string{"looks like delimited protobuf"},
		},
		"protobuf of a form": {
			body: delimited(t, gaugeFamily("x")), kind: form,
			says: []string{"looks like delimited protobuf"},
		},
		"protobuf without a length": {
			body: undelimited(t, gaugeFamily("x")), kind: protobufType,
			says: []string{"without its length before it"},
		},
		"protobuf, gzip": {
			body: gzipped(t, delimited(t, gaugeFamily("x"))), encoding: "gzip",
			says: []string{
				"what comes out of the body's gzip looks like delimited protobuf",
				"Content-Type: " + protobufContentType,
			},
		},
		"text as protobuf": {
			body: text, kind: protobufType,
			says: []string{
				"the body is text, but Content-Type says protobuf: send it without that header",
				"protobuf message 1",
			},
		},
		"remote write": {
			body: block(writeRequest(1000)), kind: "application/x-protobuf",
			encoding: "snappy", says: []string{"a remote-write request in snappy's block format", remote},
		},
		"remote write of one series": {
			body: block(writeRequest(1)), kind: "application/x-protobuf",
			encoding: "snappy", says: []string{remote},
		},
		"remote write, no header": {body: block(writeRequest(10)), says: []string{remote}},
		"remote write as it is":   {body: writeRequest(1000), says: []string{"a remote-write request:", remote}},
		"remote write 2":          {body: block(writeRequest2()), encoding: "snappy", says: []string{remote}},
		"remote write 2 as it is": {
			body: writeRequest2(),
			kind: "application/x-protobuf;proto=io.prometheus.write.v2.Request", says: []string{remote},
		},
		"UTF-16 of Windows": {body: utf16of(text, true, true), says: []string{
			"looks like UTF-16",
			"send UTF-8",
		}},
		"UTF-16, big end first": {body: utf16of(text, false, true), says: []string{"looks like UTF-16"}},
		"UTF-16 without a mark": {body: utf16of(text, true, false), says: []string{"looks like UTF-16"}},
		"OpenMetrics": {
			body: "# TYPE m counter\nm_total 1 # {x=\"1\"} 1\n# EOF\n",
			kind: "application/openmetrics-text; version=1.0.0",
			says: []string{"line 2", "OpenMetrics is taken only as far as", "no exemplars, no # EOF"},
		},
		"OpenMetrics of no type": {
			body: "# TYPE m unknown\nm 1 # {x=\"1\"} 1\n# EOF\n",
			says: []string{"OpenMetrics is taken only as far as", "untyped for unknown"},
		},
		"a typing error alone": {body: "m one\n", kind: form, says: []string{"line 1", "one"}, lacks: "curl"},
		"bytes of no kind":     {body: "\x00\x01\x02\x03\xff\xfe\n", says: []string{"line 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			a := g.must(http.StatusBadRequest, "PUT", "/metrics/job/a", test.body, "Content-Type", test.kind,
				"Content-Encoding", test.encoding)
			mustBeALine(t, a.body)
			for _, part := range test.says {
				if !strings.Contains(a.body, part) {
					t.Errorf("want %q in %q", part, a.body)
				}
			}
			if test.lacks != "" && strings.Contains(a.body, test.lacks) {
				t.Errorf("want nothing of %q in %q", test.lacks, a.body)
			}
			if n := g.replica.applied(); n != 0 {
				t.Errorf("%d commands were replicated, want none", n)
			}
		})
	}
}

// mustBeALine fails the test unless an answer is one line of printable text that is not too long.
func mustBeALine(t *testing.T, answer string) {
	t.Helper()
	line, found := strings.CutSuffix(answer, "\n")
	if !found || line == "" || len(line) > 1000 || !utf8.ValidString(line) ||
		strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("want one printable line, got %q", answer)
	}
}

// TestWhatOnlyResemblesAFormatIsNotTakenForIt: a hint that is wrong is worse than none.
func TestWhatOnlyResemblesAFormatIsNotTakenForIt(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":                         "",
		"a line of metrics":               "m 1\n",
		"metrics":                         plainText(8 << 10),
		"a histogram":                     histogramText(8 << 10),
		"the magic of gzip alone":         gzipMagic,
		"the magic of gzip, and more":     gzipMagic + strings.Repeat("\x00\xff", 100),
		"the magic of zstd alone":         "\x28\xb5\x2f\xfd",
		"the magic of zstd, and more":     "\x28\xb5\x2f\xfd" + strings.Repeat("\xff", 100),
		"the header of zlib in a text":    "x^2 1\n",
		"the header of zlib, and more":    "x\x9c" + strings.Repeat("\xff", 100),
		"the magic of snappy, cut":        snappyMagic[:6],
		"a quoted name in braces":         `{"my.metric", l="v"} 1` + "\n",
		"a quoted name that has no value": `{"my.metric"` + "\n",
		"an open brace":                   "{\n",
		"a number in brackets":            "[1\n",
		"a number in brackets that is no": "[info] starting up\n",
		"a placeholder":                   "<name> 1\n",
		"an element that does not end":    "<metric> 1 </other>\n",
		"an option":                       "--push m 1\nContent-Type: text/plain\n",
		"a label without a brace":         "m{l=\"1\" 1\n",
		"one word":                        "m\n",
		"a percent sign":                  "m{l=\"100%\"} 1x\n",
		"a name with an equals sign":      "m=1 2\n",
		"a comment with an equals sign":   "#m=1\n",
		"UTF-16 of an odd length":         utf16of("m 1\n", true, true) + "x",
		"bytes after a mark of UTF-16":    "\xff\xfe\x00\xd8\x00\xd8\x01\x00",
		"UTF-32":                          "\xff\xfe\x00\x00m\x00\x00\x00 \x00\x00\x001\x00\x00\x00",
		"some zeros":                      strings.Repeat("\x00", 100),
		"a text with a zero":              "m 1\x00\n",
		"a length and a text":             "\x04m 1\n",
		"a family of no name":             undelimited(t, &dto.MetricFamily{Type: dto.MetricType_GAUGE.Enum()}),
		"a message with other fields":     message(1, "name") + message(9, "other"),
		"series without a name":           message(1, message(1, message(1, "job")+message(2, "a"))),
		"block snappy of random bytes":    block(randomBytes(1000)),
		"block snappy, then more":         block("m 1\n") + "x",
		"block snappy that is cut off":    block(plainText(1 << 10))[:100],
		"random bytes":                    randomBytes(10000),
	} {
		if l := sniff([]byte(body)); l != nil {
			t.Errorf("%s is taken for %s", name, l.name)
		}
	}
}

func randomBytes(n int) string {
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.IntN(256))
	}
	return string(b)
}

// TestWhatIsReadTodayIsNeverSniffed: however strange its headers are.
func TestWhatIsReadTodayIsNeverSniffed(t *testing.T) {
	g := start(t)
	for _, kind := range []string{
		"", "application/json", "text/html", "multipart/form-data; boundary=x",
		"application/x-protobuf", "application/openmetrics-text; version=1.0.0",
	} {
		for _, encoding := range []string{"", "br", "deflate", "utf-8", "identity", "gzip, gzip"} {
			for _, body := range []string{"m 1\n", "", "# {\"a\": 1}\nm 1\n", "# TYPE m counter\nm 1\n# EOF\n"} {
				g.must(http.StatusOK, "PUT", "/metrics/job/a", body, "Content-Type", kind, "Content-Encoding", encoding)
			}
		}
	}
}

// TestSnappyBlocksAreDecodedAsSnappyDecodesThem, as far as they are.
func TestSnappyBlocksAreDecodedAsSnappyDecodesThem(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var s strings.Builder
		for n := 1 + rng.IntN(20_000); s.Len() < n; {
			if rng.IntN(3) == 0 {
				s.WriteString(randomBytes(1 + rng.IntN(300)))
			} else {
				s.WriteString(strings.Repeat(fmt.Sprint("text ", rng.IntN(5)), 1+rng.IntN(40)))
			}
		}
		want := beginning([]byte(s.String()), sniffedBytes)
		if got := snappyBegin([]byte(block(s.String()))); !bytes.Equal(got, want) {
			t.Fatalf("of %d bytes the first %d are decoded otherwise", s.Len(), len(want))
		}
	}
}

// TestALargeBodyIsSniffedWithLittleMemory: as much as one reader of gzip takes.
func TestALargeBodyIsSniffedWithLittleMemory(t *testing.T) {
	large := strings.Repeat("m 1\n", 4<<20)
	for name, body := range map[string]string{
		"text": large, "a block of snappy": block(large), "gzip": gzipped(t, large), "JSON": "[" + strings.Repeat("[",
			16<<20),
		"XML": "<" + strings.Repeat("a", 16<<20), "zeros": strings.Repeat("\x00", 16<<20),
		"a remote write": writeRequest(100_000),
		"symbols":        message(4, "", "a") + strings.Repeat("\x22\x00", 8<<20),
	} {
		raw := []byte(body)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		sniff(raw)
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		t.Logf("%s: %d bytes, %s", name, after.TotalAlloc-before.TotalAlloc, took)
		if n := after.TotalAlloc - before.TotalAlloc; n > smallCost {
			t.Errorf("%s: %d bytes, want at most %d", name, n, smallCost)
		}
	}
}

// FuzzUnreadable pushes anything, in any encoding: it is taken, or refused in one line.
func FuzzUnreadable(f *testing.F) {
	for _, body := range []string{
		"m 1\n", "{}", gzipped(f, "m 1\n"), block("m 1\n"), snappyFramed(f, "m 1\n"), zstded(f, "m"), zlibbed(f, "m"),
		writeRequest(1), writeRequest2(),
		block(writeRequest(2)), utf16of("m 1\n", true, true), delimited(f, gaugeFamily("x")), "<a></a>", "a=b",
		"a%20b", "\x1b[31m\n",
	} {
		for _, encoding := range []string{"", "gzip", "snappy", "x-gzip", "br"} {
			f.Add([]byte(body), encoding, "application/x-www-form-urlencoded")
		}
	}
	g := start(f)
	f.Fuzz(func(t *testing.T, raw []byte, encoding, kind string) {
		h := http.Header{"Content-Encoding": {encoding}}
		b := &body{memory: bodyMemory{in: g.api.inFlight}, limit: 1 << 20, wire: raw}
		defer b.memory.free()
		b.coding, b.encoding = contentCoding(h)
		turn := &decodeSlot{in: g.api.inFlight}
		defer turn.releaseDecodeSlot()
		out, p := b.decompressed(t.Context(), turn)
		if p == nil {
			p = b.unreadable(kind, out, errNoLeader)
		}
		mustBeALine(t, expo.OneLine(p.text, maxAnswer)+"\n")
	})
}
