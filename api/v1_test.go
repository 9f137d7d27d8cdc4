package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
)

// allTypes is one family of each type in the text format.
const allTypes = `# HELP c A "counter" of <&>.
# TYPE c counter
c{l="<&>"} 1e21
# TYPE h histogram
h_bucket{le="0.1"} 1
h_bucket{le="1e6"} 3
h_bucket{le="+Inf"} 4
h_sum 12345678
h_count 4
# TYPE s summary
s{quantile="0.5"} NaN
s{quantile="0.9"} 1e-7
s_sum 2
s_count 3
u -Inf
`

func histogramFamily(name string, t dto.MetricType, h *dto.Histogram) *dto.MetricFamily {
	return &dto.MetricFamily{Name: proto.String(name), Type: t.Enum(), Metric: []*dto.Metric{{Histogram: h}}}
}

func span(offset int32, length uint32) *dto.BucketSpan {
	return &dto.BucketSpan{Offset: proto.Int32(offset), Length: proto.Uint32(length)}
}

// TestGroupsAreQueriedInThePushgatewaysForm has answers that were compared with those of a running Pushgateway 1.11.3.
func TestGroupsAreQueriedInThePushgatewaysForm(t *testing.T) {
	g := start(t)
	if got := g.must(http.StatusOK, "GET", "/api/v1/metrics", "").body; got != `{"status":"success","data":[]}` {
		t.Errorf("nothing stored: got %s", got)
	}
	g.must(http.StatusOK, "PUT", "/metrics/job/text", allTypes)
	g.must(http.StatusOK, "PUT", "/metrics/job/native", delimited(
		t,
		histogramFamily("nh", dto.MetricType_HISTOGRAM, &dto.Histogram{
			SampleCount: proto.Uint64(12), SampleSum: proto.Float64(1.5), Schema: proto.Int32(3),
			ZeroThreshold: proto.Float64(0.001), ZeroCount: proto.Uint64(1),
			NegativeSpan: []*dto.BucketSpan{span(-1, 2)}, NegativeDelta: []int64{2, 0},
			PositiveSpan: []*dto.BucketSpan{span(0, 2), span(3, 1)}, PositiveDelta: []int64{1, 1, 2},
		}),
		histogramFamily("fh", dto.MetricType_HISTOGRAM, &dto.Histogram{
			SampleCountFloat: proto.Float64(6.5), SampleSum: proto.Float64(-1.5), Schema: proto.Int32(0),
			ZeroThreshold: proto.Float64(0.001), ZeroCountFloat: proto.Float64(0.5),
			PositiveSpan: []*dto.BucketSpan{span(0, 2)}, PositiveCount: []float64{2.5, 3.5},
		}),
		histogramFamily("gh", dto.MetricType_GAUGE_HISTOGRAM, &dto.Histogram{
			SampleCount: proto.Uint64(3), SampleSum: proto.Float64(3),
			Bucket: []*dto.Bucket{{UpperBound: proto.Float64(1), CumulativeCount: proto.Uint64(3)}},
		}),
	), "Content-Type", protobufType)
	g.must(http.StatusBadRequest, "PUT", "/metrics/job/native", "x 1 1000\n")

	const successHelp, failureHelp = "Last Unix time when changing this group in the Pushgateway succeeded.",
		"Last Unix time when changing this group in the Pushgateway failed."
	at := func(second string) string { return `{"time_stamp":"2023-11-14T22:13:` + second + `Z","type":"` }
	want := `{"status":"success","data":[{` +
		`"fh":` + at("22") + `HISTOGRAM","metrics":[{"buckets":[[3,"-0.001","0.001","0.5"],[0,"0.5","1","2.5"],[0,` +
		`"1","2","3.5"]],"count":"6.5","labels":{"instance":"","job":"native"},"sum":"-1.5"}]},` +
		`"gh":` + at("22") + `GAUGE_HISTOGRAM","metrics":[{"buckets":{"1":"3"},"count":"3","labels":{"instance":"",` +
		`"job":"native"},"sum":"3"}]},` +
		`"labels":{"job":"native"},"last_push_successful":false,` +
		`"nh":` + at("22") + `HISTOGRAM","metrics":[{"buckets":[[1,"-1","-0.9170040432046711","2"],[1,` +
		`"-0.9170040432046711","-0.8408964152537144","2"],[3,"-0.001","0.001","1"],[0,"0.9170040432046711","1","1"],` +
		`[0,"1","1.0905077326652577","2"],[0,"1.414213562373095","1.5422108254079407","4"]],"count":"12",` +
		`"labels":{"instance":"","job":"native"},"sum":"1.5"}]},` +
		`"push_failure_time_seconds":` + at("23") + `GAUGE","help":"` +
		failureHelp + `","metrics":[{"labels":{"instance":"","job":"native"},"value":"1.700000003e+09"}]},` +
		`"push_time_seconds":` + at("22") + `GAUGE","help":"` +
		successHelp + `","metrics":[{"labels":{"instance":"","job":"native"},"value":"1.700000002e+09"}]}` +
		`},{` +
		`"c":` + at("21") + `COUNTER","help":"A \"counter\" of ` +
		`\u003c\u0026\u003e.","metrics":[{"labels":{"instance":"","job":"text","l":"\u003c\u0026\u003e"},` +
		`"value":"1e+21"}]},` +
		`"h":` + at("21") + `HISTOGRAM","metrics":[{"buckets":{"+Inf":"4","0.1":"1","1e+06":"3"},"count":"4",` +
		`"labels":{"instance":"","job":"text"},"sum":"1.2345678e+07"}]},` +
		`"labels":{"job":"text"},"last_push_successful":true,` +
		`"push_failure_time_seconds":` + at("21") + `GAUGE","help":"` +
		failureHelp + `","metrics":[{"labels":{"instance":"","job":"text"},"value":"0"}]},` +
		`"push_time_seconds":` + at("21") + `GAUGE","help":"` +
		successHelp + `","metrics":[{"labels":{"instance":"","job":"text"},"value":"1.700000001e+09"}]},` +
		`"s":` + at("21") + `SUMMARY","metrics":[{"count":"3","labels":{"instance":"","job":"text"},` +
		`"quantiles":{"0.5":"NaN","0.9":"1e-07"},"sum":"2"}]},` +
		`"u":` + at("21") + `UNTYPED","metrics":[{"labels":{"instance":"","job":"text"},"value":"-Inf"}]}` +
		`}]}`
	got := g.must(http.StatusOK, "GET", "/api/v1/metrics", "")
	if got.body != want {
		t.Errorf("want\n%s\ngot\n%s", want, got.body)
	}
	if got.header.Get("Content-Type") != "application/json" {
		t.Errorf("content type %q", got.header.Get("Content-Type"))
	}
}

func TestStatusShowsFlagsBuildAndStart(t *testing.T) {
	g := start(t, func(c *Config) {
		c.Flags, c.BuildInfo = map[string]string{"web.listen-address": ":9091"}, map[string]string{"version": "1.2.3"}
		c.StartTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	})
	want := `{"status":"success","data":{"build_information":{"version":"1.2.3"},` +
		`"flags":{"web.listen-address":":9091"},"limits":[],"start_time":"2026-01-02T03:04:05Z"}}`
	if got := g.must(http.StatusOK, "GET", "/api/v1/status", "").body; got != want {
		t.Errorf("want %s, got %s", want, got)
	}
}

func TestTheClusterIsShown(t *testing.T) {
	g := start(t)
	g.must(http.StatusNotFound, "GET", "/api/v1/cluster", "")
	g = start(t, func(c *Config) {
		c.Cluster = func(context.Context) ClusterStatus {
			return ClusterStatus{
				Self: "r1", Leader: "r2", Term: 3, CommitIndex: 18, AppliedIndex: 17, StateHash: "ab",
				Members: []Member{{
					Name: "r1", ID: "u", PeerAddress: "h:1", Role: "voter", State: "leader",
					Healthy: true, AppliedIndex: 17, Version: "v",
				}},
			}
		}
	})
	want := `{"status":"success","data":{"self":"r1","leader":"r2","term":3,"commit_index":18,"applied_index":17,` +
		`"state_hash":"ab","members":[` +
		`{"name":"r1","id":"u","peer_address":"h:1","role":"voter","state":"leader","healthy":true,` +
		`"applied_index":17,"version":"v"}]}}`
	if got := g.must(http.StatusOK, "GET", "/api/v1/cluster", "").body; got != want {
		t.Errorf("want %s, got %s", want, got)
	}
	g = start(t, func(c *Config) { c.Cluster = func(context.Context) ClusterStatus { return ClusterStatus{} } })
	if got := g.must(http.StatusOK, "GET", "/api/v1/cluster", "").body; !strings.Contains(got, `"members":[]`) {
		t.Errorf("nothing known: want a list, got %s", got)
	}
}

func TestPagesOfOtherOriginsMayQuery(t *testing.T) {
	g := start(t)
	for _, method := range []string{"GET", "OPTIONS"} {
		for _, path := range []string{"/api/v1/status", "/api/v1/metrics"} {
			h := g.must(http.StatusOK, method, path, "").header
			if h.Get("Access-Control-Allow-Origin") != "*" ||
				h.Get("Access-Control-Allow-Methods") != "GET, POST, DELETE, OPTIONS" ||
				h.Get("Access-Control-Allow-Headers") != "Accept, Authorization, Content-Type, Origin" ||
				!strings.Contains(h.Get("Access-Control-Expose-Headers"), "Date") ||
				h.Get("Cache-Control") != "no-cache, no-store, must-revalidate" {
				t.Errorf("%s %s: headers %v", method, path, h)
			}
		}
	}
	for _, path := range []string{"/metrics/job/a", "/"} {
		if h := g.do("OPTIONS", path, "").header; h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: pages of other origins must not push", path)
		}
	}
}

func TestErrorsOfTheQueryAPIAreJSON(t *testing.T) {
	g := start(t)
	g.replica.barrier, g.replica.behind = errNoLeader, true
	var got envelope
	a := g.must(http.StatusServiceUnavailable, "GET", "/api/v1/metrics", "")
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Status != "error" ||
		got.ErrorType != "unavailable" || !strings.Contains(got.Error, "no leader") {
		t.Errorf("got %s (%v)", a.body, err)
	}
}
