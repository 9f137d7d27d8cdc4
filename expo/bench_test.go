package expo

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"pushquorum/expo/internal/expotest"
)

// One push: 4 families of 5 series.
func BenchmarkParse(b *testing.B) {
	var text bytes.Buffer
	for _, mf := range expotest.Push() {
		if _, err := expfmt.MetricFamilyToText(&text, mf); err != nil {
			b.Fatal(err)
		}
	}
	for name, body := range map[BodyFormat][]byte{
		FormatText: text.Bytes(), FormatProtobuf: expotest.Delimited(b, expotest.Push()...),
	} {
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
	mfs := expotest.Push() // Canonical leaves valid families as they are, so they can be used again.
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
		gaugeOf(PushTimeName, group, 1.7e9)
	}
}

func BenchmarkPlain(b *testing.B) {
	var text bytes.Buffer
	for _, mf := range expotest.Push() {
		if _, err := expfmt.MetricFamilyToText(&text, mf); err != nil {
			b.Fatal(err)
		}
	}
	group := NewLabels(map[string]string{"job": "batch", "instance": "host-00001"})
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		p := Plain(text.Bytes(), group)
		if p == nil {
			b.Fatalf("not plain:\n%s", text.Bytes())
		}
		p.Release()
	}
}
