package test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protodelim"
)

func TestAScrapeComesInTheFormatThatIsAskedFor(t *testing.T) {
	t.Parallel()
	peer, ours := startPushgateway(t), startReplica(t)
	for _, base := range []string{peer.url(""), ours.url("")} {
		mustDo(t, http.StatusOK, request{method: http.MethodPut, url: base + "/metrics/job/a", body: everyType})
	}
	for _, accept := range []string{
		"", "*/*", "text/plain", "text/plain; version=0.0.4", "application/json",
		"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
		"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=text",
		"application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=compact-text",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7," +
			"text/plain;version=0.0.4;q=0.3",
		// Prometheus 2.42, word for word: OpenMetrics first, which a Pushgateway does not speak.
		"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75," +
			"text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
		"application/openmetrics-text; version=1.0.0",
	} {
		t.Run("Accept: "+accept, func(t *testing.T) {
			ask := request{header: map[string]string{"Accept": accept}}
			ask.url = peer.url("/metrics")
			want := mustDo(t, http.StatusOK, ask)
			ask.url = ours.url("/metrics")
			got := mustDo(t, http.StatusOK, ask)
			// Newer ones add how they escape names; the format is what was asked for.
			format := func(a answer) string {
				return strings.Split(a.header.Get("Content-Type"), "; escaping=")[0]
			}
			if format(want) != format(got) {
				t.Errorf("Content-Type: the peer %q, ours %q",
					want.header.Get("Content-Type"), got.header.Get("Content-Type"))
			}
		})
	}
}

func TestAScrapeInProtobufHasTheSameSeries(t *testing.T) {
	t.Parallel()
	r := startReplica(t, "--web.include-self-metrics=false")
	r.push("/metrics/job/a", everyType)
	a := mustDo(t, http.StatusOK, request{url: r.url("/metrics"), header: map[string]string{"Accept": delimited}})
	types := map[string]dto.MetricType{}
	for body := bytes.NewReader([]byte(a.body)); body.Len() > 0; {
		var family dto.MetricFamily
		if err := protodelim.UnmarshalFrom(body, &family); err != nil {
			t.Fatal(err)
		}
		types[family.GetName()] = family.GetType()
		for _, metric := range family.GetMetric() {
			if job := metric.GetLabel()[1]; job.GetName() != "job" || job.GetValue() != "a" {
				t.Errorf("%s: labels %v", family.GetName(), metric.GetLabel())
			}
		}
	}
	for name, want := range map[string]dto.MetricType{
		"e2e_counter_total": dto.MetricType_COUNTER, "e2e_gauge": dto.MetricType_GAUGE,
		"e2e_histogram_seconds": dto.MetricType_HISTOGRAM,
		"e2e_summary_seconds":   dto.MetricType_SUMMARY, "e2e_untyped": dto.MetricType_UNTYPED,
		"push_time_seconds": dto.MetricType_GAUGE,
	} {
		if got, ok := types[name]; !ok || got != want {
			t.Errorf("%s: want %s, got %s (there: %t)", name, want, got, ok)
		}
	}
}

func TestAScrapeIsCompressedWhenTheClientAsksForIt(t *testing.T) {
	t.Parallel()
	r := startReplica(t, "--web.include-self-metrics=false")
	r.push("/metrics/job/a", everyType)
	plain := r.scrape()
	for accept, decode := range map[string]func(io.Reader) (io.Reader, error){
		"gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"zstd": func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
	} {
		a := mustDo(
			t, http.StatusOK, request{url: r.url("/metrics"), header: map[string]string{"Accept-Encoding": accept}})
		if got := a.header.Get("Content-Encoding"); got != accept {
			t.Errorf("Accept-Encoding: %s: Content-Encoding is %q", accept, got)
			continue
		}
		body, err := decode(strings.NewReader(a.body))
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(body); err != nil || string(text) != plain {
			t.Errorf("%s: %v\n%s", accept, err, diff(plain, string(text)))
		}
	}
}
