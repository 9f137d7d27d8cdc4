package expo

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// One push: 4 families of 5 series.
func BenchmarkParse(b *testing.B) {
	var text bytes.Buffer
	for _, mf := range benchFamilies() {
		if _, err := expfmt.MetricFamilyToText(&text, mf); err != nil {
			b.Fatal(err)
		}
	}
	for name, body := range map[BodyFormat][]byte{FormatText: text.Bytes(), FormatProtobuf: delimited(b, benchFamilies()...)} {
		b.Run(fmt.Sprintf("format=%s", []string{"text", "protobuf"}[name]), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(bytes.NewReader(body), name, model.LegacyValidation); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCanonical(b *testing.B) {
	group := NewLabels(map[string]string{"job": "batch", "instance": "host-00001"})
	mfs := benchFamilies() // Canonical leaves valid families as they are, so they can be used again.
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Canonical(group, mfs, model.LegacyValidation); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGauge(b *testing.B) {
	group := NewLabels(map[string]string{"job": "batch", "instance": "host-00001"})
	b.ReportAllocs()
	for b.Loop() {
		Gauge(PushTimeName, "h", group, 1.7e9)
	}
}

// One scrape of 10,000 groups of 4 families of 5 series.
func BenchmarkWrite(b *testing.B) {
	const groups = 10_000
	e := storeOf(b, groups)
	for _, f := range []expfmt.FormatType{expfmt.TypeTextPlain, expfmt.TypeProtoDelim} {
		name := map[expfmt.FormatType]string{expfmt.TypeTextPlain: "text", expfmt.TypeProtoDelim: "protobuf"}[f]
		for _, encoding := range []string{Identity, Gzip, Zstd} {
			b.Run("format="+name+"/encoding="+encoding, func(b *testing.B) {
				var size countingWriter
				if err := Write(&size, expfmt.NewFormat(f), e); err != nil { // Warms up.
					b.Fatal(err)
				}
				b.SetBytes(int64(size.bytes))
				b.ReportAllocs()
				for b.Loop() {
					w, err := Compress(io.Discard, encoding)
					if err != nil {
						b.Fatal(err)
					}
					if err := Write(w, expfmt.NewFormat(f), e); err != nil {
						b.Fatal(err)
					}
					if err := w.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	b.Run("format=text/encoding=identity/cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			e := storeOf(b, groups/10)
			b.StartTimer()
			if err := Write(io.Discard, expfmt.FmtText, e); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPlain(b *testing.B) {
	var text bytes.Buffer
	for _, mf := range benchFamilies() {
		if _, err := expfmt.MetricFamilyToText(&text, mf); err != nil {
			b.Fatal(err)
		}
	}
	group := NewLabels(map[string]string{"job": "batch", "instance": "host-00001"})
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := Plain(text.Bytes(), group); !ok {
			b.Fatalf("not plain:\n%s", text.Bytes())
		}
	}
}
