package page

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/common/expfmt"

	"pushquorum/expo"
)

// One scrape of 10,000 groups of 4 families of 5 series, without a page before it.
func BenchmarkWrite(b *testing.B) {
	e := storeOf(b, 10_000)
	for name, f := range map[string]expfmt.Format{"text": expfmt.FmtText, "protobuf": expfmt.FmtProtoDelim} {
		b.Run("format="+name, func(b *testing.B) {
			var size countingWriter
			b.ReportAllocs()
			for b.Loop() {
				size = countingWriter{}
				if err := Write(&size, f, e); err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(size.bytes))
		})
	}
}

// The same scrape of a page: the first one, with nothing changed, and after changes of 100 groups.
func BenchmarkPage(b *testing.B) {
	const groups, changed = 10_000, 100
	e := storeOf(b, groups)
	other := storeOf(b, groups)
	rng := rand.New(rand.NewPCG(1, 2))
	versions := []expo.Exposition{e}
	for range 2 {
		those := map[string]bool{}
		for range changed {
			those[fmt.Sprintf("host-%05d", rng.IntN(groups))] = true
		}
		versions = append(versions, mixed(e, other, those))
	}
	for _, f := range []struct {
		name, encoding string
		format         expfmt.Format
	}{
		{"text", Identity, expfmt.FmtText},
		{"protobuf", Identity, expfmt.FmtProtoDelim},
		{"gzip", Gzip, expfmt.FmtText},
		{"zstd", Zstd, expfmt.FmtText},
	} {
		empty := mustPage(b, f.format, f.encoding)
		run := func(name string, next func(p *Page, i int) *Page) {
			b.Run("form="+f.name+"/"+name, func(b *testing.B) {
				p := empty.mustNext(b, e)
				b.SetBytes(p.Len())
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					p = next(p, i)
					if _, err := p.WriteTo(io.Discard); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("first", func(*Page, int) *Page { return empty.mustNext(b, e) })
		run("unchanged", func(p *Page, _ int) *Page { return p.mustNext(b, e) })
		run("changed=100", func(p *Page, i int) *Page { return p.mustNext(b, versions[1+i%2]) })
	}
}

// mixed returns e with the parts of some instances from other, which has the same parts.
func mixed(e, other expo.Exposition, instances map[string]bool) expo.Exposition {
	parts := map[string][]*expo.Family{}
	var headers []expo.Header
	for h, seq := range e {
		headers = append(headers, h)
		parts[h.Name] = slices.Collect(seq)
	}
	for h, seq := range other {
		i := 0
		for f := range seq {
			for instance := range instances {
				if bytes.Contains(f.Metrics(), []byte(instance)) {
					parts[h.Name][i] = f
				}
			}
			i++
		}
	}
	return func(yield func(expo.Header, iter.Seq[*expo.Family]) bool) {
		for _, h := range headers {
			if !yield(h, slices.Values(parts[h.Name])) {
				return
			}
		}
	}
}
