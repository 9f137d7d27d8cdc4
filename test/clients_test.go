package test

import (
	"encoding/json"
	"maps"
	"net/http"
	"strings"
	"testing"
)

// TestClientsByTheirOwnCode has every client that a machine can have push to three replicas: values of all kinds, while
// a replica dies, and large bodies.
func TestClientsByTheirOwnCode(t *testing.T) {
	t.Parallel()
	tryClients(t, todaysClients())
}

// TestAClientOf2019TakesTheAnswersOfAGatewayOf2019: up to 0.9 of the Pushgateway every push was answered with 202,
// later ones answer so with a flag. Clients of that time take nothing else.
func TestAClientOf2019TakesTheAnswersOfAGatewayOf2019(t *testing.T) {
	t.Parallel()
	tryClients(t, []*pusher{clientGolang2019()}, "--push.disable-consistency-check")
}

func tryClients(t *testing.T, clients []*pusher, flags ...string) {
	c := startCluster(t, flags...)
	t.Run("values", func(t *testing.T) {
		for _, p := range clients {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				line := p.line(t)
				for _, v := range pushedValues {
					if v.without == p.name {
						continue
					}
					t.Run(v.name, func(t *testing.T) { p.pushAddDelete(t, line, c, v) })
				}
			})
		}
	})
	t.Run("nothing is left, under whatever labels", func(t *testing.T) { mustLack(t, c.mustAgree(), "e2e_client") })
	t.Run("a replica dies", func(t *testing.T) { dieUnderClients(t, c, clients) })
	// One replica: with the race detector and on a busy machine, three need longer for 15 MB than a client waits.
	t.Run("large bodies", func(t *testing.T) {
		alone := startReplica(t, flags...)
		for _, p := range clients {
			t.Run(p.name, func(t *testing.T) { p.pushMuch(t, alone) })
		}
	})
}

// pushedValue is a job, in which * is the client's name, and the labels of its group.
type pushedValue struct {
	name, job string
	labels    []string // name=value
	// differs is, by the name of the client, what comes of it where that is not what was meant; all is for every client
	// that is not named.
	differs map[string]instead
	// without is a client that is not tried.
	without string
}

// instead is what comes of a value that a client does not write as it was meant, or not at all.
type instead struct {
	job    string
	labels []string
	// code and status are how the client ends when nothing is stored.
	code, status int
	why          string
}

// writesPlus: url.QueryEscape, urllib's quote_plus and java.net.URLEncoder write a form's field, not a path.
const writesPlus = "the client writes + for a blank, and in a path that is a plus; a Pushgateway stores it as well"

const all = ""

// badRequest is how a client ends whose path is refused.
func badRequest(why string) instead {
	return instead{code: refused, status: http.StatusBadRequest, why: why}
}

// writesNothing: base64 for an empty value came to client_golang with 1.7 and to prometheus-cpp with 1.2. At the end of a path, nothing
// after a slash is an empty value for a Pushgateway and here.
const writesNothing = "1.0 writes nothing for an empty value: the path has //"

var pushedValues = []pushedValue{
	{name: "plain", job: "batch.*", labels: []string{"path=plain"}},
	{name: "no label", job: "alone.*"},
	{name: "slashes", job: "a/b/*", labels: []string{"path=/var/tmp/x"}, differs: map[string]instead{
		"prometheus-cpp": badRequest("1.0 escapes nothing: the value becomes more labels"),
	}},
	{name: "blanks", job: "a b *", labels: []string{"path=with a blank"}, differs: map[string]instead{
		"client_golang":       {job: "a+b+*", labels: []string{"path=with+a+blank"}, why: writesPlus},
		"client_golang-1.1.0": {job: "a+b+*", labels: []string{"path=with+a+blank"}, why: writesPlus},
		"client_python":       {job: "a+b+*", labels: []string{"path=with+a+blank"}, why: writesPlus},
		"HttpURLConnection":   {job: "a+b+*", labels: []string{"path=with+a+blank"}, why: writesPlus},
		"prometheus-cpp":      {code: unsent, why: "1.0 escapes nothing, and libcurl takes no URL with a blank"},
	}},
	{name: "an empty value", job: "batch.*", labels: []string{"path="}},
	{
		name: "an empty value before another", job: "batch.*", labels: []string{"path=", "zone=x"},
		differs: map[string]instead{"prometheus-cpp": badRequest(writesNothing)},
		// Its order of labels is random: it writes // half of the time, and a slash at the end otherwise.
		without: "client_golang-1.1.0",
	},
	{name: "an empty job", labels: []string{"path=x"}, differs: map[string]instead{
		all:             badRequest("a job is not empty"),
		"client_golang": {code: unsent, why: "it does not take an empty job"},
	}},
	{name: "Greek", job: "Ελλάς.*", labels: []string{"path=Ἀθῆναι"}},
	{name: "signs that a URL escapes", job: "1+1.*", labels: []string{`path=a+b"100%`}, differs: map[string]instead{
		"prometheus-cpp": badRequest("1.0 escapes nothing: a URL has two digits after %"),
	}},
}

// pushAddDelete replaces, adds, replaces and deletes, each on another replica, and reads what is stored on yet another.
func (p *pusher) pushAddDelete(t *testing.T, line []string, c *clusterOf, v pushedValue) {
	t.Helper()
	named := func(job string) string { return strings.ReplaceAll(job, "*", p.name) }
	job, labels := named(v.job), v.labels
	differs, other := v.differs[p.name]
	if !other {
		differs, other = v.differs[all]
	}
	stored := group(job, labels)
	if other && differs.code == taken {
		stored = group(named(differs.job), differs.labels)
	}
	replaces, adds := "push", "add"
	if p.swapped {
		replaces, adds = adds, replaces
	}
	both := map[string]string{"e2e_client_a/x": "1", "e2e_client_b/x": "1"}
	steps := []struct {
		action, metrics string
		want            map[string]string // nil: no group
	}{
		{replaces, "e2e_client_a x 1\ne2e_client_b x 1\n", both},
		{adds, "e2e_client_a x 2\n", map[string]string{"e2e_client_a/x": "2", "e2e_client_b/x": "1"}},
		{replaces, "e2e_client_a x 3\n", map[string]string{"e2e_client_a/x": "3"}},
		{"delete", "", nil},
	}
	for i, step := range steps {
		o := p.run(t, line, step.metrics, step.action, c.at(i).url(""), job, labels...)
		if other && differs.code != taken {
			if o.code != differs.code || o.status() != differs.status {
				t.Errorf("%s (%s): want exit code %d and status %d, got %d: %s",
					step.action, differs.why, differs.code, differs.status, o.code, o.line)
			}
			step.want = nil
		} else if o.code != taken {
			t.Fatalf("%s: want it to be taken, got: %s", step.action, o.line)
		}
		if got := storedGroup(t, c.at(i+1), stored); !maps.Equal(got, step.want) {
			t.Fatalf("after step %d, %s, of %v: want %v, got %v", i+1, step.action, stored, step.want, got)
		}
	}
}

// group is the grouping key.
func group(job string, labels []string) map[string]string {
	key := map[string]string{"job": job}
	for _, label := range labels {
		name, value, _ := strings.Cut(label, "=")
		key[name] = value
	}
	return key
}

// storedGroup is what the replica has of a group, each value under family/part; nil: there is no such group, or nothing
// was ever pushed to it successfully.
func storedGroup(t testing.TB, r *replica, key map[string]string) map[string]string {
	t.Helper()
	a := mustDo(t, http.StatusOK, request{url: r.url("/api/v1/metrics")})
	var body struct {
		Data []map[string]json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatalf("GET /api/v1/metrics: %v", err)
	}
	for _, g := range body.Data {
		labels := map[string]string{}
		if err := json.Unmarshal(g["labels"], &labels); err != nil {
			t.Fatalf("GET /api/v1/metrics: the labels of a group: %v", err)
		}
		if !maps.Equal(labels, key) {
			continue
		}
		var out map[string]string
		for name, raw := range g {
			if !strings.HasPrefix(name, "e2e_client") {
				continue
			}
			var family struct {
				Metrics []struct {
					Labels map[string]string
					Value  string
				}
			}
			if err := json.Unmarshal(raw, &family); err != nil {
				t.Fatalf("GET /api/v1/metrics: the family %s of %v: %v", name, key, err)
			}
			for _, m := range family.Metrics {
				if out == nil {
					out = map[string]string{}
				}
				out[name+"/"+m.Labels["part"]] = m.Value
			}
		}
		return out
	}
	return nil
}
