package api

import (
	"net/http"
	"strings"
	"testing"
)

func TestRequestsAreCountedByWhatTheyWereAnswered(t *testing.T) {
	g := start(t, func(c *Config) { c.EnableAdmin = true })
	g.must(http.StatusOK, "PUT", "/metrics/job/a", "x 1\n")
	g.must(http.StatusOK, "POST", "/metrics/job/a", "y 1\n")
	g.must(http.StatusBadRequest, "POST", "/metrics/job/a", "y is not a number\n")
	g.must(http.StatusBadRequest, "PUT", "/metrics/job/a/b", "x 1\n")
	g.must(http.StatusAccepted, "DELETE", "/metrics/job/a", "")
	g.must(http.StatusAccepted, "PUT", "/api/v1/admin/wipe", "")
	g.must(http.StatusOK, "GET", "/-/healthy", "")
	own := g.must(http.StatusOK, "GET", "/-/metrics", "").body
	for _, want := range []string{
		`pushgateway_http_requests_total{code="200",handler="push",method="put"} 1`,
		`pushgateway_http_requests_total{code="200",handler="push",method="post"} 1`,
		`pushgateway_http_requests_total{code="400",handler="push",method="post"} 1`,
		`pushgateway_http_requests_total{code="400",handler="push",method="put"} 1`,
		`pushgateway_http_requests_total{code="202",handler="delete",method="delete"} 1`,
		`pushgateway_http_requests_total{code="202",handler="wipe",method="put"} 1`,
		`pushgateway_http_requests_total{code="200",handler="healthy",method="get"} 1`,
		`pushgateway_http_push_size_bytes_count{method="post"} 2`,
		`pushgateway_http_push_duration_seconds_count{method="put"} 2`,
	} {
		if !strings.Contains(own, want+"\n") {
			t.Errorf("want %s in\n%s", want, own)
		}
	}
}
