package page

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
	// Most of the right side was read off a Pushgateway 1.11.3, which looks at no clause after the chosen one.
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
		{
			"text/plain;q=0.5," + proto + "delimited;escaping=allow-utf-8;q=0.7",
			expfmt.FmtProtoDelim + "; escaping=allow-utf-8",
		},
		{
			"text/plain;q=0.7," + proto + "delimited;escaping=allow-utf-8;q=0.5",
			expfmt.FmtText + "; escaping=allow-utf-8",
		},
		{"application/openmetrics-text;version=1.0.0", expfmt.FmtText + "; escaping=underscores"},
		// An escaping counts for other clauses than its own, but not against theirs.
		{
			"text/plain;escaping=dots," + proto + "delimited;escaping=allow-utf-8;q=0.7",
			expfmt.FmtText + "; escaping=dots",
		},
		{
			"text/plain;escaping=underscores,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7",
			expfmt.FmtText + "; escaping=underscores",
		},
		{"image/png;escaping=dots,image/gif;escaping=values,text/plain;q=0.5", expfmt.FmtText + "; escaping=values"},
		{
			"image/png;escaping=dots,text/plain;q=0.5,image/gif;escaping=values;q=0.3",
			expfmt.FmtText + "; escaping=dots",
		},
		{
			"image/png;escaping=dots,text/plain;q=0.5,image/gif;escaping=allow-utf-8;q=0.3",
			expfmt.FmtText + "; escaping=allow-utf-8",
		},
		{
			"text/plain,image/png;escaping=dots;q=0.5,image/gif;escaping=values;q=0.3",
			expfmt.FmtText + "; escaping=dots",
		},
		{
			"text/plain;escaping=nonsense,image/gif;escaping=allow-utf-8;q=0.3",
			expfmt.FmtText + "; escaping=allow-utf-8",
		},
		{"image/gif;escaping=allow-utf-8", expfmt.FmtText + "; escaping=allow-utf-8"},
	}
	for _, row := range table {
		expectFormat(t, row.accept, row.accept, row.want)
	}
}

// What Prometheus sends, word for word. One server must get the same names in all its scrape jobs: a job that asks for
// native histograms gets protobuf, and another one text.
func TestPrometheusGetsTheSameNamesInEveryFormat(t *testing.T) {
	const proto = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
	openMetrics := func(escaping string) string {
		return "application/openmetrics-text;version=1.0.0;escaping=" + escaping
	}
	text := func(escaping string) string { return "text/plain;version=1.0.0;escaping=" + escaping }
	since35 := func(escaping string) string {
		return openMetrics(escaping) + ";q=0.6,application/openmetrics-text;version=0.0.1;q=0.5," +
			text(escaping) + ";q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
	}
	since35Native := func(escaping string) string {
		return proto + ";q=0.6," + openMetrics(escaping) + ";q=0.5,application/openmetrics-text;version=0.0.1;q=0.4," +
			text(escaping) + ";q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
	}
	table := []struct {
		client, accept string
		want           expfmt.Format
	}{
		{
			"2.42", "application/openmetrics-text;version=1.0.0," +
				"application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
			expfmt.FmtText + "; escaping=underscores",
		},
		{
			"2.42, native histograms",
			proto + ",application/openmetrics-text;version=1.0.0;q=0.8," +
				"application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
			expfmt.FmtProtoDelim + "; escaping=underscores",
		},
		{
			"2.53", "application/openmetrics-text;version=1.0.0;q=0.5," +
				"application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
			expfmt.FmtText + "; escaping=underscores",
		},
		{
			"2.53, native histograms",
			proto + ";q=0.5,application/openmetrics-text;version=1.0.0;q=0.4," +
				"application/openmetrics-text;version=0.0.1;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
			expfmt.FmtProtoDelim + "; escaping=underscores",
		},
		{
			"2.55, UTF-8 names",
			openMetrics("allow-utf-8") + ";q=0.5," +
				"application/openmetrics-text;version=0.0.1;escaping=allow-utf-8;q=0.4," +
				"text/plain;version=0.0.4;escaping=allow-utf-8;q=0.3,*/*;q=0.2",
			expfmt.FmtText + "; escaping=allow-utf-8",
		},
		{
			"3.0, native histograms",
			proto + ";escaping=allow-utf-8;q=0.6," + openMetrics("allow-utf-8") + ";q=0.5," +
				"application/openmetrics-text;version=0.0.1;escaping=allow-utf-8;q=0.4," +
				"text/plain;version=1.0.0;escaping=allow-utf-8;escaping=allow-utf-8;q=0.3," +
				"text/plain;version=0.0.4;escaping=allow-utf-8;q=0.2,*/*;q=0.1",
			expfmt.FmtProtoDelim + "; escaping=allow-utf-8",
		},
		// It says allow-utf-8 beside text 1.0.0, and would fail the whole scrape over a UTF-8 name.
		{
			"3.0, legacy names",
			"application/openmetrics-text;version=1.0.0;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5," +
				"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
			expfmt.FmtText + "; escaping=underscores",
		},
		{
			"3.0, legacy names, native histograms",
			proto + ";q=0.6,application/openmetrics-text;version=1.0.0;q=0.5," +
				"application/openmetrics-text;version=0.0.1;q=0.4," +
				"text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
			expfmt.FmtProtoDelim + "; escaping=underscores",
		},
		{"3.5", since35("allow-utf-8"), expfmt.FmtText + "; escaping=allow-utf-8"},
		{"3.5, native histograms", since35Native("allow-utf-8"), expfmt.FmtProtoDelim + "; escaping=allow-utf-8"},
		{"3.5, legacy names", since35("underscores"), expfmt.FmtText + "; escaping=underscores"},
		{
			"3.5, legacy names, native histograms", since35Native("underscores"),
			expfmt.FmtProtoDelim + "; escaping=underscores",
		},
		{"3.5, names with dots", since35("dots"), expfmt.FmtText + "; escaping=dots"},
		{"3.5, names with dots, native histograms", since35Native("dots"), expfmt.FmtProtoDelim + "; escaping=dots"},
		{"3.5, names as values", since35("values"), expfmt.FmtText + "; escaping=values"},
		{
			"3.5, names as values, native histograms", since35Native("values"),
			expfmt.FmtProtoDelim + "; escaping=values",
		},
	}
	for _, row := range table {
		expectFormat(t, "Prometheus "+row.client, row.accept, row.want)
	}
}

func expectFormat(t *testing.T, name, accept string, want expfmt.Format) {
	t.Helper()
	h := http.Header{}
	if accept != "" {
		h.Set("Accept", accept)
	}
	if got := NegotiateFormat(h); got != want {
		t.Errorf("%q: got %s, want %s", name, got, want)
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
