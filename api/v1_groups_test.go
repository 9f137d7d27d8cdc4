package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"pushquorum/expo"
	"pushquorum/fsm"
)

// wholeGroup is what writeGroups writes of a group, made at once by encoding/json.
func wholeGroup(t *testing.T, g *fsm.Group) map[string]any {
	t.Helper()
	type family struct {
		Time    time.Time      `json:"time_stamp"`
		Type    string         `json:"type"`
		Help    string         `json:"help,omitempty"`
		Metrics []metricObject `json:"metrics"`
	}
	object := map[string]any{"labels": g.Labels().Map(), "last_push_successful": g.LastPushSuccessful()}
	add := func(f *expo.Family, unixNano int64) {
		mf, err := f.Decode()
		if err != nil {
			t.Fatal(err)
		}
		out := family{
			Time: time.Unix(0, unixNano).UTC(), Type: f.Type.String(), Help: f.Help,
			Metrics: []metricObject{},
		}
		for _, m := range mf.GetMetric() {
			out.Metrics = append(out.Metrics, newMetricObject(m, f.Type))
		}
		object[f.Name] = out
	}
	for _, f := range g.Families {
		add(f.Family, f.Time)
	}
	add(g.PushTimeFamily(), g.PushTouched)
	add(g.FailureTimeFamily(), g.FailureTouched)
	return object
}

// randomBody is a push of some of the names that are hard to sort, in types and with values that are hard to write.
func randomBody(rng *rand.Rand) string {
	pick := func(from ...string) string { return from[rng.IntN(len(from))] }
	var b strings.Builder
	for _, name := range []string{
		"Z", "_", "a", "labels", "labelt", "last_push_successful", "m", "push_failure",
		"push_failure_time_secondt", "push_time", "zz",
	} {
		if rng.IntN(2) == 0 {
			continue
		}
		if rng.IntN(2) == 0 {
			fmt.Fprintf(&b, "# HELP %s %s\n", name, pick("help", "<&>", "日本", `two\nlines`))
		}
		label := `l="` + pick("", "<&>", `\"q\"`, `\n`, "日本", "\u2028") + `"`
		value := pick("1", "NaN", "+Inf", "-0", "1e21", "1e-7", "0.1")
		switch rng.IntN(4) {
		case 0:
			fmt.Fprintf(&b, "# TYPE %[1]s histogram\n%[1]s_bucket{%[2]s,le=\"0.1\"} 1\n%[1]s_bucket{%[2]s,le=\"10\"} "+
				"2\n%[1]s_bucket{%[2]s,le=\"+Inf\"} 4\n%[1]s_sum{%[2]s} %[3]s\n%[1]s_count{%[2]s} 4\n", name, label,
				value)
		case 1:
			fmt.Fprintf(&b, "# TYPE %[1]s summary\n%[1]s{%[2]s,quantile=\"0.5\"} %[3]s\n%[1]s_sum{%[2]s} "+
				"%[3]s\n%[1]s_count{%[2]s} 4\n", name, label, value)
		default:
			fmt.Fprintf(&b, "# TYPE %s %s\n", name, pick("gauge", "counter", "untyped"))
			for i := range 1 + rng.IntN(3) {
				fmt.Fprintf(&b, "%s{%s,i=\"%d\"} %s\n", name, label, i, value)
			}
		}
	}
	return b.String()
}

// TestGroupsAreStreamedAsTheyWereEncodedAtOnce, to the byte.
func TestGroupsAreStreamedAsTheyWereEncodedAtOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 7))
	for range 20 {
		g := start(t)
		for i := range rng.IntN(5) {
			path := fmt.Sprintf("/metrics/job/j%d", i)
			if rng.IntN(5) == 0 {
				g.must(http.StatusBadRequest, "PUT", path, "x 1 1000\n")
			}
			g.do("PUT", path, randomBody(rng)) // some clash, and are refused
		}
		groups := []map[string]any{}
		for group := range g.replica.View().Groups() {
			groups = append(groups, wholeGroup(t, group))
		}
		want, err := json.Marshal(struct {
			Status string           `json:"status"`
			Data   []map[string]any `json:"data"`
		}{"success", groups})
		if err != nil {
			t.Fatal(err)
		}
		if got := g.must(http.StatusOK, "GET", "/api/v1/metrics", "").body; !bytes.Equal([]byte(got), want) {
			t.Fatalf("want\n%s\ngot\n%s", want, got)
		}
	}
}
