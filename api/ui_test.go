package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"pushquorum/expo"
)

func TestHostileTextIsShownAsText(t *testing.T) {
	const evil = `"><script>alert('x')</script>` + "\n{{.Admin}}&amp;`"
	g := start(t, func(c *Config) {
		c.Flags = map[string]string{"evil": evil}
		c.Cluster = func(context.Context) ClusterStatus {
			return ClusterStatus{Self: evil, Leader: evil, Members: []Member{{Name: evil, Version: evil}}}
		}
	})
	quoted := strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(evil)
	help := strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(evil)
	g.must(http.StatusOK, "PUT", "/metrics/job@base64/"+encodeBase64(evil)+"/l@base64/"+encodeBase64(evil),
		"# HELP x "+help+"\nx{evil=\""+quoted+"\"} 1\n")
	page := g.must(http.StatusOK, "GET", "/?q="+url.QueryEscape("<script>"), "").body
	if n := strings.Count(page, "<script"); n != 1 {
		t.Errorf("want one script element, the page's own, got %d in\n%s", n, page)
	}
	if n := strings.Count(page, "&lt;script&gt;alert("); n < 8 {
		t.Errorf("want the text to be shown wherever it stands, got it %d times in\n%s", n, page)
	}

	// The path in the delete button still names the group.
	path := regexp.MustCompile(`data-delete="([^"]*)"`).FindStringSubmatch(page)
	if path == nil {
		t.Fatalf("no delete button in\n%s", page)
	}
	g.must(http.StatusAccepted, "DELETE", "/"+path[1], "")
	if n := g.replica.View().Len(); n != 0 {
		t.Errorf("%d groups are left, want none", n)
	}
}

func TestThePageShowsEverythingOnce(t *testing.T) {
	g := start(t, func(c *Config) {
		c.ExternalPrefix, c.BuildInfo = "/ext", map[string]string{"version": "1.2.3"}
		c.Cluster = func(context.Context) ClusterStatus {
			return ClusterStatus{Self: "r1", Members: []Member{{Name: "r1"}, {Name: "r2"}}}
		}
	})
	g.must(http.StatusOK, "PUT", "/metrics/job/a/zone/z/instance/i", allTypes)
	g.must(http.StatusBadRequest, "PUT", "/metrics/job/b", "x 1 1000\n")
	page := g.must(http.StatusOK, "GET", "/status", "").body
	for _, want := range []string{
		`<span class="label">job="a"</span> <span class="label">instance="i"</span> <span ` +
			`class="label">zone="z"</span>`,
		"last push 2023-11-14T22:13:21Z, last failure never", "last push failed",
		"last push never, last failure 2023-11-14T22:13:22Z",
		`<code>h</code> <span class="type">histogram</span>`,
		"count 4, sum 12345678\n≤ 0.1: 1\n≤ 1000000: 3\n≤ &#43;Inf: 4", "count 3, sum 2\nquantile 0.5: NaN",
		"<strong>r1</strong>. The leader is unknown", "<td>r2</td>", `<th scope="row">version</th><td>1.2.3</td>`,
		`data-wipe="2"`,
		`href="/ext/static/page.css?v=1.2.3"`, `data-delete="metrics/job/a/instance/i/zone/z"`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("want %q in\n%s", want, page)
		}
	}
}

func TestThePageHoldsNoMoreThanIsUsable(t *testing.T) {
	g := start(t)
	for i := range maxUIGroups + 5 {
		g.must(http.StatusOK, "PUT", fmt.Sprintf("/metrics/job/a/n/%d", i), "x 1\n")
	}
	var many strings.Builder
	for i := range maxUISeries {
		fmt.Fprintf(&many, "many{n=\"%d\"} 1\n", i)
	}
	g.must(http.StatusOK, "PUT", "/metrics/job/many", many.String())
	page := g.must(http.StatusOK, "GET", "/", "").body
	if n := strings.Count(page, `<details class="group">`); n != maxUIGroups ||
		!strings.Contains(page, "1006 stored; the first 1000 are shown") {
		t.Errorf("want %d groups and a note, got %d groups", maxUIGroups, n)
	}
	for query, want := range map[string]int{"many": 1, `n="1004"`: 1, "1004": 1, "nowhere": 0, `job="a"`: maxUIGroups} {
		page := g.must(http.StatusOK, "GET", "/?q="+url.QueryEscape(query), "").body
		if n := strings.Count(page, `<details class="group">`); n != want {
			t.Errorf("filtered by %s: want %d groups, got %d", query, want, n)
		}
	}
	g.must(http.StatusOK, "POST", "/metrics/job/many", "more{n=\"0\"} 1\n")
	if page := g.must(http.StatusOK, "GET", "/?q=many", "").body; strings.Count(page, "<tr><td>") != maxUISeries ||
		!strings.Contains(page, "1 series, too many") {
		t.Errorf("want %d series and a note that one is left out, got %d", maxUISeries, strings.Count(page, "<tr><td>"))
	}
}

func TestThePageLoadsNothingFromElsewhere(t *testing.T) {
	g := start(t)
	page := g.must(http.StatusOK, "GET", "/", "")
	if csp := page.header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; ") ||
		strings.Contains(csp, "unsafe") {
		t.Errorf("Content-Security-Policy is %q", csp)
	}
	if page.header.Get("Content-Type") != "text/html; charset=utf-8" ||
		page.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v", page.header)
	}
	links := regexp.MustCompile(`(?:href|src)="(\./static/[^"]*)"`).FindAllStringSubmatch(page.body, -1)
	if len(links) != 3 {
		t.Fatalf("want three static files, got %v", links)
	}
	for _, link := range links {
		path := strings.TrimPrefix(link[1], ".")
		file, _, _ := strings.Cut(path, "?")
		want := map[string]string{
			"css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
			"svg": "image/svg+xml",
		}[file[len(file)-3:]]
		if a := g.must(http.StatusOK, "GET", path, ""); a.header.Get("Content-Type") != want || a.body == "" {
			t.Errorf("%s: want content type %q, got %q", path, want, a.header.Get("Content-Type"))
		}
	}
	g.must(http.StatusNotFound, "GET", "/static/%2e%2e/page.html", "")
	g.must(http.StatusNotFound, "GET", "/static/", "")
}

// TestManyNativeBucketsAreNeitherMadeIntoTextNorDecodedWithoutEnd, though they take little room on the page.
func TestManyNativeBucketsAreNeitherMadeIntoTextNorDecodedWithoutEnd(t *testing.T) {
	const series, buckets, most = 10, 3000, 60 // bytes allocated for each bucket
	g := start(t)
	push := func(buckets int) *expo.Family {
		body := &dto.MetricFamily{Name: proto.String("h"), Type: dto.MetricType_HISTOGRAM.Enum()}
		for i := range series {
			label := &dto.LabelPair{Name: proto.String("l"), Value: proto.String(fmt.Sprint(i))}
			body.Metric = append(body.Metric, &dto.Metric{
				Label:     []*dto.LabelPair{label},
				Histogram: manyBuckets(buckets / 2),
			})
		}
		g.must(http.StatusOK, "PUT", "/metrics/job/a", delimited(t, body), "Content-Type", protobufType)
		for group := range g.replica.View().Groups() {
			return group.Families[0].Family
		}
		return nil
	}
	f := push(buckets)
	var shown []uiSeries
	taken := allocated(func() { shown = g.api.series(f, newUIRoom()) })
	if len(shown) != series || shown[0].Value != "count 3000, sum 0\nnative: 3000 buckets, too many for this page" {
		t.Errorf("got %q", shown)
	}
	if per := taken / (series * buckets); per > most {
		t.Errorf("want at most %d bytes allocated for each bucket, got %d", most, per)
	}
	bytes := 0
	for encoded, err := range f.Encoded() {
		if err != nil {
			t.Fatal(err)
		}
		bytes = len(encoded)
	}
	if n := len(g.api.series(f, &uiRoom{series: series, bytes: 3 * bytes})); n != 3 {
		t.Errorf("want as many series to be decoded as the page has room for, 3, got %d", n)
	}
	shown = g.api.series(push(maxShownBuckets), newUIRoom())
	if !strings.Contains(shown[0].Value, "native: {count:256, sum:0, [-") {
		t.Errorf("want %d buckets to be shown, got %q", maxShownBuckets, shown[0].Value)
	}
	shown = g.api.series(push(maxShownMetric), newUIRoom())
	if !strings.HasPrefix(shown[0].Value, "too long for this page: ") {
		t.Errorf("got %.100q", shown[0].Value)
	}
}
