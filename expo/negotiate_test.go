package expo

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	_ "github.com/prometheus/client_golang/prometheus/promhttp/zstd" // so that promhttp offers it
	"github.com/prometheus/common/expfmt"
)

func TestTheFormatIsNegotiated(t *testing.T) {
	const proto = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding="
	// The right side was read off a Pushgateway 1.11.3, but for OpenMetrics 1.0.0 alone.
	table := []struct {
		accept string
		want   expfmt.Format
	}{
		{"", expfmt.FmtText + "; escaping=underscores"},
		{"*/*", expfmt.FmtText + "; escaping=underscores"},
		{"image/png", expfmt.FmtText + "; escaping=underscores"},
		{"text/plain", expfmt.FmtText + "; escaping=underscores"},
		{"text/plain;version=0.0.4;escaping=allow-utf-8", expfmt.FmtText + "; escaping=allow-utf-8"},
		{"text/plain;version=0.0.4;escaping=dots", expfmt.FmtText + "; escaping=dots"},
		{"text/plain;version=0.0.4;escaping=values", expfmt.FmtText + "; escaping=values"},
		{"text/plain;version=0.0.4;escaping=nonsense", expfmt.FmtText + "; escaping=underscores"},
		{"text/plain;version=1.0.0;escaping=allow-utf-8", expfmt.FmtText + "; escaping=allow-utf-8"},
		{proto + "delimited", expfmt.FmtProtoDelim + "; escaping=underscores"},
		{proto + "text", expfmt.FmtProtoText + "; escaping=underscores"},
		{proto + "compact-text", expfmt.FmtProtoCompact + "; escaping=underscores"},
		{proto + "unknown", expfmt.FmtText + "; escaping=underscores"},
		{"text/plain;q=0.5," + proto + "delimited;escaping=allow-utf-8;q=0.7", expfmt.FmtProtoDelim + "; escaping=allow-utf-8"},
		{"text/plain;q=0.7," + proto + "delimited;escaping=allow-utf-8;q=0.5", expfmt.FmtText + "; escaping=underscores"},
		{"application/openmetrics-text;version=1.0.0", expfmt.FmtText + "; escaping=underscores"},
		// Prometheus 2.x and 3.x, and 3.x with native histograms.
		{"application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2", expfmt.FmtText + "; escaping=underscores"},
		{"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2", expfmt.FmtText + "; escaping=allow-utf-8"},
		{proto + "delimited;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2", expfmt.FmtProtoDelim + "; escaping=allow-utf-8"},
	}
	for _, row := range table {
		h := http.Header{}
		if row.accept != "" {
			h.Set("Accept", row.accept)
		}
		if got := NegotiateFormat(h); got != row.want {
			t.Errorf("%q: got %s, want %s", row.accept, got, row.want)
		}
	}
}

// TestTheEncodingIsTheOnePromhttpChooses asks promhttp itself.
func TestTheEncodingIsTheOnePromhttpChooses(t *testing.T) {
	handler := promhttp.HandlerFor(prometheus.NewRegistry(), promhttp.HandlerOpts{})
	for _, values := range [][]string{
		nil,
		{""},
		{"gzip"},
		{"zstd"},
		{"identity"},
		{"*"},
		{"br"},
		{"deflate, gzip;q=1.0, *;q=0.5"},
		{"gzip, zstd"},
		{"zstd, gzip"},
		{"gzip;q=0.5, zstd;q=0.6"},
		{"gzip;q=0.5,zstd;q=0.5"},
		{"gzip; q=0.8 , zstd"},
		{"gzip;q=0"},
		{"identity;q=0"},
		{"*;q=0"},
		{"gzip;q=0, *"},
		{"gzip;q=0, identity;q=0.1"},
		{"GZIP"},
		{"gzip;level=1"},
		{"gzip;q=x, zstd"},
		{"gzip;q=2, zstd"},
		{"gzip;q=-1"},
		{"gzip,"},
		{",gzip"},
		{"br", "gzip"},
		{"gzip;q=0.1", "zstd;q=0.2"},
		{"gzip;q=1.000"},
		{"gzip;q=NaN, zstd"},
		{"gzip;q=.5, zstd;q=0.1"},
		{"gzip;q=1e-1"},
		{"gz ip"},
		{"gzip;q=0.5;x=y, zstd;q=0.1"},
	} {
		request := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		for _, value := range values {
			request.Header.Add("Accept-Encoding", value)
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		want := answer.Header().Get("Content-Encoding")
		if want == "" {
			want = Identity
		}
		if got := NegotiateEncoding(request.Header); got != want {
			t.Errorf("%q: got %s, want %s", values, got, want)
		}
	}
}
