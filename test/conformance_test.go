package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// row is a short conversation, had with a real Pushgateway and with PushQuorum, both empty before it. Every status
// code, the scrape afterwards and what the query API tells must be the same, unless the row says how and why they
// differ: then PushQuorum is held to what the row says.
type row struct {
	name  string
	steps []step
	// differs is why PushQuorum does otherwise: then statuses and lines are what it does. A Pushgateway of the version
	// in since, or later, does as PushQuorum does, and the row is compared as any other; "" is no version yet. So does
	// one that is older than from. `make differences` finds out whether that is so.
	differs, since, from string
	statuses             []int
	lines                []string
}

// differsFrom tells whether a Pushgateway of that version is said to do otherwise.
func (r row) differsFrom(version string) bool {
	return r.differs != "" && !atLeast(version, r.since) && (r.from == "" || atLeast(version, r.from))
}

type step struct {
	method, path string
	body         string
	header       map[string]string
}

func put(path, body string) step  { return step{method: http.MethodPut, path: path, body: body} }
func post(path, body string) step { return step{method: http.MethodPost, path: path, body: body} }
func get(path string) step        { return step{method: http.MethodGet, path: path} }
func del(path string) step        { return step{method: http.MethodDelete, path: path} }

// with is the step with one more header.
func (s step) with(name, value string) step {
	header := map[string]string{name: value}
	for n, v := range s.header {
		header[n] = v
	}
	s.header = header
	return s
}

func TestEveryRequestIsAnsweredAsAPushgatewayAnswersIt(t *testing.T) {
	t.Parallel()
	flags := []string{"--web.enable-admin-api", "--log.level=error"}
	peer := startPushgateway(t, flags...)
	ours := startReplica(t, flags...)
	version := peerVersion(t, peer)
	t.Logf("the peer is a Pushgateway %s", version)

	for _, row := range everyRow(t) {
		t.Run(row.name, func(t *testing.T) {
			for _, base := range []string{peer.url(""), ours.url("")} {
				mustDo(t, http.StatusAccepted, request{method: http.MethodPut, url: base + "/api/v1/admin/wipe"})
			}

			oursStatuses, oursAnswers := converse(t, row.steps, ours.url(""))
			lines := withoutTimes(pushedLines(scrape(t, ours.url(""))))

			if row.differsFrom(version) {
				if !slices.Equal(oursStatuses, row.statuses) {
					t.Errorf("(differs: %s)\nwant status %v, got %v\n%v", row.differs, row.statuses, oursStatuses,
						oursAnswers)
				}
				if !slices.Equal(lines, row.lines) {
					t.Errorf("(differs: %s)\nthe scrape is not as the row says:\n%s",
						row.differs, diffLines(row.lines, lines))
				}
				return // the peer is not asked: some of these rows would break it for the next
			}
			peerStatuses, peerAnswers := converse(t, row.steps, peer.url(""))
			if !slices.Equal(oursStatuses, peerStatuses) {
				t.Errorf("the peer answers %v, ours %v\npeer: %v\nours: %v", peerStatuses, oursStatuses, peerAnswers,
					oursAnswers)
			}
			for i, status := range oursStatuses {
				if status == http.StatusBadRequest && strings.TrimSpace(oursAnswers[i].body) == "" {
					t.Errorf("step %d is refused without a reason", i+1)
				}
				if want := peerAnswers[i].header.Get("Location"); oursAnswers[i].header.Get("Location") != want {
					t.Errorf("step %d: want Location %q, got %q", i+1, want, oursAnswers[i].header.Get("Location"))
				}
			}
			if err := attempt(settles, func() error {
				peerScrape := mustDo(t, http.StatusOK, request{url: peer.url("/metrics")})
				if want := withoutTimes(pushedLines(peerScrape.body)); !slices.Equal(inOrder(lines), inOrder(want)) {
					return fmt.Errorf("the scrapes differ (- peer, + ours):\n%s", diffLines(want, lines))
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
			if want, got := query(t, peer.url("")), query(t, ours.url("")); want != got {
				t.Errorf("/api/v1/metrics differs:\npeer %s\nours %s", want, got)
			}
		})
	}
}

// everyRow are the rows of all tables: TestNoTableIsForgotten looks for more.
func everyRow(t testing.TB) []row {
	t.Helper()
	return slices.Concat(
		pathRows, methodRows, bodyRows, consistencyRows, protobufRows(t), encodingRows(t), brokenRows(t),
		reportedPathRows, reportedTypesRows, reportedTextRows, reportedBodyRows(t),
	)
}

// converse sends the steps in turn, to the bases in turn.
func converse(t *testing.T, steps []step, bases ...string) (statuses []int, answers []answer) {
	t.Helper()
	for i, s := range steps {
		a, err := do(request{method: s.method, url: bases[i%len(bases)] + s.path, header: s.header, body: s.body})
		if err != nil {
			t.Fatal(err)
		}
		statuses = append(statuses, a.status)
		answers = append(answers, a)
	}
	return statuses, answers
}

// query is what GET /api/v1/metrics tells, as one text: times are left out, and the groups are put in order, because a
// Pushgateway has none.
func query(t *testing.T, base string) string {
	t.Helper()
	a := mustDo(t, http.StatusOK, request{url: base + "/api/v1/metrics"})
	var body struct {
		Status string           `json:"status"`
		Data   []map[string]any `json:"data"`
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatalf("GET %s/api/v1/metrics: %v", base, err)
	}
	groups := make([]string, 0, len(body.Data))
	for _, group := range body.Data {
		for name, value := range group {
			family, ok := value.(map[string]any)
			if !ok || name == "labels" {
				continue
			}
			delete(family, "time_stamp")
			if name == "push_time_seconds" || name == "push_failure_time_seconds" {
				for _, metric := range family["metrics"].([]any) {
					if metric := metric.(map[string]any); metric["value"] != "0" {
						metric["value"] = "<time>"
					}
				}
			}
		}
		text, err := json.Marshal(group)
		if err != nil {
			t.Fatal(err)
		}
		groups = append(groups, string(text))
	}
	slices.Sort(groups)
	return body.Status + "\n" + strings.Join(groups, "\n")
}

// peerVersion is what the Pushgateway says of itself.
func peerVersion(t *testing.T, peer *pushgateway) string {
	t.Helper()
	var body struct {
		Data struct {
			BuildInformation struct {
				Version string `json:"version"`
			} `json:"build_information"`
		} `json:"data"`
	}
	a := mustDo(t, http.StatusOK, request{url: peer.url("/api/v1/status")})
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatal(err)
	}
	if v := os.Getenv("PUSHQUORUM_PUSHGATEWAY_VERSION"); v != "" {
		return v // of a binary that was built without one
	}
	return body.Data.BuildInformation.Version
}

// atLeast compares versions such as 1.5.1 number by number; no version is not reached by any.
func atLeast(version, since string) bool {
	if since == "" {
		return false
	}
	have, want := numbers(version), numbers(since)
	return slices.Compare(have, want) >= 0
}

func numbers(version string) []int {
	var out []int
	for part := range strings.SplitSeq(version, ".") {
		n, err := strconv.Atoi(part)
		if err != nil {
			break
		}
		out = append(out, n)
	}
	return out
}

// scraped are the lines of a scrape: the families given, which are written in order of name, and the times of the
// groups, each given as `labels ok failed` with ok and failed 0 or <time>.
func scraped(families string, groups ...string) []string {
	out := []string{}
	for line := range strings.Lines(families) {
		out = append(out, strings.TrimSuffix(line, "\n"))
	}
	times := func(name, help string, column int) {
		if len(groups) == 0 {
			return
		}
		out = append(out, "# HELP "+name+" "+help, "# TYPE "+name+" gauge")
		for _, group := range groups {
			fields := strings.Fields(group)
			out = append(out, fmt.Sprintf("%s{%s} %s", name, fields[0], fields[column]))
		}
	}
	times("push_failure_time_seconds", "Last Unix time when changing this group in the Pushgateway failed.", 2)
	times("push_time_seconds", "Last Unix time when changing this group in the Pushgateway succeeded.", 1)
	return out
}
